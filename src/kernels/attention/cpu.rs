//! Attention on processors, in f32: the keys and values of a head are read from the cache once for all queries.

use minke_vector::{Rows, softmax_sums};

use super::{AttentionParams, Span, TILE, sink};
use crate::kernels::{CpuMemory, KvFormat, Params, State};
use crate::plan::Step;

/// Appends a row of `dim` values of the cache.
fn push_row(format: KvFormat, words: &[u32], dim: usize, rows: &mut Rows) {
    match format {
        KvFormat::F16 => rows.push_halves(words),
        KvFormat::F32 | KvFormat::Q8 => {
            let values: Vec<f32> = format.values(words, dim).into_iter().map(|v| v as f32).collect();
            rows.push(&values);
        }
    }
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
        (0..p.kv_heads as usize).map(of_head).collect::<Vec<_>>()
    };
    let out = memory.floats_mut(step.buffer(5));
    for Split { t, head, split, sums, maximum, denominator } in made.into_iter().flatten() {
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
        let mut rows = Rows::new(seen.len(), dim);
        let (words, row_words) = (memory.words(step.buffer(slot)), format.row_words(dim));
        for key in seen.clone() {
            let row = key % p.capacity as usize * kv_heads + kv_head;
            push_row(format, &words[row * row_words..][..row_words], dim, &mut rows);
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
            let q: Vec<f32> = q.iter().map(|v| v * p.scale).collect();
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
