//! Gemma 3 (arXiv 2503.19786), as transformers' `modeling_gemma3.py` computes its text model: norms before and after each
//! block, a norm of every query and key head, GeGLU, and in most layers a sliding window with its own RoPE parameters.

use super::blocks::{AttentionParts, Decoder, MlpParts, QkNormKind};
use super::{Builder, Layers};
use crate::Result;

/// Declares the weights.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts = AttentionParts {
        qkv_bias: bias,
        o_bias: bias,
        qk_norm: QkNormKind::PerHead,
        post_norm: true,
        ..AttentionParts::default()
    };
    Ok(Box::new(Decoder::dense(b, parts, MlpParts { post_norm: true, ..MlpParts::default() })?))
}
