//! Runs a plan on the CPU through the kernels' references: the oracle for whole models, layer by layer.

use super::kernel_of;
use crate::plan::{BufferId, Buffers, Plan};

/// The contents of a model's buffers on the CPU, as words.
#[derive(Debug, Clone)]
pub struct CpuMemory(Vec<Vec<u32>>);

impl CpuMemory {
    /// Every buffer zeroed, as the GPU's are.
    pub fn new(buffers: &Buffers) -> Self {
        Self(buffers.iter().map(|spec| vec![0; spec.bytes as usize / 4]).collect())
    }

    /// Adds zeroed buffers, all or none; returns the id of the first, or `None` if there is not enough memory.
    pub fn extend(&mut self, buffers: &Buffers) -> Option<BufferId> {
        let mut added = Vec::with_capacity(buffers.iter().len());
        for spec in buffers.iter() {
            let words = spec.bytes as usize / 4;
            let mut zeroed = Vec::new();
            zeroed.try_reserve_exact(words).ok()?;
            zeroed.resize(words, 0);
            added.push(zeroed);
        }
        let first = self.0.len() as u32;
        self.0.append(&mut added);
        Some(BufferId(first))
    }

    /// How many buffers there are, without freed ones at the end.
    pub fn buffers(&self) -> usize {
        self.0.len()
    }

    /// Frees a buffer's words.
    pub fn free(&mut self, id: BufferId) {
        if let Some(words) = self.0.get_mut(id.0 as usize) {
            *words = Vec::new();
        }
        let end = self.0.iter().rposition(|words| !words.is_empty()).map_or(0, |last| last + 1);
        self.0.truncate(end);
    }

    /// The buffer's words.
    pub fn words(&self, id: BufferId) -> &[u32] {
        &self.0[id.0 as usize]
    }

    /// The buffer's words, to write.
    pub fn words_mut(&mut self, id: BufferId) -> &mut [u32] {
        &mut self.0[id.0 as usize]
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
