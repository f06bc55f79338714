//! A matrix times the rows of all tokens on processors, in f32.

use super::MatmulParams;
use crate::kernels::epilogue::finish_fast;
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
    let all = weights(step, memory, width).fast(p.rows as usize, &|r, _| r, &inputs);
    for (t, sums) in all.into_iter().enumerate() {
        let y = &mut memory.floats_mut(step.buffer(5))[t * p.y_stride as usize..];
        finish_fast(step, sums, p.row_offset as usize, bias.as_deref(), y);
    }
}
