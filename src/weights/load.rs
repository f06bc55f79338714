//! Checkpoint to GPU, a block of rows at a time: read → repack → write, or read → write → quantise there. The host holds
//! one block, whatever a tensor's size, and the queue at most [`IN_FLIGHT`] bytes.

use std::collections::BTreeSet;
use std::ops::Range;

use super::checkpoint::{Checkpoint, TensorEntry};
use super::dequantize::dequantize_rows;
use super::dtype::Dtype;
use super::repack::{Planes, becomes, quantize_rows, repack_rows};
use crate::gpu::{BufferId, Executor, Layout, Matrix, Part, Plan, Prepared, QuantizeJob, Step, Vector};
use crate::{Cancel, Result};

/// Bytes of a checkpoint read at once.
pub const BLOCK: u64 = 4 << 20;
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

/// Rows of a published tensor, its leading dimensions taken as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Published name.
    pub tensor: String,
    /// Which rows.
    pub rows: Range<u64>,
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
        /// For each part whose sources come unquantised and are not to stay so, what does it on the GPU.
        quantizers: Vec<Option<Quantizer>>,
    },
    /// A vector of constants, in f32 on the GPU.
    Vector {
        /// Where it goes.
        vector: Vector,
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
    /// The step of the quantising kernel.
    pub step: Step,
    /// Where a block goes, [`BLOCK`] bytes or a row.
    pub input: BufferId,
    /// Where its [`QuantizeJob`] goes.
    pub job: BufferId,
}

/// Bytes of the checkpoint that the tasks will read.
pub fn bytes_to_read(checkpoint: &Checkpoint, tasks: &[Task]) -> u64 {
    let of = |name: &String| &checkpoint.tensors[name];
    let slice = |s: &Slice| of(&s.tensor).bytes() / of(&s.tensor).rows().max(1) * (s.rows.end - s.rows.start);
    let task = |task: &Task| match task {
        Task::Matrix { pieces, .. } => pieces.iter().flat_map(|p| &p.sources).map(slice).sum::<u64>(),
        Task::Vector { sources, .. } => sources.iter().map(|name| of(name).bytes()).sum(),
    };
    tasks.iter().map(task).sum()
}

/// Buffers that only the load itself needs.
pub fn staging(tasks: &[Task]) -> BTreeSet<BufferId> {
    let quantizers = tasks.iter().flat_map(|task| match task {
        Task::Matrix { quantizers, .. } => quantizers.as_slice(),
        Task::Vector { .. } => &[],
    });
    quantizers.flatten().flat_map(|q| [q.input, q.job]).collect()
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
    let to = To::Gpu(executor);
    let mut loader = Loader { checkpoint, to, cancel, progress, in_flight: 0, quantizers: Vec::new() };
    loader.run(tasks).await?;
    executor.idle().await
}

/// The same without a GPU: `write` takes a buffer, an offset in bytes, and bytes. For the CPU interpreter.
pub async fn fill(checkpoint: &Checkpoint, tasks: &[Task], write: &mut dyn FnMut(BufferId, u64, &[u8])) -> Result<()> {
    let (cancel, mut quiet) = (Cancel::default(), |_: u64, _: &str| {});
    let to = To::Memory(write);
    let progress = &mut quiet;
    Loader { checkpoint, to, cancel: &cancel, progress, in_flight: 0, quantizers: Vec::new() }.run(tasks).await
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
    /// Of the matrix being loaded, by part.
    quantizers: Vec<Option<(Quantizer, Prepared)>>,
}

/// The stretches of `rows` by part: its number, the part and the rows of it.
fn by_part(matrix: &Matrix, rows: Range<usize>) -> impl Iterator<Item = (usize, &Part, Range<usize>)> {
    matrix.parts.iter().enumerate().filter_map(move |(index, part)| {
        let shared = rows.start.max(part.rows.start)..rows.end.min(part.rows.end);
        (!shared.is_empty()).then_some((index, part, shared))
    })
}

