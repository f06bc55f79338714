//! The activations that the layers and plans of a model share.

use crate::kernels::{Router, Sorted};
use crate::model::config::MoeConfig;
use crate::plan::{Activation, BufferId};

/// Activations, shared by all layers and plans. `[chunk, …]` each.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the shapes suffice
pub struct Scratch {
    /// The residual stream, `[chunk, hidden]`.
    pub x: Activation,
    /// `x` after a norm, `[chunk, hidden]`.
    pub normed: Activation,
    /// `[chunk, (heads + 2 kv_heads) · head_dim]`
    pub qkv: Activation,
    /// Queries after rope, `[chunk, heads · head_dim]`.
    pub q: Activation,
    /// `[chunk, heads · head_dim]`
    pub attention: Activation,
    /// `[chunk, intermediate]`
    pub inner: Activation,
    /// `[chunk, 2 · intermediate]`, if gate and up of some layer are not interleaved.
    pub gate_up: Option<Activation>,
    /// Partial results of decode's attention splits, before their reduction.
    pub partials: BufferId,
    /// Activations of mixtures of experts.
    pub moe: Option<MoeScratch>,
    /// Activations of latent attention.
    pub mla: Option<MlaScratch>,
}

/// Activations of latent attention, `[chunk, …]` each.
#[derive(Debug, Clone, Copy)]
pub struct MlaScratch {
    /// The latent and the RoPE part of the key, then queries or their latent.
    pub down: Activation,
    /// The queries' latent after its norm, if queries have a latent.
    pub q_a: Option<Activation>,
    /// `heads · (rank + rope)`: absorbed queries to score against the cache, then the original queries if they are not
    /// in `down`.
    pub query: Activation,
    /// `heads · rank`
    pub latent: Activation,
    /// `heads · value_dim`
    pub values: Activation,
}

/// Activations of a mixture of experts.
#[derive(Debug, Clone, Copy)]
pub struct MoeScratch {
    /// Logits, then each token's entries.
    pub router: Router,
    /// The entries sorted by expert.
    pub sorted: Sorted,
    /// `[chunk · entries, inner]`
    pub h: Activation,
    /// `[chunk · entries, hidden]`
    pub z: Activation,
    /// `[chunk, shared inner]`, if the shared expert has matrices of its own.
    pub shared: Option<Activation>,
}

/// The maximum number of experts that a shared expert is split into.
pub(super) const MAX_SHARED: usize = 64;

/// The maximum number of entries per token: the routed experts, plus the parts that the shared expert is split into.
pub(super) fn most_entries(moe: &MoeConfig) -> usize {
    moe.top_k + moe.shared_inner.map_or(0, |inner| inner.div_ceil(moe.inner).min(MAX_SHARED))
}
