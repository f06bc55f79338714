//! A matrix times one row on processors, in f32.

use minke_vector::rms_norm;

use super::{MatvecParams, weights};
use crate::kernels::epilogue::{finish_fast, gather_finished};
use crate::kernels::{CpuMemory, Params, State};
use crate::plan::Step;

/// See the module.
pub fn matvec(step: &Step, memory: &mut CpuMemory) {
    let p = MatvecParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let (width, start) = (p.width as usize, ((state.count - 1) * p.x_stride + p.x_from) as usize * 4);
    let x = input(step, memory, start, width, p.eps);
    let weights = weights(step, memory, width);
    let (own, mut sums) = (weights.own(p.rows as usize), weights.fast(p.rows as usize, &|r, _| r, &[x]));
    let bias = (step.constant("BIAS") == 1.0).then(|| memory.floats(step.buffer(7)).to_vec());
    let first = p.row_offset as usize + own.start;
    finish_fast(step, sums.remove(0), first, bias.as_deref(), memory.floats_mut(step.buffer(5)));
    gather_finished(step, memory, p.rows as usize, p.row_offset as usize, &[0]);
}

/// The input that begins at `start`, after its norm if the step has one.
pub fn input(step: &Step, memory: &CpuMemory, start: usize, width: usize, eps: f32) -> Vec<f32> {
    let x = &memory.floats(step.buffer(4))[start..start + width];
    match step.constant("NORM") == 1.0 {
        true => rms_norm(x, memory.floats(step.buffer(6)), eps),
        false => x.to_vec(),
    }
}
