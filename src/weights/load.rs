//! Checkpoint to GPU, a block of rows at a time: read → repack → write. The host holds one block, whatever a tensor's
//! size, and the queue at most [`IN_FLIGHT`] bytes.

use std::ops::Range;

use super::checkpoint::{Checkpoint, TensorEntry};
use super::dequantize::dequantize_rows;
use super::repack::{Planes, repack_rows};
use crate::gpu::{BufferId, Executor, Matrix, Part, Vector};
use crate::{Cancel, Result};

/// Bytes of a checkpoint read at once.
const BLOCK: u64 = 4 << 20;
/// Bytes written to the queue before waiting for it.
const IN_FLIGHT: u64 = 64 << 20;

/// How the rows of several published tensors make one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuse {
    /// One after the other.
    Stack,
    /// Row i of each in turn; all have as many rows and one layout.
    Interleave,
}

/// One matrix or vector of a model and the published tensors it is made of.
#[derive(Debug, Clone)]
pub enum Task {
    /// A weight matrix.
    Matrix {
        /// Where it goes.
        matrix: Matrix,
        /// Published names.
        sources: Vec<String>,
        /// How they are joined.
        fuse: Fuse,
    },
    /// A vector of constants, in f32 on the GPU.
    Vector {
        /// Where it goes.
        vector: Vector,
        /// Published names.
        sources: Vec<String>,
        /// How they are joined; for `Interleave` a value is a row.
        fuse: Fuse,
    },
}

impl Task {
    fn sources(&self) -> &[String] {
        match self {
            Self::Matrix { sources, .. } | Self::Vector { sources, .. } => sources,
        }
    }
}

/// Bytes of the checkpoint that the tasks will read.
pub fn bytes_to_read(checkpoint: &Checkpoint, tasks: &[Task]) -> u64 {
    tasks.iter().flat_map(Task::sources).map(|name| checkpoint.tensors[name].bytes()).sum()
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
    let mut loader = Loader { checkpoint, to: To::Gpu(executor), cancel, progress, in_flight: 0 };
    loader.run(tasks).await?;
    executor.idle().await
}

/// The same without a GPU: `write` takes a buffer, an offset in bytes, and bytes. For the CPU interpreter.
pub async fn fill(checkpoint: &Checkpoint, tasks: &[Task], write: &mut dyn FnMut(BufferId, u64, &[u8])) -> Result<()> {
    let (cancel, mut quiet) = (Cancel::default(), |_: u64, _: &str| {});
    let to = To::Memory(write);
    Loader { checkpoint, to, cancel: &cancel, progress: &mut quiet, in_flight: 0 }.run(tasks).await
}

