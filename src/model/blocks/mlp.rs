//! The gated feed-forward block (SwiGLU, GeGLU), including input norm and residual addition.

use crate::Result;
use crate::kernels::{Activate, Epilogue, Gate, RmsNorm};
use crate::model::{Builder, Recorder};
use crate::plan::{Matrix, Vector};

/// Which optional parts an architecture's feed-forward block has in addition to its projections.
#[derive(Debug, Clone, Copy, Default)]
pub struct MlpParts {
    /// Biases on all three projections.
    pub bias: bool,
    /// An RMS norm of the output, before it is added to the residual stream.
    pub post_norm: bool,
}

/// `x += W_down · (silu(W_gate · norm(x)) ⊙ (W_up · norm(x)))`
pub struct Mlp {
    label: String,
    norm: RmsNorm,
    gate_up: Matrix,
    gate_up_bias: Option<Vector>,
    /// Gate and up rows are interleaved, so that the activation is fused into the product. If a checkpoint stores
    /// the two in different formats, they are concatenated instead and a separate step computes the activation.
    interleaved: bool,
    down: Matrix,
    down_bias: Option<Vector>,
    gate: Gate,
    post_norm: Option<RmsNorm>,
}

impl Mlp {
    /// Declares layer `i`'s weights.
    pub fn new(b: &mut Builder<'_>, i: usize, parts: MlpParts) -> Result<Self> {
        let (hidden, inner) = (b.config.hidden_size, b.config.intermediate_size);
        let label = format!("l{i}.mlp");
        let role = |r: &str| format!("{i}.{r}");
        let norm =
            b.norm(&format!("{label}.norm"), &role(if parts.post_norm { "mlp_pre_norm" } else { "mlp_norm" }))?;
        let (gate_up, interleaved) = b.gate_up(&format!("{label}.gate_up"), i, inner, hidden)?;
        let down = b.stacked(&format!("{label}.down"), &[(role("down"), hidden)], inner)?;
        let (mut gate_up_bias, mut down_bias) = (None, None);
        if parts.bias {
            let both = [(role("gate.bias"), inner), (role("up.bias"), inner)];
            gate_up_bias = Some(b.vector_fused(&format!("{label}.gate_up.bias"), &both, interleaved, 0.0)?);
            down_bias = Some(b.vector(&format!("{label}.down.bias"), &[(role("down.bias"), hidden)])?);
        }
        let post_norm = match parts.post_norm {
            true => Some(b.norm(&format!("{label}.post_norm"), &role("mlp_post_norm"))?),
            false => None,
        };
        Ok(Self { label, norm, gate_up, gate_up_bias, interleaved, down, down_bias, gate: b.gate, post_norm })
    }

    /// Appends the block's steps.
    pub fn record(&self, r: &mut Recorder<'_>) {
        let label = |s: &str| format!("{}.{s}", self.label);
        let (x, inner) = (r.scratch.x, r.scratch.inner);
        let gate = self.gate;
        let joined =
            Epilogue { gate: self.interleaved.then_some(gate), bias: self.gate_up_bias, ..Epilogue::default() };
        if self.interleaved {
            r.linear(&label("gate_up"), &self.gate_up, Some(self.norm), x, inner, joined);
        } else {
            let both = r.scratch.gate_up.expect("declared with the first pair that is not interleaved");
            r.linear(&label("gate_up"), &self.gate_up, Some(self.norm), x, both, joined);
            let (both, inner) = (r.rows(both), r.rows(inner));
            r.plan.push([Activate { x: both, y: inner, gate }.step(&label("act"), &r.control)]);
        }
        r.add_product(&label("down"), &self.down, inner, self.down_bias, self.post_norm);
    }
}
