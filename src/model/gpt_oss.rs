//! gpt-oss (arXiv 2508.10925), as transformers' `modeling_gpt_oss.py` computes it: sliding windows in every other
//! layer, an attention sink per head, and experts with biases and a clamped SwiGLU, stored as 4-bit floats.

use super::blocks::{AttentionParts, Decoder, MlpParts, MoeParts};
use super::build::FusedExperts;
use super::{Builder, Layers};
use crate::Result;
use crate::kernels::{Gate, Scoring};

/// Declares the weights.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts = AttentionParts { qkv_bias: bias, o_bias: bias, sinks: true, ..AttentionParts::default() };
    let gate = Some(Gate::Clamped { limit: b.config.swiglu_limit.unwrap_or(7.0) as f32 });
    let fused = FusedExperts { interleaved: true, transposed: true };
    let moe = MoeParts { bias: true, gate, fused, ..MoeParts::new(Scoring::Softmax, true) };
    Ok(Box::new(Decoder::mixture(b, parts, MlpParts::default(), moe)?))
}
