//! SmolLM3, as transformers' `modeling_smollm3.py` computes it: a Llama in which some layers use no position embeddings
//! (NoPE, arXiv 2501.18795). The config names those layers.

use super::blocks::{AttentionParts, Decoder, MlpParts};
use super::{Builder, Layers};
use crate::Result;

/// Declares the weights.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts = AttentionParts { qkv_bias: bias, o_bias: bias, ..AttentionParts::default() };
    Ok(Box::new(Decoder::dense(b, parts, MlpParts { bias: b.config.mlp_bias, ..MlpParts::default() })?))
}
