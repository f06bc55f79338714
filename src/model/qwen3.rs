//! Qwen 3, dense (arXiv 2505.09388), as transformers' `modeling_qwen3.py` computes it: a Llama that normalises every
//! query and key head before the rotation. DeepSeek-R1-0528-Qwen3-8B is one.

use super::blocks::{AttentionParts, Decoder, MlpParts, QkNormKind};
use super::{Builder, Layers};
use crate::Result;

/// Declares the weights. `attention_bias` covers q, k, v and o; no published checkpoint sets it.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts =
        AttentionParts { qkv_bias: bias, o_bias: bias, qk_norm: QkNormKind::PerHead, ..AttentionParts::default() };
    Ok(Box::new(Decoder::dense(b, parts, MlpParts::default())?))
}
