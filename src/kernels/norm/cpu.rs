//! RMS norm on processors, in f32.

use minke_vector::{add_scaled, rms_norm};

use super::NormParams;
use crate::kernels::{CpuMemory, Params, State};
use crate::plan::Step;

/// See the module.
pub fn norm(step: &Step, memory: &mut CpuMemory) {
    let p = NormParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let add = step.constant("ADD") == 1.0;
    for t in 0..state.count as usize {
        let start = t * p.x_stride as usize + p.x_from as usize;
        let x = &memory.floats(step.buffer(4))[start..start + p.width as usize];
        let normed = rms_norm(x, memory.floats(step.buffer(6)), p.eps);
        let y = &mut memory.floats_mut(step.buffer(5))[t * p.y_stride as usize..][..normed.len()];
        if add {
            add_scaled(y, &normed, 1.0);
        } else {
            y.copy_from_slice(&normed);
        }
    }
}