/// Where repacked bytes go.
enum To<'a> {
    Gpu(&'a Executor),
    Memory(&'a mut dyn FnMut(BufferId, u64, &[u8])),
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    to: To<'a>,
    cancel: &'a Cancel,
    progress: &'a mut dyn FnMut(u64, &str),
    in_flight: u64,
}

/// The stretches of `rows` by part: the part and the rows of it.
fn by_part(matrix: &Matrix, rows: Range<usize>) -> impl Iterator<Item = (&Part, Range<usize>)> {
    matrix.parts.iter().filter_map(move |part| {
        let shared = rows.start.max(part.rows.start)..rows.end.min(part.rows.end);
        (!shared.is_empty()).then_some((part, shared))
    })
}

impl Loader<'_> {
    async fn run(&mut self, tasks: &[Task]) -> Result<()> {
        for task in tasks {
            match task {
                Task::Vector { vector, sources, fuse } => self.vector(*vector, sources, *fuse).await?,
                Task::Matrix { matrix, sources, fuse: Fuse::Stack } => {
                    let mut first = 0;
                    for name in sources {
                        let entry = &self.checkpoint.tensors[name];
                        self.rows(matrix, entry, first).await?;
                        first += entry.rows() as usize;
                    }
                }
                Task::Matrix { matrix, sources, fuse: Fuse::Interleave } => self.interleaved(matrix, sources).await?,
            }
        }
        Ok(())
    }

    /// Writes to a buffer, and waits where the queue holds enough.
    async fn put(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<()> {
        match &mut self.to {
            To::Memory(write) => write(buffer, offset, bytes),
            To::Gpu(executor) => {
                executor.write(buffer, offset, bytes);
                self.in_flight += bytes.len() as u64;
                if self.in_flight >= IN_FLIGHT {
                    self.in_flight = 0;
                    executor.idle().await?;
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, entry: &TensorEntry, rows: Range<u64>) -> Result<Vec<u8>> {
        self.cancel.check()?;
        let bytes = self.checkpoint.read_rows(entry, rows).await?;
        (self.progress)(bytes.len() as u64, self.checkpoint.shards[entry.shard].name());
        Ok(bytes)
    }

    /// All rows of a tensor, to rows `first..` of the matrix.
    async fn rows(&mut self, matrix: &Matrix, entry: &TensorEntry, first: usize) -> Result<()> {
        let rows = entry.rows() as usize;
        let step = block_rows(entry);
        for (part, stretch) in by_part(matrix, first..first + rows) {
            for start in stretch.clone().step_by(step) {
                let block = start..stretch.end.min(start + step);
                let bytes = self.read(entry, (block.start - first) as u64..(block.end - first) as u64).await?;
                let mut planes = Planes::default();
                repack_rows(entry.dtype, matrix.k, &bytes, &mut planes);
                self.write(matrix, part, block.start, &planes).await?;
            }
        }
        Ok(())
    }

    /// Rows of several tensors in turn.
    async fn interleaved(&mut self, matrix: &Matrix, sources: &[String]) -> Result<()> {
        let entries: Vec<&TensorEntry> = sources.iter().map(|name| &self.checkpoint.tensors[name]).collect();
        let n = entries.len();
        let step = block_rows(entries[0]);
        for part in &matrix.parts {
            assert!(part.rows.start.is_multiple_of(n) && part.rows.end.is_multiple_of(n), "parts keep rows together");
            let stretch = part.rows.start / n..part.rows.end / n;
            for start in stretch.clone().step_by(step) {
                let block = start..stretch.end.min(start + step);
                let mut sides = Vec::with_capacity(n);
                for entry in &entries {
                    let bytes = self.read(entry, block.start as u64..block.end as u64).await?;
                    let mut planes = Planes::default();
                    repack_rows(entry.dtype, matrix.k, &bytes, &mut planes);
                    sides.push(planes);
                }
                let codes = part.layout.code_row_bytes(matrix.k);
                let scales = part.layout.scale_row_bytes(matrix.k);
                let mut joined = Planes::default();
                for row in 0..block.len() {
                    for side in &sides {
                        joined.codes.extend_from_slice(&side.codes[row * codes..][..codes]);
                        joined.scales.extend_from_slice(&side.scales[row * scales..][..scales]);
                    }
                }
                self.write(matrix, part, block.start * n, &joined).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, matrix: &Matrix, part: &Part, row: usize, planes: &Planes) -> Result<()> {
        let local = (row - part.rows.start) as u64;
        self.put(part.codes, local * part.layout.code_row_bytes(matrix.k) as u64, &planes.codes).await?;
        if let Some(scales) = part.scales {
            self.put(scales, local * part.layout.scale_row_bytes(matrix.k) as u64, &planes.scales).await?;
        }
        Ok(())
    }

    async fn vector(&mut self, vector: Vector, sources: &[String], fuse: Fuse) -> Result<()> {
        let mut sides = Vec::with_capacity(sources.len());
        for name in sources {
            let entry = &self.checkpoint.tensors[name];
            let bytes = self.read(entry, 0..entry.rows()).await?;
            let values = dequantize_rows(entry.dtype, entry.k() as usize, &bytes);
            sides.push(values.expect("vectors are declared in formats that can be read"));
        }
        let values: Vec<f32> = match fuse {
            Fuse::Stack => sides.concat(),
            Fuse::Interleave => (0..sides[0].len()).flat_map(|i| sides.iter().map(move |s| s[i])).collect(),
        };
        assert_eq!(values.len(), vector.len, "the sources were checked when the task was made");
        self.put(vector.buffer, 0, bytemuck::cast_slice(&values)).await
    }
}

/// Rows of a tensor that make a block.
fn block_rows(entry: &TensorEntry) -> usize {
    let row = (entry.bytes() / entry.rows().max(1)).max(1);
    (BLOCK / row).max(1) as usize
}
