//! A model's facts, from config.json or GGUF metadata. A missing fact is an error that names it; a wrong one says why.

mod generation;
mod gguf;
mod hugging_face;
mod rope;

pub use generation::GenerationDefaults;
pub use rope::{RopeConfig, RopeScaling};

use crate::weights::checkpoint::{Checkpoint, ConfigFacts};
use crate::{Error, FormatKind, Result};

/// Positions beyond this are not exact in f32, and no published model comes near.
const MAX_POSITIONS: u64 = 1 << 24;
const MAX_LAYERS: u64 = 1024;
const MAX_HEADS: u64 = 1 << 12;
const MAX_HEAD_DIM: u64 = 1 << 12;
const MAX_HIDDEN: u64 = 1 << 20;
const MAX_INTERMEDIATE: u64 = 1 << 22;
const MAX_VOCAB: u64 = 1 << 22;

/// The facts of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// config.json's `model_type` or GGUF's `general.architecture`, such as "qwen2".
    pub architecture: String,
    /// A name to show.
    pub name: String,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// The model's own context length, tokens; at most 2^24.
    pub max_position_embeddings: usize,
    /// What RMS norms add to the mean square.
    pub rms_norm_eps: f64,
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// Whether the output matrix is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether the attention's projections have biases, where that is a fact and not the architecture's habit.
    pub attention_bias: bool,
    /// Whether the MLP's projections have biases.
    pub mlp_bias: bool,
    /// Tokens a query sees in layers with a sliding window, its own included. [`Self::window`] says which layers.
    pub sliding_window: Option<usize>,
    /// Whether each layer uses the window; empty where none does.
    pub sliding_layers: Vec<bool>,
    /// The MLP's activation, such as "silu".
    pub hidden_act: String,
    /// Beginning-of-sequence id.
    pub bos_token_id: Option<u32>,
    /// Ids that end a generation; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// The licence, as far as the files name one.
    pub license: Option<String>,
}

/// The architecture's name, from the configuration alone.
///
/// # Errors
/// `BadConfig` or `MissingKey` where there is none; [`Error::Architecture`] where config.json lists none.
pub fn architecture(facts: &ConfigFacts) -> Result<String> {
    match facts {
        ConfigFacts::Json(config) => hugging_face::architecture(config),
        ConfigFacts::Gguf(metadata) => gguf::architecture(metadata),
    }
}

impl ModelConfig {
    /// The facts of an opened checkpoint.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let has = |name: &str| checkpoint.tensors.contains_key(name);
        match &checkpoint.config {
            ConfigFacts::Json(config) => {
                let mut facts = hugging_face::facts(config, &has)?;
                if facts.name.is_empty() {
                    facts.name = checkpoint.id.trim_end_matches('/').rsplit('/').next().unwrap_or_default().into();
                }
                Ok(facts)
            }
            ConfigFacts::Gguf(metadata) => {
                let facts = gguf::facts(metadata, &has)?;
                for layer in 0..facts.num_layers {
                    let prefix = format!("blk.{layer}.");
                    let next = checkpoint.tensors.range(prefix.clone()..).next();
                    if !next.is_some_and(|(name, _)| name.starts_with(&prefix)) {
                        let message = format!("no tensor of block {layer} of {}", facts.num_layers);
                        return Err(Error::format(FormatKind::MissingTensor, &metadata.file, message));
                    }
                }
                Ok(facts)
            }
        }
    }

    /// The sliding window of a layer, if it has one: the tokens a query sees, its own included.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.sliding_layers.get(layer).copied().unwrap_or(false))
    }

    /// Checks what must hold between the facts.
    fn check(self, file: &str, bad_id: FormatKind) -> Result<Self> {
        let bad = |message: String| Err(Error::format(FormatKind::BadConfig, file, message));
        if self.num_heads % self.num_kv_heads != 0 {
            return bad(format!("{} heads cannot share {} key/value heads", self.num_heads, self.num_kv_heads));
        }
        if self.head_dim % 2 != 0 {
            return bad(format!("head_dim is {}, which is odd", self.head_dim));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return bad(format!("the RMS norm's epsilon is {}", self.rms_norm_eps));
        }
        let rotary = self.rope.rotary_dim;
        if rotary == 0 || rotary % 2 != 0 || rotary > self.head_dim {
            return bad(format!("rope turns {rotary} of {} dimensions of a head", self.head_dim));
        }
        self.rope.check(file)?;
        let ids = self.bos_token_id.iter().map(|id| ("bos", id)).chain(self.eos_token_ids.iter().map(|id| ("eos", id)));
        for (name, &id) in ids {
            if id as usize >= self.vocab_size {
                let message = format!("{name}_token_id is {id}; the vocabulary has {} tokens", self.vocab_size);
                return Err(Error::format(bad_id, file, message));
            }
        }
        Ok(self)
    }
}

/// A size: at least 1, at most `most`.
fn size(file: &str, name: &str, value: u64, most: u64) -> Result<usize> {
    if value == 0 {
        return Err(Error::format(FormatKind::BadConfig, file, format!("{name} is 0")));
    }
    if value > most {
        let message = format!("{name} is {value}; at most {most} is accepted");
        return Err(Error::format(FormatKind::LimitExceeded, file, message));
    }
    Ok(value as usize)
}

/// The context length; a larger one than can be used is not an error.
fn positions(file: &str, name: &str, value: u64) -> Result<usize> {
    size(file, name, value.min(MAX_POSITIONS), MAX_POSITIONS)
}

/// The head's width where it is not stated: an equal share of the residual stream.
fn head_share(file: &str, hidden_size: usize, num_heads: usize) -> Result<usize> {
    if hidden_size % num_heads != 0 {
        let message = format!("a hidden size of {hidden_size} cannot be divided among {num_heads} heads");
        return Err(Error::format(FormatKind::BadConfig, file, message));
    }
    Ok(hidden_size / num_heads)
}
