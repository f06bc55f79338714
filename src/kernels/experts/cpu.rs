//! The MLP of a mixture of experts for one token on processors, in f32.

use minke_vector::{add_scaled, gate_pairs};

use super::{DownParams, UpParams, entry_at, expert_row};
use crate::kernels::epilogue::{Gate, factor};
use crate::kernels::matvec::{input, weights};
use crate::kernels::product::gather_outputs;
use crate::kernels::{CpuMemory, Params};
use crate::plan::{GROUP, Step};

/// Gates and ups of the chosen experts.
pub fn up(step: &Step, memory: &mut CpuMemory) {
    let p = UpParams::of(step);
    let (width, rows) = (p.width as usize, p.rows as usize);
    let inputs = [input(step, memory, 0, width, p.eps)];
    let mut starts = Vec::new();
    for j in 0..step.grid[2] as usize {
        let at = p.routing_at as usize + 2 * (p.first_entry as usize + j);
        let (slot, weight) = entry_at(step, memory, at);
        if slot < p.first_slot || slot - p.first_slot >= p.slots {
            continue;
        }
        let local = (slot - p.first_slot) as usize;
        let weights = weights(step, memory, width);
        let own = weights.own(rows);
        let mut v = weights.fast(rows, &|r, rows| local * rows + r, &inputs).remove(0);
        if step.constant("INPUT_WEIGHT") == 1.0 {
            v.iter_mut().for_each(|v| *v *= weight as f32);
        }
        if step.constant("BIAS") == 1.0 {
            add_scaled(&mut v, &memory.floats(step.buffer(7))[slot as usize * rows + own.start..], 1.0);
        }
        let start = j * p.h_stride as usize;
        let h = &mut memory.floats_mut(step.buffer(5))[start..][own.start / 2..own.end / 2];
        gate_pairs(Gate::of(step).into(), &v, h);
        starts.push(start);
    }
    gather_outputs(step, memory, rows, 2, &starts);
}

/// The weighted sum of what the chosen experts make.
pub fn down(step: &Step, memory: &mut CpuMemory) {
    let p = DownParams::of(step);
    let (rows, width) = (p.rows as usize, p.groups as usize * GROUP);
    let own = weights(step, memory, width).own(rows);
    let mut sum = vec![0.0; own.len()];
    for j in 0..p.count as usize {
        let at = p.routing_at as usize + 2 * (p.first_entry as usize + j);
        let (slot, weight) = entry_at(step, memory, at);
        if slot < p.first_slot || slot - p.first_slot >= p.slots {
            continue;
        }
        let h = memory.floats(step.buffer(4))[j * p.x_stride as usize * 4..][..width].to_vec();
        let local = (slot - p.first_slot) as usize;
        let of_expert = |r, rows| expert_row(local, r, rows, p.interleaved);
        let mut v = weights(step, memory, width).fast(rows, &of_expert, &[h]).remove(0);
        if step.constant("BIAS") == 1.0 {
            add_scaled(&mut v, &memory.floats(step.buffer(7))[slot as usize * rows + own.start..], 1.0);
        }
        add_scaled(&mut sum, &v, if step.constant("WEIGHTED") == 1.0 { weight as f32 } else { 1.0 });
    }
    add_scaled(&mut memory.floats_mut(step.buffer(5))[own], &sum, factor(step));
    gather_outputs(step, memory, rows, 1, &[0]);
}
