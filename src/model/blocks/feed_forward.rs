//! The feed-forward block of a layer: an MLP, or a mixture of experts if the config says so.

use super::{Mlp, MlpParts, Moe, MoeParts};
use crate::Result;
use crate::model::{Builder, Recorder};

/// `x += mlp(norm(x))`
pub enum FeedForward {
    /// A dense MLP.
    Dense(Box<Mlp>),
    /// A mixture of experts.
    Mixture(Box<Moe>),
}

impl FeedForward {
    /// Declares layer `i`'s weights.
    pub fn new(b: &mut Builder<'_>, i: usize, mlp: MlpParts, moe: Option<MoeParts>) -> Result<Self> {
        let mixture = b.config.moe.as_ref().is_some_and(|moe| moe.layers.get(i) == Some(&true));
        match moe {
            Some(moe) if mixture => Ok(Self::Mixture(Box::new(Moe::new(b, i, moe)?))),
            _ => Ok(Self::Dense(Box::new(Mlp::new(b, i, mlp)?))),
        }
    }

    /// Appends the block's steps.
    pub fn record(&self, r: &mut Recorder<'_>) {
        match self {
            Self::Dense(mlp) => mlp.record(r),
            Self::Mixture(moe) => moe.record(r),
        }
    }
}
