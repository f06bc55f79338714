//! What matvec and matmul do with a finished row of sums.

use crate::gpu::{BufferId, Vector};

/// The end of a matrix product: bias, then SwiGLU over interleaved gate and up rows or a residual addition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue {
    /// Added to every row.
    pub bias: Option<Vector>,
    /// Rows 2i and 2i + 1 are a gate and an up: the output is `silu(gate) · up`, half as wide.
    pub gated: bool,
    /// The result is added to what the output holds.
    pub residual: bool,
}

impl Epilogue {
    /// Values of the shaders' `override`s.
    pub(super) fn constants(&self) -> [(&'static str, f64); 3] {
        let on = |b: bool| f64::from(u8::from(b));
        [("BIAS", on(self.bias.is_some())), ("GATED", on(self.gated)), ("RESIDUAL", on(self.residual))]
    }

    /// The buffer to bind as the bias; `other`, which the shader then never reads, where there is none.
    pub(super) fn bias_or(&self, other: BufferId) -> BufferId {
        self.bias.map_or(other, |b| b.buffer)
    }

    /// Words for [`Step::detail`](crate::gpu::Step::detail).
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        for (on, word) in [(self.bias.is_some(), " +bias"), (self.gated, " swiglu"), (self.residual, " +=")] {
            words += if on { word } else { "" };
        }
        words
    }
}

/// x · sigmoid(x)
pub(super) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The epilogue in f64: `sums` are rows `first..` of the matrix; `y` is the output row.
pub(super) fn finish(sums: &[f64], first: usize, bias: Option<&[f32]>, gated: bool, residual: bool, y: &mut [f32]) {
    let biased = |i: usize| sums[i] + bias.map_or(0.0, |b| f64::from(b[first + i]));
    let mut put = |i: usize, v: f64| {
        let held = if residual { f64::from(y[i]) } else { 0.0 };
        y[i] = (held + v) as f32;
    };
    if gated {
        for i in (0..sums.len()).step_by(2) {
            put((first + i) / 2, silu(biased(i)) * biased(i + 1));
        }
    } else {
        for i in 0..sums.len() {
            put(first + i, biased(i));
        }
    }
}
