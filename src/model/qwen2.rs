//! Qwen 2 and 2.5 (arXiv 2407.10671, 2412.15115), as transformers' `modeling_qwen2.py` computes it: a Llama whose
//! queries, keys and values have biases. DeepSeek-R1-Distill-Qwen 1.5B to 32B are Qwen 2.5 models.

use super::blocks::{Attention, AttentionParts, Mlp};
use super::{Builder, Layers, Recorder};
use crate::Result;

struct Qwen2(Vec<Layer>);

struct Layer {
    attention: Attention,
    mlp: Mlp,
}

/// Declares the weights. The biases belong to the architecture: no config field names them.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let parts = AttentionParts { qkv_bias: true, ..AttentionParts::default() };
    let layers = (0..b.config.num_layers)
        .map(|i| Ok(Layer { attention: Attention::new(b, i, parts)?, mlp: Mlp::new(b, i, false)? }))
        .collect::<Result<_>>()?;
    Ok(Box::new(Qwen2(layers)))
}

impl Layers for Qwen2 {
    fn record(&self, r: &mut Recorder<'_>) {
        for layer in &self.0 {
            layer.attention.record(r); // x += attention(norm(x))
            layer.mlp.record(r); //       x += mlp(norm(x))
        }
    }
}
