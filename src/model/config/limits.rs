//! The sizes that are accepted of a model.

use crate::{Error, FormatKind, Result};

/// Positions beyond this are not exact in f32, and no published model comes near.
pub const MAX_POSITIONS: u64 = 1 << 24;
pub const MAX_LAYERS: u64 = 1024;
pub const MAX_HEADS: u64 = 1 << 12;
pub const MAX_HEAD_DIM: u64 = 1 << 12;
pub const MAX_HIDDEN: u64 = 1 << 20;
pub const MAX_INTERMEDIATE: u64 = 1 << 22;
pub const MAX_VOCAB: u64 = 1 << 22;
/// What the routing kernel holds.
pub const MAX_EXPERTS: u64 = crate::kernels::MAX_EXPERTS as u64;

/// A size: at least 1, at most `most`.
pub fn size(file: &str, name: &str, value: u64, most: u64) -> Result<usize> {
    if value == 0 {
        return Err(Error::format(FormatKind::BadConfig, file, format!("{name} is 0")));
    }
    if value > most {
        let message = format!("{name} is {value}; at most {most} is accepted");
        return Err(Error::format(FormatKind::LimitExceeded, file, message));
    }
    Ok(value as usize)
}

/// The context length; a larger one than can be used is not an error.
pub fn positions(file: &str, name: &str, value: u64) -> Result<usize> {
    size(file, name, value.min(MAX_POSITIONS), MAX_POSITIONS)
}
