//! The activations that the layers and plans of a model share.

use crate::kernels::{Router, Sorted};
use crate::model::config::MoeConfig;
use crate::plan::{Activation, BufferId};

/// Activations, shared by all layers and plans. `[chunk, …]` each.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // shapes say it
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
    /// `[chunk, 2 · intermediate]`, where some gate and up are not interleaved.
    pub gate_up: Option<Activation>,
    /// What decode's stretches of attention leave to their reduction.
    pub partials: BufferId,
    /// Of mixtures of experts.
    pub moe: Option<MoeScratch>,
    /// Of latent attention.
    pub mla: Option<MlaScratch>,
}

/// Activations of latent attention, `[chunk, …]` each.
#[derive(Debug, Clone, Copy)]
pub struct MlaScratch {
    /// The latent and the key's turning part, then queries or their latent.
    pub down: Activation,
    /// The queries' latent after its norm, where they have one.
    pub q_a: Option<Activation>,
    /// `heads · (rank + rope)` to compare with the cache, then queries where they are not in `down`.
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
    /// The entries by expert.
    pub sorted: Sorted,
    /// `[chunk · entries, inner]`
    pub h: Activation,
    /// `[chunk · entries, hidden]`
    pub z: Activation,
    /// `[chunk, shared inner]`, where what every token goes to has matrices of its own.
    pub shared: Option<Activation>,
}

/// Experts at most that what every token goes to is cut into.
pub(super) const MAX_SHARED: usize = 64;

/// Entries of a token at most: the chosen experts, and as many for what every token goes to as its width makes.
pub(super) fn most_entries(moe: &MoeConfig) -> usize {
    moe.top_k + moe.shared_inner.map_or(0, |inner| inner.div_ceil(moe.inner).min(MAX_SHARED))
}
