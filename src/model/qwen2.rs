//! Qwen 2 and 2.5 (arXiv 2407.10671, 2412.15115), as transformers' `modeling_qwen2.py` computes it: a Llama whose
//! queries, keys and values have biases. DeepSeek-R1-Distill-Qwen 1.5B to 32B are Qwen 2.5 models.

use super::blocks::{AttentionParts, Decoder, MlpParts};
use super::{Builder, Layers};
use crate::Result;

/// Declares the weights. The biases belong to the architecture: no config field names them.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let parts = AttentionParts { qkv_bias: true, ..AttentionParts::default() };
    Ok(Box::new(Decoder::dense(b, parts, MlpParts::default())?))
}
