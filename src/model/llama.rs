//! Llama (arXiv 2302.13971, 2307.09288, 2407.21783), as transformers' `modeling_llama.py` computes it: pre-norm
//! attention with rotary positions and grouped heads, then SwiGLU. SmolLM2 and DeepSeek-R1-Distill-Llama are Llamas; Mistral
//! (arXiv 2310.06825) is one whose config may name a sliding window.

use super::blocks::{Attention, AttentionParts, Mlp};
use super::{Builder, Layers, Recorder};
use crate::Result;

struct Llama(Vec<Layer>);

struct Layer {
    attention: Attention,
    mlp: Mlp,
}

/// Declares the weights. Biases are a fact of the config: `attention_bias` covers q, k, v and o, `mlp_bias` the rest.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let (bias, mlp_bias) = (b.config.attention_bias, b.config.mlp_bias);
    let parts = AttentionParts { qkv_bias: bias, o_bias: bias, qk_norm: false };
    let layers = (0..b.config.num_layers)
        .map(|i| Ok(Layer { attention: Attention::new(b, i, parts)?, mlp: Mlp::new(b, i, mlp_bias)? }))
        .collect::<Result<_>>()?;
    Ok(Box::new(Llama(layers)))
}

impl Layers for Llama {
    fn record(&self, r: &mut Recorder<'_>) {
        for layer in &self.0 {
            layer.attention.record(r); // x += attention(norm(x))
            layer.mlp.record(r); //       x += mlp(norm(x))
        }
    }
}
