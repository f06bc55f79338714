//! Executes load tasks: reads blocks of stored rows, converts them, and writes them to their buffers.

use std::ops::Range;

use super::checkpoint::Checkpoint;
use super::dequantize::dequantize_rows;
use super::dtype::Dtype;
use super::entry::TensorEntry;
use super::planes::Planes;
use super::repack::{becomes, quantize_rows, repack_rows, unquantised};
use super::source::BLOCK;
use super::task::{COLUMN_ROWS, FP8_BLOCK, Form, Fuse, IN_FLIGHT, MXFP4_BLOCK, Piece, Quantizer, Slice, Task};
use crate::plan::{BufferId, Bytes, Executor, GROUP, Layout, Matrix, Part, Plan, Prepared, QuantizeJob, Vector};
use crate::{Cancel, Result};

/// The destination of the bytes.
pub(super) enum To<'a> {
    Executor(&'a dyn Executor),
    Memory(&'a mut dyn FnMut(BufferId, u64, &[u8])),
}

pub(super) struct Loader<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    to: To<'a>,
    cancel: &'a Cancel,
    progress: &'a mut dyn FnMut(u64, &str),
    in_flight: u64,
    /// The expert that was last transposed on the host: its tensor, first stored row, and transposed rows.
    pub(super) transposed: Option<(String, u64, Vec<u8>)>,
    /// The stored rows that are in the quantizers' input buffer.
    arrived: Option<(String, Range<u64>)>,
    /// The quantizers of the matrix being loaded, by part.
    quantizers: Vec<Option<(Quantizer, Prepared)>>,
}

/// Splits `rows` by the parts of the matrix: the index of each part, the part, and the rows in it.
fn by_part(matrix: &Matrix, rows: Range<usize>) -> impl Iterator<Item = (usize, &Part, Range<usize>)> {
    matrix.parts.iter().enumerate().filter_map(move |(index, part)| {
        let shared = rows.start.max(part.rows.start)..rows.end.min(part.rows.end);
        (!shared.is_empty()).then_some((index, part, shared))
    })
}

/// The row within its source of a matrix row, if the rows of `n` sources are interleaved from matrix row `first` on.
fn source_row(row: usize, first: usize, n: usize) -> usize {
    assert!((row - first).is_multiple_of(n), "parts keep rows together");
    (row - first) / n
}

/// Repacks stored rows to the part's layout, or quantises them if that layout is smaller.
fn planes_of(dtype: Dtype, layout: Layout, k: usize, bytes: &[u8]) -> Planes {
    let mut planes = Planes::default();
    if becomes(dtype, layout) {
        quantize_rows(dtype, layout, k, bytes, &mut planes);
    } else {
        repack_rows(dtype, k, bytes, &mut planes);
    }
    planes
}

