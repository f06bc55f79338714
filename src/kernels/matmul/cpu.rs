//! A matrix times the rows of all tokens on processors, in f32.

use super::MatmulParams;
use crate::kernels::epilogue::{finish_fast, gather_finished};
use crate::kernels::matvec::weights;
use crate::kernels::{CpuMemory, Params, State};
use crate::plan::{GROUP, Step};

/// See the module.
pub fn matmul(step: &Step, memory: &mut CpuMemory) {
    let p = MatmulParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let bias = (step.constant("BIAS") == 1.0).then(|| memory.floats(step.buffer(7)).to_vec());
    // Padding is zero on both sides, so whole groups may be multiplied.
    let width = p.groups as usize * GROUP;
    let x = memory.floats(step.buffer(4));
    let input = |t: usize| x[t * p.x_stride as usize * 4..][..width].to_vec();
    let inputs: Vec<Vec<f32>> = (0..state.count as usize).map(input).collect();
    let weights = weights(step, memory, width);
    let (own, all) = (weights.own(p.rows as usize), weights.fast(p.rows as usize, &|r, _| r, &inputs));
    let starts: Vec<usize> = (0..all.len()).map(|t| t * p.y_stride as usize).collect();
    for (start, sums) in starts.iter().zip(all) {
        let y = &mut memory.floats_mut(step.buffer(5))[*start..];
        finish_fast(step, sums, p.row_offset as usize + own.start, bias.as_deref(), y);
    }
    gather_finished(step, memory, p.rows as usize, p.row_offset as usize, &starts);
}
