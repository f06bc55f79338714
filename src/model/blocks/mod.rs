//! Parts that architectures share. No control flow over architectures here: a part knows its weights and records its
//! steps.

mod attention;
mod mlp;

pub(super) use attention::{Attention, AttentionParts};
pub(super) use mlp::Mlp;
