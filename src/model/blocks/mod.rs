//! Blocks that architectures are built from. No block branches on the architecture: it declares its weights and records
//! its steps.

mod attention;
mod decoder;
mod feed_forward;
mod latent;
mod mlp;
mod moe;

pub(super) use attention::{Attention, AttentionParts, QkNormKind};
pub(super) use decoder::Decoder;
pub(super) use feed_forward::FeedForward;
pub(super) use latent::LatentAttention;
pub(super) use mlp::{Mlp, MlpParts};
pub(super) use moe::{Moe, MoeParts};
