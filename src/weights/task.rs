//! What a load does, as plain data: which rows of which stored tensors become which rows of a matrix or vector.

use std::collections::BTreeSet;
use std::ops::Range;

use super::checkpoint::Checkpoint;
use super::entry::TensorEntry;
use super::repack::unquantised;
use super::source::BLOCK;
use crate::plan::{Arrival, BufferId, GROUP, Matrix, Step, Vector};

/// Rows and columns of an `F8_E4M3` block that shares a scale factor.
pub const FP8_BLOCK: u64 = 128;
/// Bytes of a GGUF MXFP4 block: the exponent and 32 codes.
pub(super) const MXFP4_BLOCK: usize = 1 + GROUP / 2;
/// Bytes written to the queue before waiting for it.
pub const IN_FLIGHT: u64 = 64 << 20;

/// How the rows of several stored tensors form one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuse {
    /// Concatenated.
    Stack,
    /// Interleaved: row i of each tensor, then row i + 1; all have the same number of rows and the same layout.
    Interleave,
}

/// Rows of a stored tensor, with its leading dimensions flattened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The tensor's name in the file.
    pub tensor: String,
    /// Which rows, counted after conversion from `form`.
    pub rows: Range<u64>,
    /// How the rows are stored.
    pub form: Form,
}

/// How a tensor's rows are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// As plain rows.
    Rows,
    /// Transposed, as columns of the `k` stored rows from `first` on: experts and heads that are stored transposed.
    /// Unquantised values are transposed on the GPU; quantised rows are dequantised to f32 and transposed on the host,
    /// one expert at a time.
    Columns {
        /// The first stored row.
        first: u64,
        /// The number of stored rows, which is the width of a transposed row.
        k: u64,
    },
    /// As `F8_E4M3` with a scale factor for each block of 128 by 128 (DeepSeek-V3).
    Fp8 {
        /// The tensor of the factors, unquantised, `[⌈rows / 128⌉, ⌈k / 128⌉]`.
        scales: String,
    },
    /// As MXFP4 with exponents in a separate tensor (gpt-oss).
    Mxfp4 {
        /// The tensor of the exponents.
        scales: String,
    },
}

/// A contiguous range of rows of a matrix and the slices that they are loaded from.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The first row of the range.
    pub first: usize,
    /// The slices of stored tensors.
    pub sources: Vec<Slice>,
    /// How the slices are combined.
    pub fuse: Fuse,
}

/// A matrix or vector of a model and the stored tensors that it is loaded from.
#[derive(Debug, Clone)]
pub enum Task {
    /// A weight matrix. Rows that no piece fills stay zero.
    Matrix {
        /// The destination.
        matrix: Matrix,
        /// The pieces, in order of reading.
        pieces: Vec<Piece>,
        /// For each part, the step that quantises or rearranges its weights on the GPU, if needed.
        quantizers: Vec<Option<Quantizer>>,
    },
    /// A vector, stored in f32 on the GPU.
    Vector {
        /// The destination.
        vector: Vector,
        /// The first value to write.
        first: usize,
        /// Names of the stored tensors.
        sources: Vec<String>,
        /// How the tensors are combined; with `Interleave` each value is a row.
        fuse: Fuse,
        /// Added to every value: 1 if a norm's weight is stored minus 1.
        add: f32,
    },
}

/// A step on the GPU that converts a block of stored rows to rows of a part.
#[derive(Debug, Clone)]
pub struct Quantizer {
    /// The step of the kernel.
    pub step: Step,
    /// The buffers that receive the blocks, see [`input_bytes`].
    pub from: Arrival,
}

/// The minimum number of stored rows that are transposed at once: whole groups for both scales in a word.
pub const COLUMN_ROWS: u64 = 64;

/// Bytes that the input buffer of a [`Quantizer`] needs for a tensor: a block, or the rows that are transposed at once.
pub fn input_bytes(tensor: &TensorEntry) -> u64 {
    let rows = tensor.rows().max(1);
    // Tensors that are stored quantised may be converted to f32 first.
    let bytes = if unquantised(tensor.dtype) { tensor.bytes() } else { tensor.elements().saturating_mul(4) };
    bytes.min(BLOCK.max(bytes / rows * COLUMN_ROWS))
}

/// Bytes of the scale factors of a block of an `F8_E4M3` tensor.
pub fn factor_bytes(tensor: &TensorEntry) -> u64 {
    let width = tensor.k().max(1);
    let rows = (BLOCK / (4 * width)).clamp(1, tensor.rows().max(1));
    (rows / FP8_BLOCK + 2) * width.div_ceil(FP8_BLOCK) * 4
}

/// Bytes of the checkpoint that the tasks read.
pub fn bytes_to_read(checkpoint: &Checkpoint, tasks: &[Task]) -> u64 {
    let of = |name: &String| &checkpoint.tensors[name];
    let slice = |s: &Slice, k: usize| {
        let (tensor, rows) = (of(&s.tensor), s.rows.end - s.rows.start);
        match &s.form {
            Form::Mxfp4 { scales } => (tensor.k() * tensor.shape[2] + of(scales).k()) * rows,
            form => {
                let weights =
                    (rows as u128 * k as u128 * tensor.bytes() as u128 / tensor.elements().max(1) as u128) as u64;
                let cuts = tensor.k() / k as u64;
                weights
                    + match form {
                        Form::Fp8 { scales } => {
                            first_blocks(&(s.rows.start / cuts..s.rows.end / cuts)) * of(scales).bytes()
                                / of(scales).rows().max(1)
                        }
                        _ => 0,
                    }
            }
        }
    };
    let task = |task: &Task| match task {
        Task::Matrix { matrix, pieces, .. } => {
            pieces.iter().flat_map(|p| &p.sources).map(|s| slice(s, matrix.k)).sum::<u64>()
        }
        Task::Vector { sources, .. } => sources.iter().map(|name| of(name).bytes()).sum(),
    };
    tasks.iter().map(task).sum()
}

/// The number of 128-row blocks whose first row is in `rows`, so that the factors of a block are counted once.
pub(super) fn first_blocks(rows: &Range<u64>) -> u64 {
    rows.end.div_ceil(FP8_BLOCK) - rows.start.div_ceil(FP8_BLOCK)
}

/// Buffers that are needed only during the load.
pub fn staging(tasks: &[Task]) -> BTreeSet<BufferId> {
    let quantizers = tasks.iter().flat_map(|task| match task {
        Task::Matrix { quantizers, .. } => quantizers.as_slice(),
        Task::Vector { .. } => &[],
    });
    quantizers.flatten().flat_map(|q| [q.from.input, q.from.job, q.from.factors]).collect()
}
