//! Attention on processors, in f32: the keys and values of a head are read from the cache once for all queries.

use std::ops::Range;

use super::{AttentionParams, Span, TILE, sink};
use crate::kernels::cpu::{F32x4, I16x8};
use crate::kernels::{CpuMemory, KvFormat, Params, State};
use crate::plan::Step;

/// Rows of vectors of four.
struct Rows {
    values: Vec<F32x4>,
    /// Vectors of a row.
    width: usize,
}

impl Rows {
    fn row(&self, row: usize) -> &[F32x4] {
        &self.values[row * self.width..][..self.width]
    }
}

/// A row of `dim` values of the cache, in fours.
fn push_row(format: KvFormat, words: &[u32], dim: usize, to: &mut Vec<F32x4>) {
    let end = to.len() + dim.div_ceil(4);
    match format {
        KvFormat::F32 => {
            to.extend(words.chunks_exact(4).map(|four| F32x4::new([0, 1, 2, 3].map(|i| f32::from_bits(four[i])))));
        }
        KvFormat::F16 => {
            for four in words.chunks(4) {
                let mut padded = [0; 4];
                padded[..four.len()].copy_from_slice(four);
                to.extend(F32x4::from_halves(I16x8::from_bytes(bytemuck::cast(padded))));
            }
        }
        KvFormat::Q8 => {
            let mut values: Vec<f32> = format.values(words, dim).into_iter().map(|v| v as f32).collect();
            values.resize(dim.next_multiple_of(4), 0.0);
            to.extend(values.chunks_exact(4).map(|four| F32x4::new([four[0], four[1], four[2], four[3]])));
        }
    }
    to.truncate(end);
}

fn dot(a: &[F32x4], b: &[F32x4]) -> f32 {
    let mut sums = [F32x4::splat(0.0); 2];
    let mut pairs = a.chunks_exact(2).zip(b.chunks_exact(2));
    for (a, b) in &mut pairs {
        sums[0] = sums[0].add(a[0].mul(b[0]));
        sums[1] = sums[1].add(a[1].mul(b[1]));
    }
    if a.len() % 2 == 1 {
        sums[0] = sums[0].add(a[a.len() - 1].mul(b[a.len() - 1]));
    }
    sums[0].add(sums[1]).values().iter().sum()
}

/// What a split of one query's keys makes: sums of values, the largest score, and the sum of weights.
struct Split {
    t: usize,
    head: usize,
    split: usize,
    sums: Vec<f32>,
    maximum: f32,
    denominator: f32,
}

/// See the module.
pub fn attention(step: &Step, memory: &mut CpuMemory) {
    let p = AttentionParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let splits = step.constant("SPLITS") as usize;
    let value_dim = p.value_dim as usize;
    let made = {
        let memory = &*memory;
        let of_head = |kv_head: usize| head(step, memory, &p, &state, splits, kv_head);
        #[cfg(not(target_arch = "wasm32"))]
        {
            use rayon::prelude::*;
            (0..p.kv_heads as usize).into_par_iter().flat_map(of_head).collect::<Vec<_>>()
        }
        #[cfg(target_arch = "wasm32")]
        (0..p.kv_heads as usize).flat_map(of_head).collect::<Vec<_>>()
    };
    let out = memory.floats_mut(step.buffer(5));
    for Split { t, head, split, sums, maximum, denominator } in made {
        if splits == 1 {
            let row = &mut out[t * p.out_stride as usize + head * value_dim..][..value_dim];
            row.iter_mut().zip(sums).for_each(|(y, v)| *y = v / denominator);
        } else {
            let row = &mut out[(head * splits + split) * (value_dim + 2)..][..value_dim + 2];
            row[..value_dim].copy_from_slice(&sums[..value_dim]);
            row[value_dim..].copy_from_slice(&[maximum, denominator]);
        }
    }
}

/// The splits of all queries of a key and value head.
fn head(
    step: &Step,
    memory: &CpuMemory,
    p: &AttentionParams,
    state: &State,
    splits: usize,
    kv_head: usize,
) -> Vec<Split> {
    let format = KvFormat::of(step);
    let (heads, kv_heads, count) = (p.heads as usize, p.kv_heads as usize, state.count as usize);
    let (key_dim, value_row) = (p.key_dim as usize, p.value_row as usize);
    let span = Span::of([p.window, p.chunk]);
    let position = state.position as usize;
    let seen = span.first(position + 1)..position + count;
    let rows = |slot: u32, dim: usize| {
        let mut rows = Rows { values: Vec::with_capacity(seen.len() * dim.div_ceil(4)), width: dim.div_ceil(4) };
        let (words, row_words) = (memory.words(step.buffer(slot)), format.row_words(dim));
        for key in seen.clone() {
            let row = key % p.capacity as usize * kv_heads + kv_head;
            push_row(format, &words[row * row_words..][..row_words], dim, &mut rows.values);
        }
        rows
    };
    let keys = rows(3, key_dim);
    let values = rows(4, value_row);
    let group = heads / kv_heads;
    let mut made = Vec::with_capacity(count * group * splits);
    for t in 0..count {
        let end = position + t + 1;
        let start = span.first(end);
        let length = (end - start).div_ceil(splits).next_multiple_of(TILE);
        for head in kv_head * group..(kv_head + 1) * group {
            let q = &memory.floats(step.buffer(2))[t * p.q_stride as usize + head * key_dim..][..key_dim];
            let four = |four: &[f32]| F32x4::new(std::array::from_fn(|i| four.get(i).map_or(0.0, |v| v * p.scale)));
            let q: Vec<F32x4> = q.chunks(4).map(four).collect();
            for split in 0..splits {
                let part = start + split * length..end.min(start + (split + 1) * length);
                if part.is_empty() {
                    continue;
                }
                let part = part.start - seen.start..part.end - seen.start;
                let sink = sink(step, memory, head).filter(|_| splits == 1).map(|s| s as f32);
                let (sums, maximum, denominator) = softmax_sums(&q, &keys, &values, part, sink);
                made.push(Split { t, head, split, sums, maximum, denominator });
            }
        }
    }
    made
}

/// The sums of values weighted by the exponentials of scores, the largest score, and the sum of the exponentials.
fn softmax_sums(
    q: &[F32x4],
    keys: &Rows,
    values: &Rows,
    part: Range<usize>,
    sink: Option<f32>,
) -> (Vec<f32>, f32, f32) {
    let mut scores: Vec<f32> = part.clone().map(|key| dot(q, keys.row(key))).collect();
    let maximum = scores.iter().copied().chain(sink).fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|s| *s = (*s - maximum).exp());
    let denominator = scores.iter().sum::<f32>() + sink.map_or(0.0, |s| (s - maximum).exp());
    let mut sums = vec![F32x4::splat(0.0); values.width];
    for (key, weight) in part.zip(scores) {
        let weight = F32x4::splat(weight);
        sums.iter_mut().zip(values.row(key)).for_each(|(sum, v)| *sum = sum.add(v.mul(weight)));
    }
    (sums.iter().flat_map(|sum| sum.values()).collect(), maximum, denominator)
}
