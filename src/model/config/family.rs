//! What a model family's files leave to be known, for whoever reads them: the fields of a row of the table in
//! `model/families.rs`. Code here asks these fields and never a family's name.

use crate::kernels::Scoring;

/// What is to be known of a family to read its config.json; [`GgufFamily`] has what GGUF files need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// `model_type` of config.json, by which `defaults.json` has the keys that the family's class reads and their defaults.
    pub name: &'static str,
    /// `model_type`s of multimodal models with a text model of this family, whose `text_config` need not name its type.
    pub text_model_of: &'static [&'static str],
    /// What each layer's attention sees, where config.json does not list it.
    pub layers: LayerRule,
    /// Whether rope pairs neighbouring dimensions, where no key says so.
    pub interleaved_rope: bool,
    /// Other names of LongRoPE as a `rope_type`.
    pub long_rope_types: &'static [&'static str],
    /// Whether embeddings are multiplied by the square root of their width.
    pub scaled_embeddings: bool,
    /// What is added to the norms' weights as safetensors have them.
    pub norm_offset: f32,
    /// The family in GGUF files, where they have a name for it.
    pub gguf: Option<GgufFamily>,
}

impl Family {
    /// A family without particulars.
    pub const fn plain(name: &'static str) -> Self {
        Self {
            name,
            text_model_of: &[],
            layers: LayerRule::Full,
            interleaved_rope: false,
            long_rope_types: &[],
            scaled_embeddings: false,
            norm_offset: 0.0,
            gguf: None,
        }
    }
}

/// What each layer's attention sees where config.json does not list it, as transformers' configuration classes derive it. A
/// window is only where `sliding_window` has a value and `use_sliding_window`, where the class reads it, is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerRule {
    /// The whole context.
    Full,
    /// A window, in every layer.
    Window,
    /// A window from layer `max_window_layers` on.
    WindowAfterFirst,
    /// A window in every other layer, beginning with the first, of the first `max_window_layers`.
    WindowAlternatingAmongFirst,
    /// A window in every other layer, beginning with the first.
    WindowAlternating,
    /// A window in all layers but each `sliding_window_pattern`th; this one is the default.
    WindowExceptEach(u64),
    /// A window in layers without positions.
    WindowWithoutPositions,
    /// A chunk of the context in layers with positions.
    ChunkWithPositions,
}

/// What llama.cpp takes for granted of an architecture, so that its GGUF files do not say it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GgufFamily {
    /// `general.architecture`. Two families may share a name.
    pub name: &'static str,
    /// If families share a name, files with this `expert_gating_func` are of this family. Files with another are of the first
    /// such family in the table.
    pub scoring: Option<Scoring>,
    /// Keys that are read for this architecture; for others `gguf_unread.rs` refuses them unless they change nothing.
    pub reads: &'static [&'static str],
    /// Whether rope pairs neighbouring dimensions: the converter permutes queries and keys for it, or the model does so itself.
    pub interleaved_rope: bool,
    /// Layers of a period whose last one sees the whole context; 0 where there is no such layer.
    pub period: u64,
    /// Whether the last layer of a period has no positions.
    pub no_rope_last: bool,
    /// Whether the other layers see a chunk of the context, and the last ones scale queries by position.
    pub chunked: bool,
    /// Layers with a window have a rope of their own, with this base and without scaling.
    pub local_rope_base: Option<f64>,
    /// Whether the ends of YaRN's ramp are rounded to whole dimensions.
    pub yarn_truncate: bool,
    /// Whether attention is latent (MLA). Such files have keys, and defaults of common keys, of their own for attention, YaRN and the
    /// mixture of experts.
    pub latent: bool,
    /// The model with this number of layers multiplies products of query and key by 1 / √(hidden size / heads).
    pub share_scaled_layers: Option<usize>,
    /// Queries and keys are normalised, except in the model with this number of experts.
    pub no_qk_norm_experts: Option<usize>,
    /// The MLP's activation.
    pub hidden_act: &'static str,
    /// Whether `feed_forward_length` is the width of all chosen experts together, in files without `expert_feed_forward_length`.
    pub experts_share_width: bool,
    /// The shared expert's width, in files without `expert_shared_feed_forward_length`.
    pub shared_expert: SharedWidth,
}

impl GgufFamily {
    /// An architecture without particulars.
    pub const fn plain(name: &'static str) -> Self {
        Self {
            name,
            scoring: None,
            reads: &[],
            interleaved_rope: false,
            period: 0,
            no_rope_last: false,
            chunked: false,
            local_rope_base: None,
            yarn_truncate: true,
            latent: false,
            share_scaled_layers: None,
            no_qk_norm_experts: None,
            hidden_act: "silu",
            experts_share_width: false,
            shared_expert: SharedWidth::Counted,
        }
    }
}

/// The width of the shared expert, in a GGUF file that does not state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedWidth {
    /// `expert_shared_count` times an expert's; without that key there is none.
    Counted,
    /// An expert's.
    Expert,
    /// `feed_forward_length`.
    FeedForward,
}
