//! How a model is to be laid out on a device: the length of its context, the numbers of its KV cache, what its weights become.

use super::scratch::most_entries;
use crate::kernels::KvFormat;
use crate::model::ModelConfig;
use crate::model::config::RopeFactors;
use crate::model::kv_cache::{KvSizes, largest_context};
use crate::plan::Layout;
use crate::{Error, Result};

/// Tokens of a prefill chunk that every device can take.
pub const CHUNK: usize = 64;
/// Tokens of a prefill chunk on a GPU, at most: a small matrix then has enough tiles for a large GPU.
const MOST: usize = 256;

/// Tokens of a prefill chunk that suit a model on a GPU, or on the processor, where a longer chunk gains nothing. What a chunk takes beside
/// the weights is limited to a twentieth of them at four bits. The rings of windows are as long on both, so that saved conversations go
/// from one to the other. Latent attention would need other kernels in longer chunks (`blocks/latent.rs`).
pub fn suited_chunk(config: &ModelConfig, on_cpu: bool) -> usize {
    let windows = (0..config.num_layers).any(|layer| config.span(layer).most().is_some());
    if config.mla.is_some() || on_cpu && !windows {
        return CHUNK;
    }
    let (hidden, heads) = (config.hidden_size, config.num_heads * config.head_dim);
    let qkv = heads + 2 * config.num_kv_heads * config.head_dim;
    let moe = config.moe.as_ref();
    let experts = moe.map_or(0, |moe| moe.experts * moe.inner);
    let entries = moe.map_or(0, |moe| most_entries(moe) * (moe.inner + hidden));
    let weights = config.num_layers * hidden * (qkv + heads + 3 * experts.max(config.intermediate_size)) / 2;
    let of_token = 4 * (2 * (hidden + heads) + qkv + config.intermediate_size + entries);
    let mut chunk = MOST;
    while chunk > CHUNK && chunk * of_token * 20 > weights {
        chunk /= 2;
    }
    chunk
}

/// How unquantised weights are quantised at load. Weights that are stored quantised keep their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantization {
    /// They are not quantised.
    None,
    /// `Q8`: 8.5 bits per weight.
    Q8,
    /// `Q4`: 4.5 bits per weight in the layers. The embedding and the head become `Q8`: their errors reach the logits
    /// undiluted, and a token reads only one row of the embedding.
    Q4,
}

impl Quantization {
    pub(super) fn layout(self, role: &str, published: Layout) -> Layout {
        match self {
            Self::None => published,
            // A router is small, and its errors would select the wrong experts.
            _ if role.ends_with("router") => published,
            Self::Q4 if !matches!(role, "embed" | "head") => Layout::Q4,
            Self::Q8 | Self::Q4 => Layout::Q8,
        }
    }
}

/// Options that determine how a model is laid out on a device.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// Largest storage binding, bytes.
    pub max_binding: u64,
    /// Requested tokens of context; the largest that fits by default.
    pub context_length: Option<usize>,
    /// Number format of the KV cache; by default f16, or q8 where [`AMPLE_CONTEXT`](crate::model::AMPLE_CONTEXT) or the context that is
    /// wanted would not fit.
    pub kv_format: Option<KvFormat>,
    /// Bytes that the KV cache may take if no context length is requested.
    pub kv_budget: u64,
    /// Tokens of a prefill chunk, at most.
    pub chunk: usize,
    /// Quantisation of weights that are stored unquantised.
    pub quantization: Quantization,
    /// GGUF's RoPE frequency factors (divisors), if the file has them.
    pub rope_factors: RopeFactors,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            max_binding: 128 << 20,
            context_length: None,
            kv_format: None,
            kv_budget: 1 << 30,
            chunk: CHUNK,
            quantization: Quantization::None,
            rope_factors: RopeFactors::default(),
        }
    }
}

impl ModelOptions {
    /// The context length to allocate: the requested one, or the largest that the model, a binding and the budget allow.
    pub(super) fn context(&self, config: &ModelConfig, sizes: &KvSizes) -> Result<usize> {
        let own = config.max_position_embeddings;
        match self.context_length {
            Some(0) => Err(Error::invalid("contextLength", "must be at least 1")),
            Some(n) if n > own => {
                Err(Error::invalid("contextLength", format!("{n} tokens were requested; the model's limit is {own}")))
            }
            Some(n) if sizes.largest(n) > self.max_binding => Err(Error::BufferLimit {
                what: format!(
                    "a KV cache of {n} tokens ({} would fit)",
                    largest_context(n, |n| sizes.largest(n) <= self.max_binding)
                ),
                needed: sizes.largest(n),
                limit: self.max_binding,
            }),
            Some(n) => Ok(n),
            None => Ok(largest_context(own, |n| sizes.fit(n, self.max_binding, self.kv_budget))),
        }
    }
}
