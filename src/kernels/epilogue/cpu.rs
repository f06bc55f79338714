//! The end of a product on processors, in f32.

use minke_vector::{add_scaled, gate_pairs};

use super::Gate;
use crate::plan::Step;

impl From<Gate> for minke_vector::Gate {
    fn from(gate: Gate) -> Self {
        match gate {
            Gate::Silu => Self::Silu,
            Gate::GeluTanh => Self::GeluTanh,
            Gate::Clamped { limit } => Self::Clamped { limit },
        }
    }
}

/// The factor of a step.
pub fn factor(step: &Step) -> f32 {
    match step.constant("FACTOR") {
        0.0 => 1.0, // the shader's default
        factor => factor as f32,
    }
}

/// The epilogue of a step in f32: `sums` are rows `first..` of the matrix; `y` is the output row.
pub fn finish(step: &Step, mut sums: Vec<f32>, first: usize, bias: Option<&[f32]>, y: &mut [f32]) {
    if let Some(bias) = bias {
        add_scaled(&mut sums, &bias[first..], 1.0);
    }
    let mut at = first;
    if step.constant("GATED") == 1.0 {
        let pairs = sums;
        sums = vec![0.0; pairs.len() / 2];
        gate_pairs(Gate::of(step).into(), &pairs, &mut sums);
        at /= 2;
    }
    let (y, factor) = (&mut y[at..][..sums.len()], factor(step));
    match step.constant("RESIDUAL") == 1.0 {
        true => add_scaled(y, &sums, factor),
        false if factor == 1.0 => y.copy_from_slice(&sums),
        false => y.iter_mut().zip(sums).for_each(|(y, v)| *y = v * factor),
    }
}
