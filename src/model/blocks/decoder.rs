//! The layers of a pre-norm decoder: attention and a feed-forward block each.

use super::{Attention, AttentionParts, FeedForward, MlpParts, MoeParts};
use crate::Result;
use crate::model::{Builder, Layers, Recorder};

/// Attention, then an MLP or a mixture of experts, in every layer.
pub struct Decoder(Vec<(Attention, FeedForward)>);

impl Decoder {
    /// Declares the weights of all layers, each with an MLP.
    pub fn dense(b: &mut Builder<'_>, attention: AttentionParts, mlp: MlpParts) -> Result<Self> {
        Self::new(b, attention, mlp, None)
    }

    /// Declares the weights of all layers, with a mixture of experts in the layers that the config names.
    pub fn mixture(b: &mut Builder<'_>, attention: AttentionParts, mlp: MlpParts, moe: MoeParts) -> Result<Self> {
        Self::new(b, attention, mlp, Some(moe))
    }

    fn new(b: &mut Builder<'_>, attention: AttentionParts, mlp: MlpParts, moe: Option<MoeParts>) -> Result<Self> {
        let layers = 0..b.config.num_layers;
        let layer = |i| Ok((Attention::new(b, i, attention)?, FeedForward::new(b, i, mlp, moe)?));
        layers.map(layer).collect::<Result<_>>().map(Self)
    }
}

impl Layers for Decoder {
    fn record(&self, r: &mut Recorder<'_>) {
        for (attention, feed_forward) in &self.0 {
            attention.record(r); //    x += attention(norm(x))
            feed_forward.record(r); // x += mlp(norm(x))
        }
    }
}