/// Published rows in the part's layout: the one made for their format, or a smaller one.
fn planes_of(dtype: Dtype, layout: Layout, k: usize, bytes: &[u8]) -> Planes {
    let mut planes = Planes::default();
    if becomes(dtype, layout) {
        quantize_rows(dtype, layout, k, bytes, &mut planes);
    } else {
        repack_rows(dtype, k, bytes, &mut planes);
    }
    planes
}

/// [`QuantizeJob::numbers`] of a format.
fn numbers(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 2,
        other => unreachable!("{} is not quantised while loading", other.name()),
    }
}

impl Loader<'_> {
    async fn run(&mut self, tasks: &[Task]) -> Result<()> {
        for task in tasks {
            match task {
                Task::Vector { vector, sources, fuse, add } => self.vector(*vector, sources, *fuse, *add).await?,
                Task::Matrix { matrix, pieces, quantizers } => {
                    self.quantizers = self.prepare(quantizers).await?;
                    for piece in pieces {
                        match piece.fuse {
                            Fuse::Stack => self.stacked(matrix, piece).await?,
                            Fuse::Interleave => self.interleaved(matrix, piece).await?,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn prepare(&self, quantizers: &[Option<Quantizer>]) -> Result<Vec<Option<(Quantizer, Prepared)>>> {
        let To::Gpu(executor) = self.to else { return Ok(Vec::new()) };
        let mut prepared = Vec::with_capacity(quantizers.len());
        for quantizer in quantizers {
            prepared.push(match quantizer {
                None => None,
                Some(q) => {
                    let mut plan = Plan::new("quantize");
                    plan.push([q.step.clone()]);
                    Some((q.clone(), executor.prepare(&plan).await?))
                }
            });
        }
        Ok(prepared)
    }

    /// Writes to a buffer, and waits where the queue holds enough.
    async fn put(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<()> {
        match &mut self.to {
            To::Memory(write) => write(buffer, offset, bytes),
            To::Gpu(executor) => {
                executor.write(buffer, offset, bytes);
                self.sent(bytes.len()).await?;
            }
        }
        Ok(())
    }

    async fn sent(&mut self, bytes: usize) -> Result<()> {
        self.in_flight += bytes as u64;
        if let (To::Gpu(executor), true) = (&self.to, self.in_flight >= IN_FLIGHT) {
            self.in_flight = 0;
            executor.idle().await?;
        }
        Ok(())
    }

    async fn read(&mut self, entry: &TensorEntry, rows: Range<u64>) -> Result<Vec<u8>> {
        self.cancel.check()?;
        let bytes = self.checkpoint.read_rows(entry, rows).await?;
        (self.progress)(bytes.len() as u64, self.checkpoint.shards[entry.shard].name());
        Ok(bytes)
    }

    async fn stacked(&mut self, matrix: &Matrix, piece: &Piece) -> Result<()> {
        let mut first = piece.first;
        for source in &piece.sources {
            self.rows(matrix, source, first).await?;
            first += (source.rows.end - source.rows.start) as usize;
        }
        Ok(())
    }

    /// All rows of a slice, to rows `first..` of the matrix.
    async fn rows(&mut self, matrix: &Matrix, source: &Slice, first: usize) -> Result<()> {
        let entry = &self.checkpoint.tensors[&source.tensor];
        let rows = (source.rows.end - source.rows.start) as usize;
        let step = block_rows(entry);
        for (index, part, stretch) in by_part(matrix, first..first + rows) {
            for start in stretch.clone().step_by(step) {
                let block = start..stretch.end.min(start + step);
                let at = |row: usize| source.rows.start + (row - first) as u64;
                let bytes = self.read(entry, at(block.start)..at(block.end)).await?;
                if self.quantizes(entry, part) {
                    let (rows, first_row) = (block.len() as u32, (block.start - part.rows.start) as u32);
                    let job = QuantizeJob { numbers: numbers(entry.dtype), rows, first_row, row_step: 1 };
                    self.quantize(index, &bytes, job).await?;
                } else {
                    let planes = planes_of(entry.dtype, part.layout, matrix.k, &bytes);
                    self.write(matrix, part, block.start, &planes).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether rows of a tensor are quantised on the GPU on their way to a part.
    fn quantizes(&self, entry: &TensorEntry, part: &Part) -> bool {
        matches!(self.to, To::Gpu(_)) && becomes(entry.dtype, part.layout)
    }

    /// Rows of a part, made on the GPU.
    async fn quantize(&mut self, part: usize, bytes: &[u8], job: QuantizeJob) -> Result<()> {
        let To::Gpu(executor) = self.to else { unreachable!("only the GPU has quantizers") };
        let (quantizer, prepared) = self.quantizers[part].as_ref().expect("the part has one");
        let whole = bytes.len() / 4 * 4;
        executor.write(quantizer.input, 0, &bytes[..whole]);
        if whole < bytes.len() {
            let mut last = [0; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            executor.write(quantizer.input, whole as u64, &last);
        }
        executor.write(quantizer.job, 0, bytemuck::bytes_of(&job));
        executor.submit(&[prepared], &[])?;
        self.sent(bytes.len()).await
    }

    /// Rows of several slices in turn.
    async fn interleaved(&mut self, matrix: &Matrix, piece: &Piece) -> Result<()> {
        let entries: Vec<&TensorEntry> = piece.sources.iter().map(|s| &self.checkpoint.tensors[&s.tensor]).collect();
        let n = entries.len();
        // A block of each: their numbers may be of different widths.
        let step = entries.iter().map(|entry| block_rows(entry)).min().expect("there are sources");
        let rows = (piece.sources[0].rows.end - piece.sources[0].rows.start) as usize * n;
        for (index, part, stretch) in by_part(matrix, piece.first..piece.first + rows) {
            let turn = |row: usize| {
                assert!((row - piece.first).is_multiple_of(n), "parts keep rows together");
                (row - piece.first) / n
            };
            let stretch = turn(stretch.start)..turn(stretch.end);
            for start in stretch.clone().step_by(step) {
                let block = start..stretch.end.min(start + step);
                let row = piece.first + block.start * n;
                let mut sides = Vec::with_capacity(n);
                for (side, (entry, source)) in entries.iter().zip(&piece.sources).enumerate() {
                    let at = |turn: usize| source.rows.start + turn as u64;
                    let bytes = self.read(entry, at(block.start)..at(block.end)).await?;
                    if self.quantizes(entry, part) {
                        let first_row = (row + side - part.rows.start) as u32;
                        let (rows, row_step) = (block.len() as u32, n as u32);
                        let job = QuantizeJob { numbers: numbers(entry.dtype), rows, first_row, row_step };
                        self.quantize(index, &bytes, job).await?;
                    } else {
                        sides.push(planes_of(entry.dtype, part.layout, matrix.k, &bytes));
                    }
                }
                if sides.is_empty() {
                    continue;
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
                self.write(matrix, part, row, &joined).await?;
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

    async fn vector(&mut self, vector: Vector, sources: &[String], fuse: Fuse, add: f32) -> Result<()> {
        let mut sides = Vec::with_capacity(sources.len());
        for name in sources {
            let entry = &self.checkpoint.tensors[name];
            let bytes = self.read(entry, 0..entry.rows()).await?;
            let values = dequantize_rows(entry.dtype, entry.k() as usize, &bytes);
            sides.push(values.expect("vectors are declared in formats that can be read"));
        }
        let mut values: Vec<f32> = match fuse {
            Fuse::Stack => sides.concat(),
            Fuse::Interleave => (0..sides[0].len()).flat_map(|i| sides.iter().map(move |s| s[i])).collect(),
        };
        values.iter_mut().for_each(|v| *v += add);
        assert_eq!(values.len(), vector.len, "the sources were checked when the task was made");
        self.put(vector.buffer, 0, bytemuck::cast_slice(&values)).await
    }
}

/// Rows of a tensor that make a block.
fn block_rows(entry: &TensorEntry) -> usize {
    let row = (entry.bytes() / entry.rows().max(1)).max(1);
    (BLOCK / row).max(1) as usize
}
