//! Rotation and append to the KV cache on processors, in f32.

use minke_vector::{rms_norm, rotate};

use super::{LOW, RopeParams};
use crate::kernels::{CpuMemory, KvFormat, Params, State};
use crate::plan::{BufferId, Step};

/// cos and sin of the angles of a position, from a table of [`rope_table`](super::rope_table).
pub fn angles(memory: &CpuMemory, table: BufferId, position: usize, pairs: usize) -> Vec<[f32; 2]> {
    let table: &[[f32; 2]] = bytemuck::cast_slice(memory.words(table));
    let row = |row: usize| &table[row * pairs..][..pairs];
    let both = row(position % LOW).iter().zip(row(LOW + position / LOW));
    both.map(|([c0, s0], [c1, s1])| [c0 * c1 - s0 * s1, s0 * c1 + c0 * s1]).collect()
}

/// See the module.
pub fn rope_append(step: &Step, memory: &mut CpuMemory) {
    let p = RopeParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let format = KvFormat::of(step);
    let interleaved = step.constant("INTERLEAVED") == 1.0;
    let (heads, kv_heads, dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    for t in 0..state.count as usize {
        let position = state.position as usize + t;
        let angles = angles(memory, step.buffer(3), position, p.rotary as usize / 2);
        let mut x = memory.floats(step.buffer(2))[t * p.x_stride as usize..][..(heads + 2 * kv_heads) * dim].to_vec();
        let (q, kv) = x.split_at_mut(heads * dim);
        let (k, v) = kv.split_at_mut(kv_heads * dim);
        let mode = step.constant("QK_NORM") as u32;
        if mode > 0 {
            for (values, slot) in [(&mut *q, 7), (&mut *k, 8)] {
                let width = if mode == 1 { dim } else { values.len() };
                let gain = memory.floats(step.buffer(slot));
                values.chunks_mut(width).for_each(|values| values.copy_from_slice(&rms_norm(values, gain, p.eps)));
            }
        }
        q.chunks_mut(dim).chain(k.chunks_mut(dim)).for_each(|head| rotate(head, &angles, interleaved));
        if step.constant("TEMPERATURE") == 1.0 {
            let folds = ((position + 1) as f64 / f64::from(p.floor)).floor();
            let by = (1.0 + f64::from(p.growth) * (1.0 + folds).ln()) as f32;
            q.iter_mut().for_each(|v| *v *= by);
        }
        memory.floats_mut(step.buffer(4))[t * p.q_stride as usize..][..q.len()].copy_from_slice(q);
        for (cache, values) in [(step.buffer(5), &*k), (step.buffer(6), &*v)] {
            for (head, values) in values.chunks(dim).enumerate() {
                let row = position % p.capacity as usize * kv_heads + head;
                if let Some(row) = memory.local_row(cache, row) {
                    format.keep(memory, cache, row, values);
                }
            }
        }
    }
}
