//! Runs a plan on the CPU, through the kernels' forms for processors or through their references: the oracle for whole models,
//! layer by layer.

use std::fmt::Debug;
use std::ops::Range;
use std::rc::Rc;

use super::kernel_of;
use crate::plan::{BufferId, BufferSpec, Buffers, DividedRows, Plan, Share};

/// The workers that run a plan together, each on its share of the weights.
pub trait Peers: Debug {
    /// Exchanges blocks of bytes: `values` has one of every worker, in order, of which `own` is this worker's. Returns when all are
    /// there. Every worker calls it with as many bytes, in the same order of calls.
    fn exchange(&self, values: &mut [u8], own: Range<usize>);
}

/// Which share of a plan's work is done here, and with whom.
#[derive(Debug, Clone)]
pub struct Division {
    /// The share.
    pub share: Share,
    peers: Rc<dyn Peers>,
}

impl Division {
    /// Makes parts of rows known to all: rows of a buffer begin at `starts`, and each worker has made the values of each that `part`
    /// says. Parts follow each other.
    pub fn gather_parts(&self, buffer: &mut [f32], starts: &[usize], part: impl Fn(Share) -> Range<usize>) {
        self.gather_ranges(buffer, |share| {
            let part = part(share);
            starts.iter().map(|start| start + part.start..start + part.end).collect()
        });
    }

    /// Makes the ranges of a buffer that each worker has made known to all.
    pub fn gather_ranges(&self, buffer: &mut [f32], made: impl Fn(Share) -> Vec<Range<usize>>) {
        let made: Vec<Vec<Range<usize>>> = Share::all(self.share.count).map(made).collect();
        let mut all = Vec::new();
        let mut own = 0..0;
        for (worker, ranges) in made.iter().enumerate() {
            let first = all.len();
            if worker == self.share.index {
                ranges.iter().for_each(|range| all.extend(&buffer[range.clone()]));
                own = first..all.len();
            } else {
                all.resize(first + ranges.iter().map(Range::len).sum::<usize>(), 0.0);
            }
        }
        self.gather(&mut all, own);
        let mut values = &all[..];
        for range in made.into_iter().flatten() {
            let (made, rest) = values.split_at(range.len());
            buffer[range].copy_from_slice(made);
            values = rest;
        }
    }

    /// Makes the items that each worker has made known to all: `own` are this worker's, those of the worker before it end there, and
    /// those of the next begin where they end.
    pub fn gather<T: bytemuck::Pod>(&self, values: &mut [T], own: Range<usize>) {
        let size = size_of::<T>();
        self.peers.exchange(bytemuck::cast_slice_mut(values), own.start * size..own.end * size);
    }
}

/// A buffer's words, and the rows that are divided between workers.
#[derive(Debug, Clone, Default)]
struct Held {
    words: Vec<u32>,
    rows: Option<DividedRows>,
}

/// The contents of a model's buffers on the CPU, as words: with several workers, those of one.
#[derive(Debug, Clone)]
pub struct CpuMemory {
    buffers: Vec<Held>,
    division: Option<Division>,
}

impl CpuMemory {
    /// Every buffer zeroed, as the GPU's are.
    pub fn new(buffers: &Buffers) -> Self {
        let mut memory = Self { buffers: Vec::new(), division: None };
        memory.extend(buffers).expect("there is enough memory");
        memory
    }

    /// Without buffers, for one of several workers.
    pub fn shared(share: Share, peers: Rc<dyn Peers>) -> Self {
        Self { buffers: Vec::new(), division: (share.count > 1).then_some(Division { share, peers }) }
    }

    /// The division of the work, where there are several workers.
    pub fn division(&self) -> Option<&Division> {
        self.division.as_ref()
    }

    /// The share that is held here.
    pub fn share(&self) -> Share {
        self.division.as_ref().map_or(Share::WHOLE, |division| division.share)
    }

    /// Where a row of a plane of weights lies here, if it does.
    pub fn local_row(&self, id: BufferId, row: usize) -> Option<usize> {
        match self.buffers[id.0 as usize].rows {
            Some(rows) => rows.local(self.share(), row),
            None => Some(row),
        }
    }

    /// Bytes here of the first `bytes` of a buffer, which are whole units where its rows are divided.
    pub(crate) fn local_bytes(&self, id: BufferId, bytes: u64) -> usize {
        match (self.buffers[id.0 as usize].rows, &self.division) {
            (Some(rows), Some(division)) => {
                let units = bytes as usize / (rows.unit * rows.bytes);
                units * rows.own(division.share).len() * rows.bytes
            }
            _ => bytes as usize,
        }
    }

