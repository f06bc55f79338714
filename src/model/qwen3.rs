//! Qwen 3, dense (arXiv 2505.09388), as transformers' `modeling_qwen3.py` computes it: a Llama that normalises every
//! query and key head before the rotation. DeepSeek-R1-0528-Qwen3-8B is one.

use super::blocks::{Attention, AttentionParts, Mlp};
use super::{Builder, Layers, Recorder};
use crate::Result;

struct Qwen3(Vec<Layer>);

struct Layer {
    attention: Attention,
    mlp: Mlp,
}

/// Declares the weights. `attention_bias` covers q, k, v and o; no published checkpoint sets it.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let parts = AttentionParts { qkv_bias: bias, o_bias: bias, qk_norm: true };
    let layers = (0..b.config.num_layers)
        .map(|i| Ok(Layer { attention: Attention::new(b, i, parts)?, mlp: Mlp::new(b, i, false)? }))
        .collect::<Result<_>>()?;
    Ok(Box::new(Qwen3(layers)))
}

impl Layers for Qwen3 {
    fn record(&self, r: &mut Recorder<'_>) {
        for layer in &self.0 {
            layer.attention.record(r); // x += attention(norm(x))
            layer.mlp.record(r); //       x += mlp(norm(x))
        }
    }
}
