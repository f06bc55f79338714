//! Products and attention on vectors of 128 bits, for Minke's kernels on processors.
//!
//! This is a crate of its own because it is built for speed where everything else is built for size, and because it holds the
//! only unsafe code: calls of SSE2's instructions in `lanes.rs`.
#![deny(unsafe_code)]

mod attention;
mod cache;
mod exp;
mod input;
mod lanes;
mod product;
mod threads;
mod weights;

pub use attention::{Attended, Query, attend};
pub use cache::{Cache, Stored};
pub use product::{Format, Plane, products};
pub use threads::all;

/// Weights per group, in every format.
const GROUP: usize = 32;
