//! Llama 4's text model, as transformers' `modeling_llama4.py` computes it: layers with RoPE attend to a chunk of the
//! context; NoPE layers attend to all of it, with queries scaled up with their position; each token is routed to one
//! expert, whose input is scaled by the router's score, and to a shared expert.

use super::blocks::{AttentionParts, Decoder, MlpParts, MoeParts, QkNormKind};
use super::build::FusedExperts;
use super::{Builder, Layers};
use crate::Result;
use crate::kernels::Scoring;

/// Declares the weights.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    let bias = b.config.attention_bias;
    let qk_norm = if b.config.use_qk_norm { QkNormKind::PerHeadUnweighted } else { QkNormKind::None };
    let parts = AttentionParts { qkv_bias: bias, o_bias: bias, qk_norm, ..AttentionParts::default() };
    let fused = FusedExperts { interleaved: false, transposed: true };
    let moe = MoeParts { input_weight: true, fused, ..MoeParts::new(Scoring::Sigmoid, false) };
    Ok(Box::new(Decoder::mixture(b, parts, MlpParts::default(), moe)?))
}
