//! The facts of a model, whichever file they are from, and what must hold between them.

use super::rope::{RopeConfig, RopeScaling};
use crate::kernels::{MAX_TOP_K, Scoring, Span, Temperature};
use crate::{Error, FormatKind, Result, Warning};

/// The facts of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// config.json's `model_type`, such as "qwen2", or what it is for GGUF's `general.architecture`.
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
    /// The rope of layers with a window, where it is another.
    pub local_rope: Option<RopeConfig>,
    /// For each layer whether it knows no positions; empty where all do.
    pub no_rope_layers: Vec<bool>,
    /// Multiplies products of query and key; 1 / √head_dim where absent.
    pub attention_scale: Option<f64>,
    /// Tokens per chunk of layers with chunked attention. [`Self::chunk`] says which layers these are.
    pub attention_chunk: Option<usize>,
    /// Whether each layer has chunked attention; empty if none does.
    pub chunked_layers: Vec<bool>,
    /// Growth of queries with their position, in layers without positions.
    pub temperature: Option<Temperature>,
    /// Whether queries and keys are normalised, where that is a fact and not the architecture's habit.
    pub use_qk_norm: bool,
    /// Where gpt-oss cuts gates and ups.
    pub swiglu_limit: Option<f64>,
    /// Multiplies embeddings.
    pub embedding_scale: f64,
    /// What is added to the published weights of norms.
    pub norm_offset: f32,
    /// Multiplies what a block adds to the residual stream.
    pub residual_scale: f64,
    /// Divides logits.
    pub logits_scale: f64,
    /// The mixture of experts, where the model is one.
    pub moe: Option<MoeConfig>,
    /// Latent attention, where the model has it; `head_dim` is then the part of a head that turns.
    pub mla: Option<MlaConfig>,
    /// The MLP's activation, such as "silu".
    pub hidden_act: String,
    /// Beginning-of-sequence id.
    pub bos_token_id: Option<u32>,
    /// Ids that end a generation; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// The licence, as far as the files name one.
    pub license: Option<String>,
    /// What the files say and is not used.
    pub warnings: Vec<Warning>,
}

/// Multi-head latent attention (arXiv 2405.04434).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MlaConfig {
    /// Width of the queries' latent, where they have one.
    pub q_lora_rank: Option<usize>,
    /// Width of the latent that keys and values share.
    pub kv_lora_rank: usize,
    /// Values of a query head that know no position.
    pub qk_nope_head_dim: usize,
    /// Values of a head.
    pub v_head_dim: usize,
}

/// Groups of experts, of which a token's come from a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertGroups {
    /// How many there are.
    pub count: usize,
    /// How many a token uses.
    pub kept: usize,
    /// A group's score is the sum of its best two; otherwise its best.
    pub top_two: bool,
}

/// A mixture of experts, as far as the files say.
#[derive(Debug, Clone, PartialEq)]
pub struct MoeConfig {
    /// Experts of a layer.
    pub experts: usize,
    /// Experts of a token.
    pub top_k: usize,
    /// Width of an expert.
    pub inner: usize,
    /// Whether the weights of a token's experts are made to sum to one; the architecture's habit where absent.
    pub norm_topk_prob: Option<bool>,
    /// Multiplies those weights.
    pub factor: f64,
    /// How a router's logits become scores; the architecture's habit where absent.
    pub scoring: Option<Scoring>,
    /// Groups of experts.
    pub groups: Option<ExpertGroups>,
    /// Width of the part that every token goes to, where there is one.
    pub shared_inner: Option<usize>,
    /// Whether each layer is a mixture; the others have an MLP of `intermediate_size`.
    pub layers: Vec<bool>,
}

