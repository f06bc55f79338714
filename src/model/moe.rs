//! Mixture-of-experts models that are otherwise dense ones, as transformers' `modeling_*.py` of the same names compute
//! them: Qwen2-MoE and Qwen3-MoE (arXiv 2407.10671, 2505.09388), OLMoE (arXiv 2409.02060), Granite MoE.

use super::blocks::{AttentionParts, Decoder, MlpParts, MoeParts, QkNormKind};
use super::{Builder, Layers};
use crate::Result;
use crate::kernels::Scoring;

/// Experts selected by the softmax over all; `renormalize` is the default if the files do not set it.
fn softmax(renormalize: bool) -> MoeParts {
    MoeParts::new(Scoring::Softmax, renormalize)
}

/// Qwen2-MoE: a Qwen2 with routed experts and a gated shared expert.
pub(super) fn qwen2_moe(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let parts = AttentionParts { qkv_bias: b.config.attention_bias, ..AttentionParts::default() };
    let moe = MoeParts { shared_gate: true, ..softmax(false) };
    Ok(Box::new(Decoder::mixture(b, parts, MlpParts::default(), moe)?))
}

/// Qwen3-MoE: a Qwen3 with routed experts.
pub(super) fn qwen3_moe(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts =
        AttentionParts { qkv_bias: bias, o_bias: bias, qk_norm: QkNormKind::PerHead, ..AttentionParts::default() };
    Ok(Box::new(Decoder::mixture(b, parts, MlpParts::default(), softmax(true))?))
}

/// OLMoE: a Llama that normalises all query heads together, and all key heads.
pub(super) fn olmoe(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts =
        AttentionParts { qkv_bias: bias, o_bias: bias, qk_norm: QkNormKind::AllHeads, ..AttentionParts::default() };
    Ok(Box::new(Decoder::mixture(b, parts, MlpParts::default(), softmax(false))?))
}

/// Granite MoE: a Llama with multipliers, its experts weighted by the softmax of the chosen ones.
pub(super) fn granitemoe(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts = AttentionParts { qkv_bias: bias, o_bias: bias, ..AttentionParts::default() };
    Ok(Box::new(Decoder::mixture(b, parts, MlpParts::default(), softmax(true))?))
}
