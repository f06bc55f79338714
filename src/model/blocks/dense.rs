//! The layers of a dense pre-norm decoder.

use super::{Attention, AttentionParts, Mlp, MlpParts};
use crate::Result;
use crate::model::{Builder, Layers, Recorder};

/// Attention, then a feed-forward block, in every layer.
pub struct Dense(Vec<(Attention, Mlp)>);

impl Dense {
    /// Declares the weights of all layers.
    pub fn new(b: &mut Builder<'_>, attention: AttentionParts, mlp: MlpParts) -> Result<Self> {
        let layers = (0..b.config.num_layers).map(|i| Ok((Attention::new(b, i, attention)?, Mlp::new(b, i, mlp)?)));
        Ok(Self(layers.collect::<Result<_>>()?))
    }
}

impl Layers for Dense {
    fn record(&self, r: &mut Recorder<'_>) {
        for (attention, mlp) in &self.0 {
            attention.record(r); // x += attention(norm(x))
            mlp.record(r); //       x += mlp(norm(x))
        }
    }
}