    /// Which of `heads` rows of each token a part of the KV cache has here.
    pub(crate) fn cached_heads(&self, id: BufferId, heads: usize) -> Range<usize> {
        match (self.buffers[id.0 as usize].rows, &self.division) {
            (Some(rows), Some(division)) => rows.own(division.share),
            _ => 0..heads,
        }
    }

    /// The worker that holds a row of a divided plane.
    pub fn owner(&self, id: BufferId, row: usize) -> usize {
        let rows = self.buffers[id.0 as usize].rows;
        let holds = |share: Share| rows.is_none_or(|rows| rows.local(share, row).is_some());
        Share::all(self.share().count).position(holds).expect("every row is some worker's")
    }

    /// The division of a plane's rows; `None` where all are here.
    pub fn division_of(&self, id: BufferId) -> Option<&Division> {
        self.buffers[id.0 as usize].rows.and(self.division.as_ref())
    }

    /// Bytes of a buffer here.
    fn bytes_here(&self, spec: &BufferSpec) -> u64 {
        match (spec.rows, &self.division) {
            (Some(rows), Some(division)) => rows.bytes_of(division.share).next_multiple_of(4).max(16),
            _ => spec.bytes,
        }
    }

    /// Adds zeroed buffers, all or none; returns the id of the first, or `None` if there is not enough memory.
    pub fn extend(&mut self, buffers: &Buffers) -> Option<BufferId> {
        let mut added = Vec::with_capacity(buffers.iter().len());
        for spec in buffers.iter() {
            let words = self.bytes_here(spec) as usize / 4;
            let mut zeroed = Vec::new();
            zeroed.try_reserve_exact(words).ok()?;
            zeroed.resize(words, 0);
            added.push(Held { words: zeroed, rows: spec.rows });
        }
        let first = self.buffers.len() as u32;
        self.buffers.append(&mut added);
        Some(BufferId(first))
    }

    /// Frees a buffer's words.
    pub fn free(&mut self, id: BufferId) {
        if let Some(held) = self.buffers.get_mut(id.0 as usize) {
            *held = Held::default();
        }
        let end = self.buffers.iter().rposition(|held| !held.words.is_empty()).map_or(0, |last| last + 1);
        self.buffers.truncate(end);
    }

    /// The buffer's words.
    pub fn words(&self, id: BufferId) -> &[u32] {
        &self.buffers[id.0 as usize].words
    }

    /// The buffer's words, to write.
    pub fn words_mut(&mut self, id: BufferId) -> &mut [u32] {
        &mut self.buffers[id.0 as usize].words
    }

    /// The buffer as f32.
    pub fn floats(&self, id: BufferId) -> &[f32] {
        bytemuck::cast_slice(self.words(id))
    }

    /// The buffer as f32, to write.
    pub fn floats_mut(&mut self, id: BufferId) -> &mut [f32] {
        bytemuck::cast_slice_mut(self.words_mut(id))
    }

    /// The buffer as bytes.
    pub fn bytes(&self, id: BufferId) -> &[u8] {
        bytemuck::cast_slice(self.words(id))
    }

    /// Writes bytes at a byte offset, as the executor does.
    pub fn write(&mut self, id: BufferId, offset: u64, data: &[u8]) {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(self.words_mut(id));
        bytes[offset as usize..offset as usize + data.len()].copy_from_slice(data);
    }

    /// A plain value at the start of a buffer.
    pub(crate) fn read<T: bytemuck::Pod>(&self, id: BufferId) -> T {
        *bytemuck::from_bytes(&self.bytes(id)[..size_of::<T>()])
    }
}

/// Runs every step of the plan through its kernel's form for processors, or through its reference where it has none.
///
/// # Panics
/// On a step whose kernel is not in the kernel table.
pub fn run(plan: &Plan, memory: &mut CpuMemory) {
    for step in &plan.steps {
        let kernel = kernel_of(step);
        kernel.cpu.unwrap_or(kernel.reference)(step, memory);
    }
}

/// Runs every step of the plan through its kernel's reference.
///
/// # Panics
/// On a step whose kernel is not in the kernel table.
pub fn interpret(plan: &Plan, memory: &mut CpuMemory) {
    for step in &plan.steps {
        (kernel_of(step).reference)(step, memory);
    }
}
