//! Checkpoint to GPU, a block of rows at a time: read → repack → write, or read → write → quantise there. The host holds
//! one block, whatever a tensor's size, and the queue at most [`IN_FLIGHT`] bytes.

use std::collections::BTreeSet;
use std::ops::Range;

use super::checkpoint::{Checkpoint, TensorEntry};
use super::dequantize::dequantize_rows;
use super::dtype::Dtype;
use super::repack::{Planes, becomes, quantize_rows, repack_rows, unquantised};
use crate::gpu::{BufferId, Executor, GROUP, Layout, Matrix, Part, Plan, Prepared, QuantizeJob, Step, Vector};
use crate::{Cancel, Error, FormatKind, Result};

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
    /// As columns of the `k` stored rows from `first` on: experts and heads that are published transposed. One is held at once.
    /// Of quantised rows it is the values, in f32, that are turned around.
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
        /// For each part whose sources come unquantised and are not to stay so, what does it on the GPU.
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
    let slice = |s: &Slice, k: usize| {
        let (tensor, rows) = (of(&s.tensor), s.rows.end - s.rows.start);
        match s.form {
            Form::Mxfp4 { .. } => tensor.k() * tensor.shape[2] * rows,
            _ => (rows as u128 * k as u128 * tensor.bytes() as u128 / tensor.elements().max(1) as u128) as u64,
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
    let mut loader = Loader { checkpoint, to, cancel, progress, in_flight: 0, turned: None, quantizers: Vec::new() };
    loader.run(tasks).await?;
    executor.idle().await
}

/// The same without a GPU: `write` takes a buffer, an offset in bytes, and bytes. For the CPU interpreter.
pub async fn fill(checkpoint: &Checkpoint, tasks: &[Task], write: &mut dyn FnMut(BufferId, u64, &[u8])) -> Result<()> {
    let (cancel, mut quiet) = (Cancel::default(), |_: u64, _: &str| {});
    let to = To::Memory(write);
    let progress = &mut quiet;
    Loader { checkpoint, to, cancel: &cancel, progress, in_flight: 0, turned: None, quantizers: Vec::new() }
        .run(tasks)
        .await
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
    let (cancel, mut quiet, mut nowhere) =
        (Cancel::default(), |_: u64, _: &str| {}, |_: BufferId, _: u64, _: &[u8]| {});
    let (to, progress) = (To::Memory(&mut nowhere), &mut quiet);
    Loader { checkpoint, to, cancel: &cancel, progress, in_flight: 0, turned: None, quantizers: Vec::new() }
        .rows_of(slice, k, rows)
        .await
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
    /// The expert that was last turned around: its tensor, first stored row, and rows.
    turned: Option<(String, u64, Vec<u8>)>,
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
                Task::Vector { vector, first, sources, fuse, add } => {
                    self.vector(*vector, *first, sources, *fuse, *add).await?;
                }
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

    /// Rows `rows` that a slice makes, and their format. `k` is their width: what is stored may be rows of several.
    async fn rows_of(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let cuts = self.cuts(slice, k);
        if cuts == 1 {
            return self.stored_rows(slice, k, rows).await;
        }
        let stored = rows.start / cuts..rows.end.div_ceil(cuts);
        let (dtype, bytes) = self.stored_rows(slice, k * cuts as usize, stored.clone()).await?;
        let row = bytes.len() / ((stored.end - stored.start) * cuts) as usize;
        let first = (rows.start - stored.start * cuts) as usize * row;
        Ok((dtype, bytes[first..first + (rows.end - rows.start) as usize * row].to_vec()))
    }

    /// Rows of width `k` that a stored row is cut into.
    fn cuts(&self, slice: &Slice, k: usize) -> u64 {
        match slice.form {
            Form::Rows | Form::Fp8 { .. } => self.checkpoint.tensors[&slice.tensor].k() / k as u64,
            Form::Columns { .. } | Form::Mxfp4 { .. } => 1,
        }
    }

    /// The same of rows as wide as stored.
    ///
    /// A block of 4-bit floats whose exponent is 255 is NaN (OCP Microscaling Formats); what is made of it otherwise differs
    /// from reader to reader.
    async fn stored_rows(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let (dtype, bytes) = self.formed_rows(slice, k, rows).await?;
        if dtype == Dtype::Mxfp4 && bytes.chunks_exact(MXFP4_BLOCK).any(|block| block[0] == 255) {
            let file = self.checkpoint.shards[self.checkpoint.tensors[&slice.tensor].shard].name();
            let message = format!("tensor {:?} has an exponent of 255, which is no number", slice.tensor);
            return Err(Error::format(FormatKind::BadValue, file, message));
        }
        Ok((dtype, bytes))
    }

    async fn formed_rows(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let entry = &self.checkpoint.tensors[&slice.tensor];
        match &slice.form {
            Form::Rows => Ok((entry.dtype, self.read(entry, rows).await?)),
            Form::Columns { first, k } => {
                let known = self.turned.as_ref().is_some_and(|(tensor, at, _)| *tensor == slice.tensor && at == first);
                if !known {
                    let bytes = self.read(entry, *first..first + k).await?;
                    let bytes = if unquantised(entry.dtype) {
                        bytes
                    } else {
                        let values = dequantize_rows(entry.dtype, entry.k() as usize, &bytes);
                        bytemuck::cast_slice(&values.expect("declared in a format that can be read")).to_vec()
                    };
                    let turned = transposed(&bytes, *k as usize, entry.k() as usize);
                    self.turned = Some((slice.tensor.clone(), *first, turned));
                }
                let (.., turned) = self.turned.as_ref().expect("it was just made");
                let row = turned.len() / entry.k() as usize;
                let dtype = if unquantised(entry.dtype) { entry.dtype } else { Dtype::F32 };
                Ok((dtype, turned[rows.start as usize * row..rows.end as usize * row].to_vec()))
            }
            Form::Fp8 { scales } => {
                let codes = self.read(entry, rows.clone()).await?;
                let scales = &self.checkpoint.tensors[scales];
                let blocks = rows.start / FP8_BLOCK..rows.end.div_ceil(FP8_BLOCK);
                let across = scales.k() as usize;
                let factors = dequantize_rows(scales.dtype, across, &self.read(scales, blocks.clone()).await?);
                let factors = factors.expect("they are numbers");
                let value = |(i, &code): (usize, &u8)| {
                    let (row, column) = (rows.start as usize + i / k, i % k);
                    let block = row / FP8_BLOCK as usize - blocks.start as usize;
                    f8_e4m3(code) * factors[block * across + column / FP8_BLOCK as usize]
                };
                let values: Vec<f32> = codes.iter().enumerate().map(value).collect();
                Ok((Dtype::F32, bytemuck::cast_slice(&values).to_vec()))
            }
            Form::Mxfp4 { scales } => {
                // Stored as rows of groups; ours are whole rows.
                let groups = entry.shape[entry.shape.len() - 2];
                let codes = self.read(entry, rows.start * groups..rows.end * groups).await?;
                let scales = self.read(&self.checkpoint.tensors[scales], rows).await?;
                Ok((Dtype::Mxfp4, mxfp4_blocks(&codes, &scales)))
            }
        }
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
        let rows = (source.rows.end - source.rows.start) as usize;
        let step = self.block_rows(source, matrix.k);
        for (index, part, stretch) in by_part(matrix, first..first + rows) {
            for start in stretch.clone().step_by(step) {
                let block = start..stretch.end.min(start + step);
                let at = |row: usize| source.rows.start + (row - first) as u64;
                let (dtype, bytes) = self.rows_of(source, matrix.k, at(block.start)..at(block.end)).await?;
                if self.quantizes(dtype, part) {
                    let (rows, first_row) = (block.len() as u32, (block.start - part.rows.start) as u32);
                    let job = QuantizeJob { numbers: numbers(dtype), rows, first_row, row_step: 1 };
                    self.quantize(index, &bytes, job).await?;
                } else {
                    let planes = planes_of(dtype, part.layout, matrix.k, &bytes);
                    self.write(matrix, part, block.start, &planes).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether rows in a format are quantised on the GPU on their way to a part.
    fn quantizes(&self, dtype: Dtype, part: &Part) -> bool {
        matches!(self.to, To::Gpu(_)) && becomes(dtype, part.layout)
    }

    /// Rows of a slice that make a block, as they are after reading.
    fn block_rows(&self, source: &Slice, k: usize) -> usize {
        let entry = &self.checkpoint.tensors[&source.tensor];
        let row = match &source.form {
            Form::Rows => entry.bytes() / entry.rows().max(1),
            Form::Columns { .. } => k as u64 * 4,
            Form::Fp8 { .. } => entry.k() * 4,
            Form::Mxfp4 { .. } => (k / GROUP) as u64 * MXFP4_BLOCK as u64,
        };
        let cuts = self.cuts(source, k);
        // Whole stored rows, so that none is read twice.
        ((BLOCK / row.max(1)).max(1) * cuts) as usize
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
        let n = piece.sources.len();
        // A block of each: their numbers may be of different widths.
        let step =
            piece.sources.iter().map(|source| self.block_rows(source, matrix.k)).min().expect("there are sources");
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
                for (side, source) in piece.sources.iter().enumerate() {
                    let at = |turn: usize| source.rows.start + turn as u64;
                    let (dtype, bytes) = self.rows_of(source, matrix.k, at(block.start)..at(block.end)).await?;
                    if self.quantizes(dtype, part) {
                        let first_row = (row + side - part.rows.start) as u32;
                        let (rows, row_step) = (block.len() as u32, n as u32);
                        let job = QuantizeJob { numbers: numbers(dtype), rows, first_row, row_step };
                        self.quantize(index, &bytes, job).await?;
                    } else {
                        sides.push(planes_of(dtype, part.layout, matrix.k, &bytes));
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

    async fn vector(&mut self, vector: Vector, first: usize, sources: &[String], fuse: Fuse, add: f32) -> Result<()> {
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
        assert!(first + values.len() <= vector.len, "the sources were checked when the task was made");
        self.put(vector.buffer, first as u64 * 4, bytemuck::cast_slice(&values)).await
    }
}

/// Rows and columns of a block of `F8_E4M3` that share a factor.
pub const FP8_BLOCK: u64 = 128;

/// The value of an E4M3 code: 4 bits of exponent, 3 of mantissa, no infinities (arXiv 2209.05433).
fn f8_e4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if code >> 7 == 1 { -magnitude } else { magnitude }
}

/// The columns of `[k, columns]` values as rows.
fn transposed(bytes: &[u8], k: usize, columns: usize) -> Vec<u8> {
    let width = bytes.len() / (k * columns);
    let mut out = vec![0; bytes.len()];
    for (row, values) in bytes.chunks_exact(columns * width).enumerate() {
        for (column, value) in values.chunks_exact(width).enumerate() {
            out[(column * k + row) * width..][..width].copy_from_slice(value);
        }
    }
    out
}

/// Bytes of a block of 4-bit floats, as GGUF has them: the exponent and 32 codes.
const MXFP4_BLOCK: usize = 1 + GROUP / 2;

/// gpt-oss's blocks (neighbours share a byte) and exponents as GGUF's: the exponent, then bytes of values 16 apart.
fn mxfp4_blocks(codes: &[u8], exponents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(codes.len() + exponents.len());
    for (block, &exponent) in codes.chunks_exact(16).zip(exponents) {
        let value = |i: usize| block[i / 2] >> (4 * (i % 2)) & 15;
        out.push(exponent);
        out.extend((0..16).map(|i| value(i) | value(i + 16) << 4));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_forms_are_turned_into_rows() {
        assert_eq!(transposed(&[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0], 2, 3), [1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0]);
        assert_eq!([0x38, 0xb8, 0x01, 0x7e, 0x00].map(f8_e4m3), [1.0, -1.0, 1.0 / 512.0, 448.0, 0.0]);
        assert!(f8_e4m3(0x7f).is_nan() && f8_e4m3(0xff).is_nan());
        let codes: Vec<u8> = (0..16).map(|i| ((2 * i) % 16) | (((2 * i + 1) % 16) << 4)).collect(); // value i is i mod 16
        let block = mxfp4_blocks(&codes, &[127]);
        assert_eq!((block[0], block[1], block[16]), (127, 0, 0xff));
    }
}
