//! Checkpoint to GPU, a block of rows at a time: read, repack and write; or read, write, and quantise or arrange on the
//! GPU. The host holds one block, whatever a tensor's size, and the queue holds at most [`IN_FLIGHT`] bytes. What the GPU
//! takes as published is not looked at here: in a browser it goes to the GPU from JavaScript's memory.
//!
//! What reaches a layout is always rows in a known format. [`Form`] says how they are stored: as rows, as columns (experts
//! or heads that are published transposed), as FP8 with block factors, or as MXFP4 with exponents in a tensor of their own.

use std::collections::BTreeSet;
use std::ops::Range;

use super::checkpoint::{Checkpoint, TensorEntry};
use super::dtype::Dtype;
pub use super::forms::FP8_BLOCK;
use super::loader::{Loader, To};
use super::repack::unquantised;
use crate::gpu::Executor;
use crate::plan::{Arrival, BufferId, Matrix, Step, Vector};
use crate::{Cancel, Result};

/// Bytes of a checkpoint read at once.
pub const BLOCK: u64 = 4 << 20;
/// Bytes written to the queue before waiting for it.
pub const IN_FLIGHT: u64 = 64 << 20;

/// How the rows of several published tensors make one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuse {
    /// One after the other.
    Stack,
    /// Row i of each in turn; all have as many rows and one layout.
    Interleave,
}

/// Rows of a published tensor, its leading dimensions taken as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Published name.
    pub tensor: String,
    /// Which rows, of those that `form` makes.
    pub rows: Range<u64>,
    /// How rows are made of what is stored.
    pub form: Form,
}

/// How a tensor's rows are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Rows,
    /// As columns of the `k` stored rows from `first` on: experts and heads that are published transposed. Numbers are turned
    /// around on the GPU. Of quantised rows it is the values, in f32, on the host: one expert is held at once.
    Columns {
        /// The first stored row.
        first: u64,
        /// Stored rows: the width of a row that is made.
        k: u64,
    },
    /// As `F8_E4M3`, with a factor for each block of 128 by 128 (DeepSeek-V3).
    Fp8 {
        /// The tensor of the factors, numbers `[⌈rows / 128⌉, ⌈k / 128⌉]`.
        scales: String,
    },
    /// As pairs of 4-bit floats with an exponent for each 32 (gpt-oss).
    Mxfp4 {
        /// The tensor of the exponents.
        scales: String,
    },
}

/// Neighbouring rows of a matrix and what they are made of.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The first of them.
    pub first: usize,
    /// Rows of published tensors.
    pub sources: Vec<Slice>,
    /// How they are joined.
    pub fuse: Fuse,
}

/// One matrix or vector of a model and the published tensors it is made of.
#[derive(Debug, Clone)]
pub enum Task {
    /// A weight matrix. Rows that no piece fills stay zero.
    Matrix {
        /// Where it goes.
        matrix: Matrix,
        /// In the order of reading.
        pieces: Vec<Piece>,
        /// For each part that published weights are to be quantised or arranged for, what does it on the GPU.
        quantizers: Vec<Option<Quantizer>>,
    },
    /// A vector of constants, in f32 on the GPU.
    Vector {
        /// Where it goes.
        vector: Vector,
        /// From which value on.
        first: usize,
        /// Published names.
        sources: Vec<String>,
        /// How they are joined; for `Interleave` a value is a row.
        fuse: Fuse,
        /// Added to every value: 1 where a norm's weight is published as its distance from 1.
        add: f32,
    },
}

/// What turns a block of published rows into rows of a part.
#[derive(Debug, Clone)]
pub struct Quantizer {
    /// The step of the kernel.
    pub step: Step,
    /// Where blocks go, see [`input_bytes`].
    pub from: Arrival,
}

/// Stored rows that are turned around at once at least: whole groups of both of a word's scales.
pub const COLUMN_ROWS: u64 = 64;

/// Bytes that the input of a [`Quantizer`] holds for a tensor: a block, or as many rows as are turned around at once.
pub fn input_bytes(tensor: &TensorEntry) -> u64 {
    let rows = tensor.rows().max(1);
    // What is not published as numbers may become f32 on its way.
    let bytes = if unquantised(tensor.dtype) { tensor.bytes() } else { tensor.elements().saturating_mul(4) };
    bytes.min(BLOCK.max(bytes / rows * COLUMN_ROWS))
}

/// Bytes of the factors that come with a block of a tensor of `F8_E4M3`.
pub fn factor_bytes(tensor: &TensorEntry) -> u64 {
    let width = tensor.k().max(1);
    let rows = (BLOCK / (4 * width)).clamp(1, tensor.rows().max(1));
    (rows / FP8_BLOCK + 2) * width.div_ceil(FP8_BLOCK) * 4
}

/// Bytes of the checkpoint that the tasks will read.
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

/// Blocks of 128 whose first row is one of these: the factors of a block are counted once.
pub(super) fn first_blocks(rows: &Range<u64>) -> u64 {
    rows.end.div_ceil(FP8_BLOCK) - rows.start.div_ceil(FP8_BLOCK)
}

/// Buffers that only the load itself needs.
pub fn staging(tasks: &[Task]) -> BTreeSet<BufferId> {
    let quantizers = tasks.iter().flat_map(|task| match task {
        Task::Matrix { quantizers, .. } => quantizers.as_slice(),
        Task::Vector { .. } => &[],
    });
    quantizers.flatten().flat_map(|q| [q.from.input, q.from.job, q.from.factors]).collect()
}

/// Fills the executor's buffers. `progress` hears the bytes read since the last call and the file they came from.
///
/// # Errors
/// Whatever the source reports, [`Error::Aborted`](crate::Error::Aborted), [`Error::DeviceLost`](crate::Error::DeviceLost).
pub async fn load(
    checkpoint: &Checkpoint,
    tasks: &[Task],
    executor: &Executor,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64, &str),
) -> Result<()> {
    Loader::new(checkpoint, To::Gpu(executor), cancel, progress).run(tasks).await?;
    executor.idle().await
}

/// The same without a GPU: `write` takes a buffer, an offset in bytes, and bytes. For the CPU interpreter.
pub async fn fill(checkpoint: &Checkpoint, tasks: &[Task], write: &mut dyn FnMut(BufferId, u64, &[u8])) -> Result<()> {
    Loader::new(checkpoint, To::Memory(write), &Cancel::default(), &mut |_, _| {}).run(tasks).await
}

/// Rows that a slice makes, `k` weights wide, and their format: for writing them elsewhere than to a GPU.
///
/// # Errors
/// As [`fill`].
pub async fn read_slice(
    checkpoint: &Checkpoint,
    slice: &Slice,
    k: usize,
    rows: Range<u64>,
) -> Result<(Dtype, Vec<u8>)> {
    let to = To::Memory(&mut |_, _, _| {});
    Loader::new(checkpoint, to, &Cancel::default(), &mut |_, _| {}).rows_of(slice, k, rows).await
}
