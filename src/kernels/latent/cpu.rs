//! The steps of latent attention on processors, in f32.

use minke_vector::{add_scaled, combine, rms_norm, rotate};

use super::{QueryParams, ValueParams, used_splits, weight_row};
use crate::kernels::matvec::weights;
use crate::kernels::rope_append::angles;
use crate::kernels::{CpuMemory, KvFormat, Params, State};
use crate::plan::{Share, Step};

/// Queries in the latent's space, and the step's latents in the cache.
pub fn query(step: &Step, memory: &mut CpuMemory) {
    let p = QueryParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let (count, rank, nope, rotary) = (state.count as usize, p.rank as usize, p.nope as usize, p.rotary as usize);
    let interleaved = step.constant("INTERLEAVED") == 1.0;
    let (from, stride) = if step.constant("Q_IN_OUT") == 1.0 { (5, p.out_stride) } else { (4, p.x_stride) };
    let of = |t: usize| angles(memory, step.buffer(6), state.position as usize + t, rotary / 2);
    let angles: Vec<Vec<[f32; 2]>> = (0..count).map(of).collect();
    for local in memory.share().of(p.heads as usize) {
        let head = p.first_head as usize + local;
        let q = memory.floats(step.buffer(from));
        let of = |t: usize| &q[t * stride as usize + p.q_from as usize + head * (nope + rotary)..][..nope + rotary];
        let mut made = vec![vec![0.0; rank]; count];
        for i in 0..nope {
            let w = weight_row(step, memory, step.layout(), rank, local * p.head_rows as usize + i);
            made.iter_mut().enumerate().for_each(|(t, made)| add_scaled(made, &w, of(t)[i]));
        }
        for (t, made) in made.iter_mut().enumerate() {
            made.extend(&of(t)[nope..]);
            rotate(&mut made[rank..], &angles[t], interleaved);
        }
        for (t, made) in made.iter().enumerate() {
            let at = t * p.out_stride as usize + head * (rank + rotary);
            memory.floats_mut(step.buffer(5))[at..at + made.len()].copy_from_slice(made);
        }
    }
    let first = |t: usize| t * p.out_stride as usize + p.first_head as usize * (rank + rotary);
    gather_heads(step, memory, p.heads as usize, rank + rotary, (0..count).map(first).collect());
    if step.grid[0] > p.heads {
        for (t, angles) in angles.iter().enumerate() {
            let x = &memory.floats(step.buffer(4))[t * p.x_stride as usize..][..rank + rotary];
            let mut kept = rms_norm(&x[..rank], memory.floats(step.buffer(7)), p.eps);
            kept.extend(&x[rank..]);
            rotate(&mut kept[rank..], angles, interleaved);
            KvFormat::of(step).keep(memory, step.buffer(8), state.position as usize + t, &kept);
        }
    }
}

/// Values of the heads from what they attended to.
pub fn value(step: &Step, memory: &mut CpuMemory) {
    let p = ValueParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let (rank, value_dim) = (p.rank as usize, p.value_dim as usize);
    let heads = step.grid[1] as usize;
    for local in memory.share().of(heads) {
        let head = p.first_head as usize + local;
        let x = memory.floats(step.buffer(4));
        let input = |t: usize| {
            if step.constant("PARTIALS") == 0.0 {
                return x[t * p.x_stride as usize + head * rank..][..rank].to_vec();
            }
            let splits = step.constant("SPLITS") as usize;
            let used = used_splits(state.position as usize + 1, splits);
            combine(&x[head * splits * (rank + 2)..][..used * (rank + 2)], rank, None)
        };
        let inputs: Vec<Vec<f32>> = (0..state.count as usize).map(input).collect();
        let first = local * p.head_rows as usize + p.nope as usize;
        let all = weights(step, memory, rank).fast(value_dim, &|i, _| first + i, &inputs);
        for (t, v) in all.iter().enumerate() {
            memory.floats_mut(step.buffer(5))[t * p.y_stride as usize + head * value_dim..][..value_dim]
                .copy_from_slice(v);
        }
    }
    let first = |t: usize| t * p.y_stride as usize + p.first_head as usize * value_dim;
    gather_heads(step, memory, heads, value_dim, (0..state.count as usize).map(first).collect());
}

/// Makes what workers have made of their heads, of `width` values each, known to all; the first of those of each token are at `starts`.
fn gather_heads(step: &Step, memory: &mut CpuMemory, heads: usize, width: usize, starts: Vec<usize>) {
    let Some(division) = memory.division().cloned() else { return };
    let part = |share: Share| share.of(heads).start * width..share.of(heads).end * width;
    division.gather_parts(memory.floats_mut(step.buffer(5)), &starts, part);
}
