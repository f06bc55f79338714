//! Products, attention and other arithmetic on vectors of 128 bits, for Minke's kernels on processors.
//!
//! This is a crate of its own because it is built for speed where everything else is built for size, and because it holds the
//! only unsafe code: calls of processors' instructions in `lanes/`.
#![deny(unsafe_code)]

mod attention;
mod cache;
mod draw;
mod exp;
mod gate;
mod input;
mod lanes;
mod product;
mod rows;
mod weights;

pub use attention::{Attended, Query, attend};
pub use cache::{Cache, Stored};
pub use draw::{largest, masses, walk};
pub use gate::{Gate, gate_pairs, gate_rows};
pub use product::{Format, Plane, products};
pub use rows::{add_scaled, combine, rms_norm, rotate};

/// Weights per group, in every format.
const GROUP: usize = 32;
