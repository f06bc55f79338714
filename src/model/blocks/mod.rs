//! Parts that architectures share. No control flow over architectures here: a part knows its weights and records its
//! steps.

mod attention;
mod dense;
mod mlp;

pub(super) use attention::{Attention, AttentionParts};
pub(super) use dense::Dense;
pub(super) use mlp::{Mlp, MlpParts};
