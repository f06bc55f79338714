//! The layers of a pre-norm decoder.

use super::{Attention, AttentionParts, Mlp, MlpParts, Moe, MoeParts};
use crate::Result;
use crate::model::{Builder, Layers, Recorder};

/// Attention, then an MLP or a mixture of experts, in every layer.
pub struct Decoder(Vec<(Attention, FeedForward)>);

enum FeedForward {
    Dense(Mlp),
    Mixture(Moe),
}

impl Decoder {
    /// Declares the weights of all layers, each with an MLP.
    pub fn dense(b: &mut Builder<'_>, attention: AttentionParts, mlp: MlpParts) -> Result<Self> {
        let layers = 0..b.config.num_layers;
        let layer = |i| Ok((Attention::new(b, i, attention)?, FeedForward::Dense(Mlp::new(b, i, mlp)?)));
        layers.map(layer).collect::<Result<_>>().map(Self)
    }

    /// Declares the weights of all layers, those that the config names with a mixture of experts.
    pub fn mixture(b: &mut Builder<'_>, attention: AttentionParts, mlp: MlpParts, moe: MoeParts) -> Result<Self> {
        let mixtures = b.config.moe.as_ref().map(|moe| moe.layers.clone()).unwrap_or_default();
        let mut layers = Vec::new();
        for i in 0..b.config.num_layers {
            let attention = Attention::new(b, i, attention)?;
            let mixture = mixtures.get(i).copied().unwrap_or(false);
            layers.push((
                attention,
                if mixture {
                    FeedForward::Mixture(Moe::new(b, i, moe)?)
                } else {
                    FeedForward::Dense(Mlp::new(b, i, mlp)?)
                },
            ));
        }
        Ok(Self(layers))
    }
}

impl Layers for Decoder {
    fn record(&self, r: &mut Recorder<'_>) {
        for (attention, feed_forward) in &self.0 {
            attention.record(r); // x += attention(norm(x))
            match feed_forward {
                FeedForward::Dense(mlp) => mlp.record(r), // x += mlp(norm(x))
                FeedForward::Mixture(moe) => moe.record(r),
            }
        }
    }
}