/// The value of [`QuantizeJob::numbers`] for a format.
fn numbers(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 2,
        Dtype::F8_E4M3 => 3,
        other => unreachable!("{} is not quantised while loading", other.name()),
    }
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        checkpoint: &'a Checkpoint,
        to: To<'a>,
        cancel: &'a Cancel,
        progress: &'a mut dyn FnMut(u64, &str),
    ) -> Self {
        Self { checkpoint, to, cancel, progress, in_flight: 0, transposed: None, arrived: None, quantizers: Vec::new() }
    }

    pub(super) async fn run(&mut self, tasks: &[Task]) -> Result<()> {
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
        let To::Executor(executor) = self.to else { return Ok(Vec::new()) };
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

    /// Writes to a buffer, and waits if the queue is full.
    async fn put(&mut self, buffer: BufferId, offset: u64, bytes: Bytes) -> Result<()> {
        let sent = bytes.len();
        match &mut self.to {
            To::Memory(write) => write(buffer, offset, &bytes.into_vec()),
            To::Executor(executor) => executor.upload(buffer, offset, bytes),
        }
        self.sent(sent).await
    }

    async fn sent(&mut self, bytes: usize) -> Result<()> {
        self.in_flight += bytes as u64;
        if let (To::Executor(executor), true) = (&self.to, self.in_flight >= IN_FLIGHT) {
            self.in_flight = 0;
            executor.idle().await?;
        }
        Ok(())
    }

    pub(super) fn report(&mut self, entry: &TensorEntry, bytes: u64) {
        (self.progress)(bytes, self.checkpoint.shards[entry.shard].name());
    }

    pub(super) async fn read(&mut self, entry: &TensorEntry, rows: Range<u64>) -> Result<Vec<u8>> {
        self.arriving(entry, rows).await.map(Bytes::into_vec)
    }

    /// As [`Self::read`], but in a browser the bytes may stay in JavaScript's memory.
    async fn arriving(&mut self, entry: &TensorEntry, rows: Range<u64>) -> Result<Bytes> {
        self.cancel.check()?;
        let bytes = self.checkpoint.arriving(entry, rows).await?;
        self.report(entry, bytes.len() as u64);
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

    /// Loads all rows of a slice to rows `first..` of the matrix.
    async fn rows(&mut self, matrix: &Matrix, source: &Slice, first: usize) -> Result<()> {
        if self.transposes_on_gpu(source) {
            return self.columns(matrix, std::slice::from_ref(source), first).await;
        }
        let rows = (source.rows.end - source.rows.start) as usize;
        let step = self.block_rows(source, matrix.k);
        for (index, part, range) in by_part(matrix, first..first + rows) {
            for start in range.clone().step_by(step) {
                let block = start..range.end.min(start + step);
                let at = |row: usize| source.rows.start + (row - first) as u64;
                let rows = at(block.start)..at(block.end);
                if self.is_copied_unchanged(source, matrix.k, part) {
                    let entry = &self.checkpoint.tensors[&source.tensor];
                    let offset = ((block.start - part.rows.start) * part.layout.code_row_bytes(matrix.k)) as u64;
                    let bytes = self.arriving(entry, rows).await?;
                    self.put(part.codes, offset, bytes).await?;
                } else if let Some(planes) = self.block(source, matrix.k, rows, index, part, [block.start, 1]).await? {
                    self.write(matrix, part, block.start, planes).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether rows have the same bytes on the GPU as in the file.
    fn is_copied_unchanged(&self, source: &Slice, k: usize, part: &Part) -> bool {
        let entry = &self.checkpoint.tensors[&source.tensor];
        source.form == Form::Rows
            && matches!(self.to, To::Executor(_))
            && unquantised(entry.dtype)
            && !part.layout.can_quantize()
            && k.is_multiple_of(GROUP)
            && entry.k() == k as u64
    }

    /// Whether a slice is transposed on the GPU.
    fn transposes_on_gpu(&self, source: &Slice) -> bool {
        matches!(self.to, To::Executor(_))
            && matches!(source.form, Form::Columns { .. })
            && unquantised(self.checkpoint.tensors[&source.tensor].dtype)
            && self.quantizers.iter().all(Option::is_some)
    }

    /// Loads a block of rows, the first to row `first` of the matrix and the others `row_step` rows apart. The GPU
    /// converts them if it can; otherwise the result is their planes.
    async fn block(
        &mut self,
        source: &Slice,
        k: usize,
        rows: Range<u64>,
        index: usize,
        part: &Part,
        [first, row_step]: [usize; 2],
    ) -> Result<Option<Planes>> {
        let count = (rows.end - rows.start) as usize;
        let arranged = self.quantizers.get(index).is_some_and(Option::is_some);
        let entry = &self.checkpoint.tensors[&source.tensor];
        let place = QuantizeJob {
            first_row: (first - part.rows.start) as u32,
            row_step: row_step as u32,
            ..QuantizeJob::whole(0, count, k)
        };
        match &source.form {
            Form::Fp8 { scales } if arranged => {
                let cuts = self.cuts(source, k);
                let stored = rows.start / cuts..rows.end.div_ceil(cuts);
                let scales = &self.checkpoint.tensors[scales];
                let (blocks, factors) = self.factors(scales, stored.clone()).await?;
                let codes = self.arriving(entry, stored.clone()).await?;
                let job = QuantizeJob {
                    numbers: numbers(entry.dtype),
                    base: ((rows.start - stored.start * cuts) * k as u64) as u32,
                    width: entry.k() as u32,
                    origin: ((stored.start - blocks.start * FP8_BLOCK) * entry.k()) as u32,
                    across: scales.k() as u32,
                    ..place
                };
                self.quantize(index, codes, Some(&factors), job).await?;
            }
            Form::Rows if arranged && unquantised(entry.dtype) => {
                let cuts = self.cuts(source, k);
                let stored = rows.start / cuts..rows.end.div_ceil(cuts);
                let base = ((rows.start - stored.start * cuts) * k as u64) as u32;
                let bytes = self.arriving(entry, stored).await?;
                self.quantize(index, bytes, None, QuantizeJob { numbers: numbers(entry.dtype), base, ..place }).await?;
            }
            _ => {
                let (dtype, bytes) = self.rows_of(source, k, rows).await?;
                if !(arranged && unquantised(dtype)) {
                    return Ok(Some(planes_of(dtype, part.layout, k, &bytes)));
                }
                let job = QuantizeJob { numbers: numbers(dtype), ..place };
                self.quantize(index, Bytes::Here(bytes), None, job).await?;
            }
        }
        Ok(None)
    }

    /// Transposes slices, interleaving their rows, on the GPU. Stored rows are written to the GPU unchanged, a
    /// few at a time and once for all slices.
    async fn columns(&mut self, matrix: &Matrix, sources: &[Slice], first: usize) -> Result<()> {
        let n = sources.len();
        let rows = (sources[0].rows.end - sources[0].rows.start) as usize * n;
        for (index, part, range) in by_part(matrix, first..first + rows) {
            let positions = source_row(range.start, first, n)..source_row(range.end, first, n);
            let entry = &self.checkpoint.tensors[&sources[0].tensor];
            let at_once = (BLOCK / (entry.bytes() / entry.rows().max(1)).max(1) / COLUMN_ROWS).max(1) * COLUMN_ROWS;
            for start in (0..matrix.k as u64).step_by(at_once as usize) {
                let end = (start + at_once).min(matrix.k as u64);
                for (side, source) in sources.iter().enumerate() {
                    let Form::Columns { first: upper, .. } = source.form else { unreachable!("all are columns") };
                    let entry = &self.checkpoint.tensors[&source.tensor];
                    let stored = (source.tensor.clone(), upper + start..upper + end);
                    if self.arrived.as_ref() != Some(&stored) {
                        let bytes = self.arriving(entry, stored.1.clone()).await?;
                        self.input(index, bytes).await?;
                        self.arrived = Some(stored);
                    }
                    let job = QuantizeJob {
                        numbers: numbers(entry.dtype),
                        rows: positions.len() as u32,
                        first_row: (first + positions.start * n + side - part.rows.start) as u32,
                        row_step: n as u32,
                        k: (end - start) as u32,
                        first_group: (start / GROUP as u64) as u32,
                        base: source.rows.start as u32 + positions.start as u32,
                        row_stride: 1,
                        stride: entry.k() as u32,
                        ..QuantizeJob::default()
                    };
                    self.run_job(index, job)?;
                }
            }
        }
        Ok(())
    }

    /// The number of rows of a slice, after conversion, that form a block.
    fn block_rows(&self, source: &Slice, k: usize) -> usize {
        let entry = &self.checkpoint.tensors[&source.tensor];
        let row = match &source.form {
            Form::Rows => entry.bytes() / entry.rows().max(1),
            Form::Columns { .. } => k as u64 * 4,
            Form::Fp8 { .. } => entry.k() * 4,
            Form::Mxfp4 { .. } => (k / GROUP) as u64 * MXFP4_BLOCK as u64,
        };
        let cuts = self.cuts(source, k);
        // Blocks consist of whole stored rows, so that none is read twice.
        ((BLOCK / row.max(1)).max(1) * cuts) as usize
    }

    /// Converts rows of a part on the GPU.
    async fn quantize(&mut self, part: usize, bytes: Bytes, factors: Option<&[f32]>, job: QuantizeJob) -> Result<()> {
        if let Some(factors) = factors {
            let (quantizer, _) = self.quantizers[part].as_ref().expect("the part has one");
            let To::Executor(executor) = self.to else { unreachable!("only an executor has quantizers") };
            executor.write(quantizer.from.factors, 0, bytemuck::cast_slice(factors));
        }
        self.arrived = None;
        self.input(part, bytes).await?;
        self.run_job(part, job)
    }

    /// Writes the input of the next jobs.
    async fn input(&mut self, part: usize, bytes: Bytes) -> Result<()> {
        let (quantizer, _) = self.quantizers[part].as_ref().expect("the part has one");
        self.put(quantizer.from.input, 0, bytes).await
    }

    fn run_job(&self, part: usize, job: QuantizeJob) -> Result<()> {
        let To::Executor(executor) = self.to else { unreachable!("only an executor has quantizers") };
        let (quantizer, prepared) = self.quantizers[part].as_ref().expect("the part has one");
        executor.write(quantizer.from.job, 0, bytemuck::bytes_of(&job));
        executor.submit(&[prepared], &[])
    }

    /// Loads the interleaved rows of several slices.
    async fn interleaved(&mut self, matrix: &Matrix, piece: &Piece) -> Result<()> {
        let (n, first) = (piece.sources.len(), piece.first);
        if piece.sources.iter().all(|source| self.transposes_on_gpu(source)) {
            return self.columns(matrix, &piece.sources, first).await;
        }
        // The smallest block of all slices: their formats may differ in width.
        let step =
            piece.sources.iter().map(|source| self.block_rows(source, matrix.k)).min().expect("there are sources");
        let rows = (piece.sources[0].rows.end - piece.sources[0].rows.start) as usize * n;
        for (index, part, range) in by_part(matrix, first..first + rows) {
            let range = source_row(range.start, first, n)..source_row(range.end, first, n);
            for start in range.clone().step_by(step) {
                let block = start..range.end.min(start + step);
                let row = first + block.start * n;
                let mut sides = Vec::with_capacity(n);
                for (side, source) in piece.sources.iter().enumerate() {
                    let at = |row: usize| source.rows.start + row as u64;
                    let rows = at(block.start)..at(block.end);
                    sides.extend(self.block(source, matrix.k, rows, index, part, [row + side, n]).await?);
                }
                if sides.is_empty() {
                    continue;
                }
                assert_eq!(sides.len(), n, "interleaved rows are converted either all on the GPU or all on the host");
                let codes = part.layout.code_row_bytes(matrix.k);
                let scales = part.layout.scale_row_bytes(matrix.k);
                let mut joined = Planes::default();
                for row in 0..block.len() {
                    for side in &sides {
                        joined.codes.extend_from_slice(&side.codes[row * codes..][..codes]);
                        joined.scales.extend_from_slice(&side.scales[row * scales..][..scales]);
                    }
                }
                self.write(matrix, part, row, joined).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, matrix: &Matrix, part: &Part, row: usize, planes: Planes) -> Result<()> {
        let local = (row - part.rows.start) as u64;
        self.put(part.codes, local * part.layout.code_row_bytes(matrix.k) as u64, Bytes::Here(planes.codes)).await?;
        if let Some(scales) = part.scales {
            self.put(scales, local * part.layout.scale_row_bytes(matrix.k) as u64, Bytes::Here(planes.scales)).await?;
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
        let bytes = bytemuck::cast_slice(&values).to_vec();
        self.put(vector.buffer, first as u64 * 4, Bytes::Here(bytes)).await
    }
}
