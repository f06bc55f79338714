//! What the kernels' forms for processors have in common: vectors, and products of weights with inputs as 16-bit integers. A
//! kernel without a form of its own runs its reference.

mod input;
mod product;
mod vector;
mod weights;

pub use product::{Products, Weights, exact, fast};
pub use vector::{F32x4, I16x8};
