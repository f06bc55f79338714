//! Checkpoint to GPU, a block of rows at a time: read, repack and write; or read, write, and quantise or arrange on the
//! GPU. The host holds one block, whatever a tensor's size, and the queue holds at most [`IN_FLIGHT`] bytes. What the GPU
//! takes as published is not looked at here: in a browser it goes to the GPU from JavaScript's memory.
//!
//! What reaches a layout is always rows in a known format. [`Form`] says how they are stored: as rows, as columns (experts
//! or heads that are published transposed), as FP8 with block factors, or as MXFP4 with exponents in a tensor of their own.

use std::ops::Range;

use super::checkpoint::Checkpoint;
use super::dtype::Dtype;
use super::loader::{Loader, To};
pub use super::source::BLOCK;
pub use super::task::{
    COLUMN_ROWS, FP8_BLOCK, Form, Fuse, IN_FLIGHT, Piece, Quantizer, Slice, Task, bytes_to_read, factor_bytes,
    input_bytes, staging,
};
use crate::gpu::Executor;
use crate::plan::BufferId;
use crate::{Cancel, Result};

/// Fills the executor's buffers. `progress` receives the bytes read since the last call and the file that they came
/// from.
///
/// # Errors
/// Whatever the source reports, [`Error::Aborted`](crate::Error::Aborted),
/// [`Error::DeviceLost`](crate::Error::DeviceLost).
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

/// As [`load`] without a GPU, for the CPU interpreter: `write` receives a buffer, an offset in bytes, and bytes.
pub async fn fill(checkpoint: &Checkpoint, tasks: &[Task], write: &mut dyn FnMut(BufferId, u64, &[u8])) -> Result<()> {
    Loader::new(checkpoint, To::Memory(write), &Cancel::default(), &mut |_, _| {}).run(tasks).await
}

/// The rows of a slice, `k` weights wide, and their format, for callers that do not write them to a GPU.
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
