//! The MLP of a mixture of experts for a chunk of tokens on processors, in f32.

use minke_vector::{add_scaled, gate_pairs};

use super::{ENTRY_TILE, MatmulParams, SortParams, SumParams};
use crate::kernels::epilogue::{Gate, factor};
use crate::kernels::experts::{entry_at, expert_row};
use crate::kernels::matvec::weights;
use crate::kernels::product::gather_outputs;
use crate::kernels::{CpuMemory, Params, State};
use crate::plan::{GROUP, Step};

/// Sorts entries by expert, in one pass over them.
pub fn sort(step: &Step, memory: &mut CpuMemory) {
    let p = SortParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let routing = &memory.words(step.buffer(8))[p.routing_at as usize..];
    let mut of_slots = vec![Vec::<u32>::new(); p.slots as usize];
    for i in 0..state.count * p.entries {
        if let Some(of_slot) = of_slots.get_mut(routing[2 * i as usize] as usize) {
            of_slot.push(i);
        }
    }
    let (mut tiles, mut order) = (Vec::new(), Vec::<u32>::new());
    for (slot, of_slot) in of_slots.iter().enumerate() {
        for tile in of_slot.chunks(ENTRY_TILE) {
            tiles.extend([slot as u32, order.len() as u32, tile.len() as u32]);
            order.extend(tile);
        }
    }
    tiles.resize(3 * p.tiles as usize, 0);
    tiles.extend(order);
    memory.words_mut(step.buffer(9))[..tiles.len()].copy_from_slice(&tiles);
}

/// The products of sorted entries with their experts.
pub fn matmul(step: &Step, memory: &mut CpuMemory) {
    let p = MatmulParams::of(step);
    let (rows, width, entries) = (p.rows as usize, p.groups as usize * GROUP, p.entries as usize);
    let (gated, weighted) = (step.constant("GATED") == 1.0, step.constant("WEIGHTED") == 1.0);
    let gate = Gate::of(step).into();
    let (rows_of_one, mut starts) = (if gated { 2 } else { 1 }, Vec::new());
    let sorted = memory.words(step.buffer(9)).to_vec();
    let (tiles, order) = sorted.split_at(3 * p.tiles as usize);
    for &[slot, first, count] in tiles.as_chunks().0 {
        if count == 0 || slot < p.first_slot || slot - p.first_slot >= p.slots {
            continue;
        }
        let of_tile = &order[first as usize..][..count as usize];
        let row = |entry: usize| entry / entries * p.count as usize + entry % entries - p.first_entry as usize;
        let x = memory.floats(step.buffer(4));
        let input = |&entry: &u32| {
            let entry = entry as usize;
            let start = if gated { entry / entries } else { row(entry) } * p.x_stride as usize * 4;
            x[start..start + width].to_vec()
        };
        let inputs: Vec<Vec<f32>> = of_tile.iter().map(input).collect();
        let local = (slot - p.first_slot) as usize;
        let of_expert = |r, rows| expert_row(local, r, rows, p.interleaved);
        let weights = weights(step, memory, width);
        let (own, all) = (weights.own(rows), weights.fast(rows, &of_expert, &inputs));
        let biases = || memory.floats(step.buffer(7))[slot as usize * rows..][own.clone()].to_vec();
        let bias = (step.constant("BIAS") == 1.0).then(biases);
        for (&entry, mut v) in of_tile.iter().zip(all) {
            let entry = entry as usize;
            let weight =
                if weighted { entry_at(step, memory, p.routing_at as usize + 2 * entry).1 as f32 } else { 1.0 };
            let scale = |v: &mut [f32]| v.iter_mut().for_each(|v| *v *= weight);
            if gated && weighted {
                scale(&mut v);
            }
            if let Some(bias) = &bias {
                add_scaled(&mut v, bias, 1.0);
            }
            if gated {
                let pairs = v;
                v = vec![0.0; pairs.len() / 2];
                gate_pairs(gate, &pairs, &mut v);
            } else if weighted {
                scale(&mut v);
            }
            let start = if gated { row(entry) } else { entry } * p.y_stride as usize;
            let out = start + own.start / rows_of_one;
            memory.floats_mut(step.buffer(5))[out..out + v.len()].copy_from_slice(&v);
            starts.push(start);
        }
    }
    gather_outputs(step, memory, rows, rows_of_one, &starts);
}

/// Adds each token's entries to its row.
pub fn sum(step: &Step, memory: &mut CpuMemory) {
    let p = SumParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let (entries, stride, width, factor) = (p.entries as usize, p.stride as usize, p.width as usize, factor(step));
    for t in 0..state.count as usize {
        let mut sum = vec![0.0; width];
        let z = memory.floats(step.buffer(4));
        (0..entries).for_each(|j| add_scaled(&mut sum, &z[(t * entries + j) * stride..][..width], 1.0));
        add_scaled(&mut memory.floats_mut(step.buffer(5))[t * stride..][..width], &sum, factor);
    }
}
