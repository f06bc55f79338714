//! Llama (arXiv 2302.13971, 2307.09288, 2407.21783), as transformers' `modeling_llama.py` computes it: pre-norm
//! attention with rotary positions and grouped heads, then SwiGLU. SmolLM2 and DeepSeek-R1-Distill-Llama are Llamas;
//! Mistral (arXiv 2310.06825) is a Llama whose config may set a sliding window, and Mixtral (arXiv 2401.04088) a Llama
//! with a mixture of experts whose weights sum to one.

use super::blocks::{AttentionParts, Decoder, MlpParts, MoeParts};
use super::{Builder, Layers};
use crate::Result;
use crate::kernels::Scoring;

/// Declares the weights. Biases are a fact of the config: `attention_bias` covers q, k, v and o, `mlp_bias` the rest.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let (bias, mlp_bias) = (b.config.attention_bias, b.config.mlp_bias);
    let parts = AttentionParts { qkv_bias: bias, o_bias: bias, ..AttentionParts::default() };
    let moe = MoeParts::new(Scoring::Softmax, true);
    Ok(Box::new(Decoder::mixture(b, parts, MlpParts { bias: mlp_bias, ..MlpParts::default() }, moe)?))
}
