//! The KV cache on processors, in f32.

use half::f16;
use minke_vector::{Cache, Stored};

use super::KvFormat;
use crate::kernels::CpuMemory;
use crate::plan::{BufferId, GROUP};

impl KvFormat {
    /// A cache whose rows have `dim` values; a token has those of `heads`, or of some of them here.
    pub(in crate::kernels) fn cache(
        self,
        memory: &CpuMemory,
        buffer: BufferId,
        dim: usize,
        heads: usize,
        capacity: usize,
    ) -> Cache<'_> {
        let stored = match self {
            Self::F32 => Stored::F32,
            Self::F16 => Stored::F16,
            Self::Q8 => Stored::Q8,
        };
        let heads = memory.cached_heads(buffer, heads);
        Cache { words: memory.words(buffer), stored, dim, row_words: self.row_words(dim), heads, capacity }
    }

    /// Writes row `row` of a cache.
    pub(in crate::kernels) fn keep(self, memory: &mut CpuMemory, cache: BufferId, row: usize, values: &[f32]) {
        let words = self.row_words(values.len());
        let row = &mut memory.words_mut(cache)[row * words..][..words];
        match self {
            Self::F32 => row.iter_mut().zip(values).for_each(|(y, v)| *y = v.to_bits()),
            Self::F16 => {
                let row: &mut [f16] = bytemuck::cast_slice_mut(row);
                row.iter_mut().zip(values).for_each(|(y, &v)| *y = f16::from_f32(v));
            }
            Self::Q8 => {
                let (codes, largest) = row.split_at_mut(values.len().div_ceil(4));
                let codes: &mut [i8] = bytemuck::cast_slice_mut(codes);
                let largest: &mut [f16] = bytemuck::cast_slice_mut(largest);
                for (group, values) in values.chunks(GROUP).enumerate() {
                    let most = values.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
                    largest[group] = f16::from_f32(most.min(f16::MAX.to_f32()));
                    let scale = largest[group].to_f32() / 127.0;
                    for (y, v) in codes[group * GROUP..].iter_mut().zip(values) {
                        *y = if scale > 0.0 { (v / scale).round().clamp(-127.0, 127.0) as i8 } else { 0 };
                    }
                }
            }
        }
    }
}
