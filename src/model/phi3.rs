//! Phi-3 and Phi-4-mini (arXiv 2404.14219), as transformers' `modeling_phi3.py` computes them: a Llama whose
//! projections are stored as one matrix, with a sliding window and LongRoPE. Whether LongRoPE's long table is needed is
//! decided at load, by the context length allocated.

use super::blocks::{AttentionParts, Decoder, MlpParts};
use super::{Builder, Layers};
use crate::Result;

/// Declares the weights.
pub(super) fn build(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    Ok(Box::new(Decoder::dense(b, AttentionParts::default(), MlpParts::default())?))
}
