//! The gate of an MLP on processors, in f32.

use minke_vector::gate_rows;

use super::ActivationParams;
use crate::kernels::epilogue::Gate;
use crate::kernels::{CpuMemory, Params, State};
use crate::plan::Step;

/// See the module.
pub fn activation(step: &Step, memory: &mut CpuMemory) {
    let p = ActivationParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let mut gated = vec![0.0; p.width as usize];
    for t in 0..state.count as usize {
        let x = &memory.floats(step.buffer(4))[t * p.x_stride as usize..];
        let (gates, ups) = x.split_at(gated.len());
        gate_rows(Gate::of(step).into(), gates, &ups[..gated.len()], &mut gated);
        memory.floats_mut(step.buffer(5))[t * p.y_stride as usize..][..gated.len()].copy_from_slice(&gated);
    }
}
