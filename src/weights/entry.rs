//! A tensor of a checkpoint, as the parsers find it.

use std::ops::Range;

use super::dtype::Dtype;
use crate::{Error, Result};

/// A stored tensor: its format, its shape and the location of its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorEntry {
    /// The tensor's name in the file.
    pub name: String,
    /// The stored number format.
    pub dtype: Dtype,
    /// Outermost dimension first: a matrix is `[rows, k]`.
    pub shape: Vec<u64>,
    /// Index in [`Checkpoint::shards`].
    pub shard: usize,
    /// Byte range in the shard file.
    pub range: Range<u64>,
}

impl TensorEntry {
    /// The number of weights in a row: the innermost dimension.
    pub fn k(&self) -> u64 {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The number of rows: the product of all dimensions but the innermost.
    pub fn rows(&self) -> u64 {
        self.shape.iter().rev().skip(1).product() // fits: the parsers checked the whole product
    }

    /// The number of weights.
    pub fn elements(&self) -> u64 {
        self.rows() * self.k()
    }

    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Bytes of one row; an error if a row does not end on a byte boundary (possible with 4- and 6-bit floats only).
    pub fn row_bytes(&self) -> Result<u64> {
        self.dtype
            .bytes(self.k())
            .ok_or_else(|| Error::Dtype { tensor: self.name.clone(), dtype: self.dtype.name().into() })
    }
}
