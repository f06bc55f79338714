//! Loads a checkpoint's weights into an executor's buffers, a block of rows at a time: blocks are read, repacked on the host
//! where their published form needs it, and written; or written as published and quantised or rearranged by a kernel.
//!
//! The host holds one block, whatever a tensor's size, and the queue holds at most [`IN_FLIGHT`] bytes. Blocks that are
//! written as published stay in JavaScript's memory in a browser.
//!
//! Layouts are filled from rows in a known format. [`Form`] says how a tensor stores them: as rows, as columns (experts or
//! heads that are published transposed), as FP8 with block factors, or as MXFP4 with exponents in a tensor of their own.

use std::ops::Range;

use super::checkpoint::Checkpoint;
use super::dtype::Dtype;
use super::loader::{Loader, To};
pub use super::source::BLOCK;
pub use super::task::{
    COLUMN_ROWS, FP8_BLOCK, Form, Fuse, IN_FLIGHT, Piece, Quantizer, Slice, Task, bytes_to_read, factor_bytes,
    input_bytes, staging,
};
use crate::plan::{BufferId, Executor};
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
    executor: &dyn Executor,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64, &str),
) -> Result<()> {
    Loader::new(checkpoint, To::Executor(executor), cancel, progress).run(tasks).await?;
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
