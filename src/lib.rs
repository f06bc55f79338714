//! Minke: open language models in a browser tab, on the visitor's own GPU.
//!
//! One crate, built to WebAssembly for the npm package and natively for tests and tools. Two flows, each one way:
//! prompts go from text to tokens to a recorded plan of GPU passes and back to text, and weights go from their
//! published files, a block of rows at a time, into GPU buffers. ARCHITECTURE.md describes the modules.

#![forbid(unsafe_code)]

mod cancel;
pub mod cpu;
#[cfg(feature = "engine")]
pub mod engine;
mod error;
#[cfg(feature = "engine")]
pub mod gpu;
pub mod kernels;
#[cfg(feature = "engine")]
pub mod model;
pub mod plan;
#[cfg(feature = "engine")]
pub mod text;
mod warning;
#[cfg(all(target_arch = "wasm32", feature = "engine"))]
mod web;
#[cfg(feature = "engine")]
pub mod weights;

pub use cancel::Cancel;
pub use error::{Error, FormatKind, Result, TemplateKind};
pub use warning::{Warning, WarningCode};