impl ModelConfig {
    /// The sliding window of a layer, if it has one: the tokens a query sees, its own included.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.sliding_layers.get(layer).copied().unwrap_or(false))
    }

    /// Tokens per chunk if the layer has chunked attention.
    pub fn chunk(&self, layer: usize) -> Option<usize> {
        self.attention_chunk.filter(|_| self.chunked_layers.get(layer).copied().unwrap_or(false))
    }

    /// The keys that a query sees in a layer.
    pub fn span(&self, layer: usize) -> Span {
        let chunk = self.chunk(layer).map(Span::Chunk);
        let window = self.window(layer).map(Span::Window);
        chunk.or(window).filter(|_| self.mla.is_none()).unwrap_or(Span::All)
    }

    /// Numbers of a token in a layer's cache: as keys, and as values beside them.
    pub fn kv_widths(&self) -> [usize; 2] {
        match self.mla {
            Some(mla) => [mla.kv_lora_rank + self.head_dim, 0],
            None => [self.num_kv_heads * self.head_dim; 2],
        }
    }

    /// The rope of a layer, if it has one.
    pub fn rope(&self, layer: usize) -> Option<&RopeConfig> {
        if self.no_rope_layers.get(layer).copied().unwrap_or(false) {
            return None;
        }
        Some(self.local_rope.as_ref().filter(|_| self.window(layer).is_some()).unwrap_or(&self.rope))
    }

    /// Checks what must hold between the facts.
    pub(super) fn check(self, file: &str, bad_id: FormatKind) -> Result<Self> {
        let bad = |message: String| Err(Error::format(FormatKind::BadConfig, file, message));
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return bad(format!("{} heads cannot share {} key/value heads", self.num_heads, self.num_kv_heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return bad(format!("head_dim is {}, which is odd", self.head_dim));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return bad(format!("the RMS norm's epsilon is {}", self.rms_norm_eps));
        }
        let rotary = self.rope.rotary_dim;
        if rotary == 0 || !rotary.is_multiple_of(2) || rotary > self.head_dim {
            return bad(format!("rope turns {rotary} of {} dimensions of a head", self.head_dim));
        }
        self.rope.check(file)?;
        self.local_rope.as_ref().map_or(Ok(()), |rope| rope.check(file))?;
        let scales = [
            ("attention_scale", self.attention_scale.unwrap_or(1.0)),
            ("embedding_scale", self.embedding_scale),
            ("residual_scale", self.residual_scale),
            ("logits_scale", self.logits_scale),
            ("expert weights scale", self.moe.as_ref().map_or(1.0, |moe| moe.factor)),
        ];
        if let Some((name, scale)) = scales.into_iter().find(|(_, scale)| !(scale.is_finite() && *scale > 0.0)) {
            return bad(format!("{name} is {scale}"));
        }
        if let Some(moe) = self.moe.as_ref().filter(|moe| moe.top_k > moe.experts.min(MAX_TOP_K)) {
            return bad(format!("{} of {} experts for each token", moe.top_k, moe.experts));
        }
        if let Some(groups) = self.moe.as_ref().and_then(|moe| moe.groups) {
            let moe = self.moe.as_ref().expect("its groups were found");
            let whole = groups.count >= 1 && moe.experts.is_multiple_of(groups.count) && groups.kept <= groups.count;
            let size = moe.experts / groups.count.max(1);
            if !whole || size < 2 && groups.top_two || groups.kept * size < moe.top_k {
                return bad(format!(
                    "{} of {} experts from {} of {} groups",
                    moe.top_k, moe.experts, groups.kept, groups.count
                ));
            }
        }
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

/// The head's width where it is not stated: an equal share of the residual stream.
pub(super) fn head_share(file: &str, hidden_size: usize, num_heads: usize) -> Result<usize> {
    if !hidden_size.is_multiple_of(num_heads) {
        let message = format!("a hidden size of {hidden_size} cannot be divided among {num_heads} heads");
        return Err(Error::format(FormatKind::BadConfig, file, message));
    }
    Ok(hidden_size / num_heads)
}

/// The scale of products of query and key; YaRN's scale of the whole head is in it.
pub(super) fn latent_scale(head_dim: usize, scaling: &RopeScaling) -> f64 {
    let mscale = match *scaling {
        RopeScaling::Yarn { factor, mscale_all_dim: Some(all), .. } if all != 0.0 && factor > 1.0 => {
            0.1 * all * factor.ln() + 1.0
        }
        _ => 1.0,
    };
    mscale * mscale / (head_dim as f64).sqrt()
}
