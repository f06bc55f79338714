//! Declares a model's weights, buffers and load tasks: the [`Builder`] that architectures use.

mod dense;
mod experts;
mod latent;
mod options;
mod rope;
mod scratch;
mod tensors;

pub(super) use experts::{ExpertMatrices, FusedExperts, SharedMatrices};
pub use options::{CHUNK, ModelOptions, Quantization, suited_chunk};
pub use rope::LongRope;
pub use scratch::{MlaScratch, MoeScratch, Scratch};

use std::collections::BTreeMap;

use self::rope::RopeTables;
use self::scratch::most_entries;
use super::kv_cache::{KvSizes, kv_format};
use super::names::Names;
use super::{KvCache, ModelConfig};
use crate::kernels::{Attention, Control, Gate, MAX_VALUE_DIM, TOKEN_TILE, splits};
use crate::plan::{Activation, Arrival, BufferId, Buffers, GROUP, Layout};
use crate::weights::checkpoint::{Checkpoint, Format};
use crate::weights::load::Task;
use crate::{Error, FormatKind, Result};

/// Rows of logits that are computed together when all rows are requested.
const ALL_ROWS: usize = TOKEN_TILE / 2;

/// Collects a model's buffers and load tasks.
pub struct Builder<'a> {
    /// The facts.
    pub config: ModelConfig,
    pub(super) buffers: Buffers,
    pub(super) tasks: Vec<Task>,
    pub(super) constants: Vec<(BufferId, Vec<u8>)>,
    pub(super) control: Control,
    pub(super) scratch: Scratch,
    /// The KV caches of all layers.
    pub kv: KvCache,
    pub(super) context_length: usize,
    /// The gated activation of MLPs.
    pub gate: Gate,
    rope_table: BufferId,
    local_rope_table: BufferId,
    pub(super) long_rope: Option<LongRope>,
    pub(super) max_binding: u64,
    quantization: Quantization,
    /// Staging buffers for stored weights that the GPU quantises or rearranges.
    arrival: Option<Arrival>,
    pub(super) checkpoint: &'a Checkpoint,
    names: Names,
    bytes_by_layout: BTreeMap<Layout, u64>,
    pub(super) used: BTreeMap<String, u64>,
    /// The number of weights in experts that a token is not routed to.
    pub(super) inactive: u64,
}

impl<'a> Builder<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, config: &ModelConfig, options: ModelOptions) -> Result<Self> {
        let config = config.clone();
        if config.head_dim > MAX_VALUE_DIM || !config.head_dim.is_multiple_of(2) {
            return Err(Error::format(
                FormatKind::UnsupportedFeature,
                &checkpoint.id,
                format!("head_dim is {}; the attention kernel takes even ones up to {MAX_VALUE_DIM}", config.head_dim),
            ));
        }
        let gate = match config.hidden_act.as_str() {
            "silu" => Gate::Silu,
            "gelu_pytorch_tanh" => Gate::GeluTanh,
            other => {
                let message = format!("hidden_act is {other:?}; supported: silu, gelu_pytorch_tanh");
                return Err(Error::format(FormatKind::UnsupportedFeature, &checkpoint.id, message));
            }
        };
        let (hidden, inner, q) = (config.hidden_size, config.intermediate_size, config.num_heads * config.head_dim);
        let qkv = q + 2 * config.num_kv_heads * config.head_dim;
        let of_experts = config.moe.as_ref().map_or(0, |moe| most_entries(moe) * hidden.max(moe.inner));
        let of_latents = config.mla.map_or(0, |mla| {
            config.num_heads * (mla.kv_lora_rank + mla.qk_nope_head_dim + 2 * config.head_dim + GROUP)
        });
        let widest = hidden.max(inner).max(qkv).max(of_experts).max(of_latents).next_multiple_of(GROUP);
        let chunk = options.chunk.min(options.max_binding as usize / (widest * 4)).max(1);
        let fits =
            |format, tokens| KvSizes::new(&config, format, chunk).fit(tokens, options.max_binding, options.kv_budget);
        let own = config.max_position_embeddings;
        let format = kv_format(options.kv_format, options.context_length, own, fits);
        let sizes = KvSizes::new(&config, format, chunk);
        let context_length = options.context(&config, &sizes)?;
        let chunk = chunk.min(context_length);

        let (kv_heads, value_dim) =
            config.mla.map_or((config.num_kv_heads, config.head_dim), |mla| (1, mla.kv_lora_rank));
        let mut buffers = Buffers::default();
        let control = Control::declare(&mut buffers, chunk, config.vocab_size);
        let mut declare = |label: &str, width| Activation::declare(&mut buffers, label, chunk, width);
        let scratch = Scratch {
            x: declare("x", hidden),
            normed: declare("normed", hidden),
            qkv: declare("qkv", qkv),
            q: declare("q", q),
            attention: declare("attention", q),
            inner: declare("inner", inner),
            gate_up: None,
            partials: Attention::declare_partials(
                &mut buffers,
                config.num_heads,
                splits(config.num_heads, kv_heads, value_dim, context_length),
                value_dim,
            ),
            moe: None,
            mla: None,
        };
        let kv = sizes.declare(&mut buffers, context_length);
        let mut constants = Vec::new();
        let ropes = RopeTables::declare(checkpoint, &config, &options, context_length, &mut buffers, &mut constants)?;
        Ok(Self {
            config,
            buffers,
            tasks: Vec::new(),
            constants,
            control,
            scratch,
            kv,
            context_length,
            gate,
            rope_table: ropes.table,
            local_rope_table: ropes.local,
            long_rope: ropes.long,
            max_binding: options.max_binding,
            quantization: options.quantization,
            arrival: None,
            checkpoint,
            names: Names::of(checkpoint.format, |name| checkpoint.tensors.contains_key(name)),
            bytes_by_layout: BTreeMap::new(),
            used: BTreeMap::new(),
            inactive: 0,
        })
    }

    /// The RoPE table of a layer and the number of rotated values per head.
    pub fn rope(&self, layer: usize) -> (BufferId, usize) {
        match self.config.rope(layer) {
            None => (self.rope_table, 0),
            Some(rope) if std::ptr::eq(rope, &self.config.rope) => (self.rope_table, rope.rotary_dim),
            Some(rope) => (self.local_rope_table, rope.rotary_dim),
        }
    }

    /// Whether a missing head means tied embeddings, as in GGUF, which has no other way to declare them.
    pub(super) fn may_tie(&self) -> bool {
        self.checkpoint.format == Format::Gguf
    }

    /// How many rows of logits one binding holds, at most [`ALL_ROWS`] and at most a chunk.
    pub(super) fn all_rows(&self) -> usize {
        let row = self.control.logits.stride() as u64 * 4;
        ((self.max_binding / row) as usize).clamp(1, ALL_ROWS).min(self.scratch.x.rows)
    }

    pub(super) fn parameters(&self) -> u64 {
        self.used.values().sum()
    }

    pub(super) fn quantization(&self) -> String {
        let mut layouts: Vec<_> = self.bytes_by_layout.iter().collect();
        layouts.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
        layouts.iter().map(|(layout, _)| layout.name()).collect::<Vec<_>>().join("+")
    }
}
