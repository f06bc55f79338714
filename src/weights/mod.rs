//! Model files: byte sources, parsers for safetensors and GGUF, and loading of weights into kernel layouts.
//!
//! Files are untrusted: every length, offset, shape and count is checked against the bytes that exist
//! before it is used, with checked 64-bit arithmetic, and no allocation relies on a declared size.

pub mod blocks;
pub mod checkpoint;
mod choose;
pub mod dequantize;
pub mod dtype;
mod entry;
mod forms;
pub mod gguf;
pub mod index;
pub mod json;
pub mod load;
mod loader;
pub mod metadata;
pub mod pack;
mod planes;
pub mod repack;
mod repack_k;
mod repack_q8;
pub mod safetensors;
mod sniff;
pub mod source;
mod split;
mod task;

pub use checkpoint::{Checkpoint, ConfigFacts, Format};
pub use dequantize::dequantize_rows;
pub use dtype::Dtype;
pub use entry::TensorEntry;
pub use metadata::{GgufMetadata, GgufVocabulary};
pub use pack::Pack;
pub use planes::Planes;
pub use repack::{becomes, layout_for, quantize_rows, repack_rows, through_values, unquantised};
pub use source::{ByteSource, Folder, MemoryFile, MemoryFolder, check_range};
#[cfg(not(target_arch = "wasm32"))]
pub use source::{DiskFile, DiskFolder};
