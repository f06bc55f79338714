//! Attention on processors, in f32: the cache is read a tile at a time, and each key and value head's part of it for all queries that
//! share it. Queries do not depend on each other, so any range of heads can be made alone.

use std::ops::Range;

use minke_vector::{Attended, Query, attend, combine};

use super::{AttentionParams, ReduceParams, Span, TILE, sink, used_splits};
use crate::kernels::{CpuMemory, KvFormat, Params, State};
use crate::plan::Step;

/// Queries that a piece of work has at most; a thread's next piece reads the keys again.
const QUERIES: usize = 96;

/// What attention makes of one query: of one token, head and split.
#[derive(Debug, PartialEq)]
pub struct Made {
    t: usize,
    head: usize,
    split: usize,
    attended: Attended,
}

/// Queries that share a split, those of a key and value head one after the other.
struct Piece {
    split: usize,
    /// Token and query head of each.
    queries: Vec<(usize, usize)>,
}

/// See the module.
pub fn attention(step: &Step, memory: &mut CpuMemory) {
    let p = AttentionParams::of(step);
    let splits = step.constant("SPLITS") as usize;
    let value_dim = p.value_dim as usize;
    let share = memory.share();
    let made = heads(step, memory, share.of(p.heads as usize));
    let out = memory.floats_mut(step.buffer(5));
    for Made { t, head, split, attended: Attended { sums, maximum, denominator } } in made {
        if splits == 1 {
            let row = &mut out[t * p.out_stride as usize + head * value_dim..][..value_dim];
            row.iter_mut().zip(sums).for_each(|(y, v)| *y = v / denominator);
        } else {
            let row = &mut out[(head * splits + split) * (value_dim + 2)..][..value_dim + 2];
            row[..value_dim].copy_from_slice(&sums);
            row[value_dim..].copy_from_slice(&[maximum, denominator]);
        }
    }
    exchange_heads(step, memory, &p, splits);
}

/// Exchanges what workers have made of their heads.
pub(super) fn exchange_heads(step: &Step, memory: &mut CpuMemory, p: &AttentionParams, splits: usize) {
    let Some(division) = memory.division().cloned() else { return };
    let state: State = memory.read(step.buffer(1));
    let value_dim = p.value_dim as usize;
    let row = value_dim + 2;
    let used = splits_of(p, &state, splits) * row;
    let (count, stride) = (state.count as usize, p.out_stride as usize);
    division.gather_ranges(memory.floats_mut(step.buffer(5)), |share| {
        let own = share.of(p.heads as usize);
        match splits {
            1 => (0..count).map(|t| t * stride + own.start * value_dim..t * stride + own.end * value_dim).collect(),
            _ => own.map(|head| head * splits * row..head * splits * row + used).collect(),
        }
    });
}

/// The splits that have keys: the last ones of a short context have none.
fn splits_of(p: &AttentionParams, state: &State, splits: usize) -> usize {
    let end = state.position as usize + 1;
    if splits == 1 { 1 } else { used_splits(end - Span::of([p.window, p.chunk]).first(end), splits) }
}

/// The work of a range of query heads. Heads with few queries share a piece, since their keys are neighbours.
fn pieces(p: &AttentionParams, count: usize, splits: usize, heads: &Range<usize>) -> Vec<Piece> {
    let group = (p.heads / p.kv_heads) as usize;
    let mut pieces: Vec<Piece> = Vec::new();
    for (split, kv_head) in
        (0..splits).flat_map(|split| (heads.start / group..heads.end.div_ceil(group)).map(move |head| (split, head)))
    {
        let own = heads.start.max(kv_head * group)..heads.end.min((kv_head + 1) * group);
        if own.is_empty() {
            continue; // of no heads
        }
        let queries: Vec<(usize, usize)> = (0..count).flat_map(|t| own.clone().map(move |head| (t, head))).collect();
        let size = queries.len().div_ceil(queries.len().div_ceil(QUERIES));
        for queries in queries.chunks(size) {
            match pieces.last_mut() {
                Some(piece) if piece.split == split && piece.queries.len() + queries.len() <= QUERIES => {
                    piece.queries.extend(queries);
                }
                _ => pieces.push(Piece { split, queries: queries.to_vec() }),
            }
        }
    }
    pieces
}

/// Attention of a range of query heads.
pub fn heads(step: &Step, memory: &CpuMemory, heads: Range<usize>) -> Vec<Made> {
    let p = AttentionParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let format = KvFormat::of(step);
    let splits = step.constant("SPLITS") as usize;
    let key_dim = p.key_dim as usize;
    let cache = |slot: u32, dim: u32| {
        format.cache(memory, step.buffer(slot), dim as usize, p.kv_heads as usize, p.capacity as usize)
    };
    let (keys, values) = (cache(3, p.key_dim), cache(4, p.value_row));
    let q = memory.floats(step.buffer(2));
    let group = (p.heads / p.kv_heads) as usize;
    let query = |t: usize, head: usize, split: usize| {
        let end = state.position as usize + t + 1;
        let start = Span::of([p.window, p.chunk]).first(end);
        let length = (end - start).div_ceil(splits).next_multiple_of(TILE);
        Query {
            head: head / group,
            values: &q[t * p.q_stride as usize + head * key_dim..][..key_dim],
            keys: start + split * length..end.min(start + (split + 1) * length),
            sink: sink(step, memory, head).filter(|_| splits == 1).map(|s| s as f32),
        }
    };
    let pieces = pieces(&p, state.count as usize, splits_of(&p, &state, splits), &heads);
    let make = |piece: &Piece| {
        let Piece { split, queries: own } = piece;
        let queries: Vec<Query<'_>> = own.iter().map(|&(t, head)| query(t, head, *split)).collect();
        let made = attend(&queries, p.scale, &keys, &values, p.value_dim as usize);
        let made = own.iter().zip(made).map(|(&(t, head), attended)| Made { t, head, split: *split, attended });
        made.collect::<Vec<_>>()
    };
    pieces.iter().flat_map(make).collect()
}

/// Combines the splits of each head.
pub fn reduce(step: &Step, memory: &mut CpuMemory) {
    let p = ReduceParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let splits = step.constant("SPLITS") as usize;
    let dim = p.value_dim as usize;
    let end = state.position as usize + 1;
    let used = used_splits(end - Span::of([p.window, p.chunk]).first(end), splits);
    for head in 0..step.grid[0] as usize {
        let sink = sink(step, memory, head).map(|s| s as f32);
        let parts = &memory.floats(step.buffer(2))[head * splits * (dim + 2)..][..used * (dim + 2)];
        let combined = combine(parts, dim, sink);
        memory.floats_mut(step.buffer(3))[head * dim..][..dim].copy_from_slice(&combined);
    }
}
