//! A model's facts, from config.json or GGUF metadata. A missing fact is an error that names it; a wrong one says why.

mod classes;
mod family;
mod fields;
mod generation;
mod gguf;
mod gguf_keys;
mod gguf_rope;
#[cfg(test)]
mod gguf_tests;
mod gguf_unread;
mod hugging_face;
mod hugging_face_rope;
mod layer_kinds;
mod quantised;
mod rope;

pub use family::{Family, GgufFamily, LayerRule, SharedWidth};
pub use generation::GenerationDefaults;
pub(super) use gguf_keys::Keys as GgufKeys;
pub(super) use hugging_face::{Named, named};
pub use rope::{RopeConfig, RopeFactors, RopeScaling};

use crate::kernels::{MAX_TOP_K, Scoring, Span, Temperature};
use crate::weights::checkpoint::{Checkpoint, ConfigFacts, Format};
use crate::{Error, FormatKind, Result, Warning};

/// Positions beyond this are not exact in f32, and no published model comes near.
const MAX_POSITIONS: u64 = 1 << 24;
const MAX_LAYERS: u64 = 1024;
const MAX_HEADS: u64 = 1 << 12;
const MAX_HEAD_DIM: u64 = 1 << 12;
const MAX_HIDDEN: u64 = 1 << 20;
const MAX_INTERMEDIATE: u64 = 1 << 22;
const MAX_VOCAB: u64 = 1 << 22;
/// What the routing kernel holds.
const MAX_EXPERTS: u64 = crate::kernels::MAX_EXPERTS as u64;

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
    /// Tokens of the stretches that the context is cut into in some layers. [`Self::chunk`] says which.
    pub attention_chunk: Option<usize>,
    /// Whether each layer sees a stretch only; empty where none does.
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
    /// The facts in a configuration alone, of a model of this family; `has` tells whether the checkpoint has a tensor of that
    /// published name.
    pub(super) fn read(facts: &ConfigFacts, family: &Family, has: &dyn Fn(&str) -> bool) -> Result<Self> {
        match facts {
            ConfigFacts::Json(config) => hugging_face::facts(config, family, has),
            ConfigFacts::Gguf(metadata) => gguf::facts(metadata, family, has),
        }
    }

    /// The facts of an opened checkpoint. Every block of a GGUF file must have tensors.
    pub(super) fn read_checkpoint(checkpoint: &Checkpoint, family: &Family) -> Result<Self> {
        let has = |name: &str| checkpoint.tensors.contains_key(name);
        let mut facts = Self::read(&checkpoint.config, family, &has)?;
        if checkpoint.format == Format::Safetensors {
            quantised::check_tensors(checkpoint)?;
        }
        if facts.name.is_empty() {
            facts.name = checkpoint.id.trim_end_matches('/').rsplit('/').next().unwrap_or_default().into();
        }
        if checkpoint.format == Format::Gguf {
            for layer in 0..facts.num_layers {
                let prefix = format!("blk.{layer}.");
                let next = checkpoint.tensors.range(prefix.clone()..).next();
                if !next.is_some_and(|(name, _)| name.starts_with(&prefix)) {
                    let message = format!("no tensor of block {layer} of {}", facts.num_layers);
                    return Err(Error::format(FormatKind::MissingTensor, checkpoint.config_file(), message));
                }
            }
        }
        Ok(facts)
    }

    /// The sliding window of a layer, if it has one: the tokens a query sees, its own included.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.sliding_layers.get(layer).copied().unwrap_or(false))
    }

    /// Tokens of the stretches of the context that a layer sees one of, if it does.
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
    fn check(self, file: &str, bad_id: FormatKind) -> Result<Self> {
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
    if !hidden_size.is_multiple_of(num_heads) {
        let message = format!("a hidden size of {hidden_size} cannot be divided among {num_heads} heads");
        return Err(Error::format(FormatKind::BadConfig, file, message));
    }
    Ok(hidden_size / num_heads)
}

/// The scale of products of query and key; YaRN's scale of the whole head is in it.
fn latent_scale(head_dim: usize, scaling: &RopeScaling) -> f64 {
    let mscale = match *scaling {
        RopeScaling::Yarn { factor, mscale_all_dim: Some(all), .. } if all != 0.0 && factor > 1.0 => {
            0.1 * all * factor.ln() + 1.0
        }
        _ => 1.0,
    };
    mscale * mscale / (head_dim as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pollster::block_on;

    use super::*;
    use crate::weights::{DiskFile, DiskFolder};

    fn golden(case: &str) -> Option<ModelConfig> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/golden").join(case);
        if !path.exists() {
            eprintln!("SKIPPED: no golden data beside the checkout");
            return None;
        }
        let any = |_: &ConfigFacts| Ok(());
        let checkpoint = if path.is_dir() {
            block_on(Checkpoint::open_folder(&DiskFolder::new(path), &any))
        } else {
            block_on(Checkpoint::open_gguf(std::rc::Rc::new(DiskFile::open(path).unwrap()), None, &any))
        };
        Some(ModelConfig::from_checkpoint(&checkpoint.unwrap()).unwrap())
    }

    #[test]
    fn config_json_in_the_older_form() {
        let Some(llama) = golden("models/llama") else { return };
        assert_eq!((llama.architecture.as_str(), llama.name.as_str()), ("llama", "llama"));
        let sizes = [llama.hidden_size, llama.intermediate_size, llama.num_layers, llama.vocab_size];
        assert_eq!(sizes, [64, 160, 3, 512]);
        assert_eq!((llama.num_heads, llama.num_kv_heads, llama.head_dim), (4, 2, 24));
        assert!(llama.tie_word_embeddings && !llama.attention_bias && !llama.rope.interleaved);
        assert_eq!((llama.bos_token_id, llama.eos_token_ids), (Some(484), vec![485]));
        let original_max_position = 64.0;
        let scaling =
            RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position };
        assert_eq!(llama.rope, RopeConfig { theta: 10_000.0, rotary_dim: 24, interleaved: false, scaling });
    }

    #[test]
    fn config_json_in_the_newer_form() {
        let Some(llama) = golden("models/llama_v5cfg") else { return };
        assert_eq!(llama.rope.theta, 50_000.0);
        assert_eq!(llama.rope.scaling, RopeScaling::None);
        assert!(llama.attention_bias && llama.mlp_bias && !llama.tie_word_embeddings);
        assert_eq!(llama.eos_token_ids, [485, 489]);
    }

    #[test]
    fn windows_follow_each_family() {
        let Some(mistral) = golden("models/mistral") else { return };
        assert_eq!(mistral.window(0), Some(16));
        let qwen2 = golden("models/qwen2").unwrap();
        assert_eq!((qwen2.window(0), qwen2.head_dim), (None, 16), "use_sliding_window is false");

        let config = |more: &str| {
            let text = format!(
                r#"{{"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 3,
                "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 9, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
                "hidden_act": "silu", "sliding_window": 8, {more}}}"#
            );
            let facts = ConfigFacts::Json(serde_json::from_str(&text).unwrap());
            let config = ModelConfig::from_facts(&facts, &|name| !name.ends_with("lm_head.weight")).ok()?;
            assert_eq!((config.tie_word_embeddings, config.head_dim), (true, 16));
            Some([0, 1, 2].map(|layer| config.window(layer)))
        };
        assert_eq!(config(r#""use_sliding_window": true, "max_window_layers": 1"#), Some([None, Some(8), Some(8)]));
        assert_eq!(config(r#""max_window_layers": 1"#), Some([None; 3]));
        assert_eq!(config(r#""use_cache": true"#), Some([None; 3]), "windows are off where the config does not say");
        assert_eq!(config(r#""use_sliding_window": true"#), Some([None; 3]), "they begin at layer 28 by default");
        let listed = r#""layer_types": ["sliding_attention", "full_attention", "sliding_attention"]"#;
        assert_eq!(config(listed), None, "windows that are switched off are refused");
        let listed = format!(r#"{listed}, "use_sliding_window": true"#);
        assert_eq!(config(&listed), Some([Some(8), None, Some(8)]));
    }

    fn json(text: &str) -> Result<ModelConfig> {
        let text = format!(
            r#"{{"hidden_size": 512, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 32, "vocab_size": 9,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "hidden_act": "silu", {text}}}"#
        );
        ModelConfig::from_facts(&ConfigFacts::Json(serde_json::from_str(&text).unwrap()), &|_| false)
    }

    #[test]
    fn what_is_left_out_is_the_default_of_the_class() {
        let theta = |name: &str| json(&format!(r#""model_type": "{name}""#)).unwrap().rope.theta;
        assert_eq!(["llama", "mixtral", "smollm3", "gpt_oss"].map(theta), [1e4, 1e6, 2e6, 1.5e5]);
        let kv_heads = |name: &str| json(&format!(r#""model_type": "{name}""#)).unwrap().num_kv_heads;
        assert_eq!(["llama", "mixtral", "qwen2", "smollm3"].map(kv_heads), [32, 8, 32, 4]);
        assert!(json(r#""model_type": "gpt_oss""#).unwrap().attention_bias);
        assert_eq!(json(r#""model_type": "granitemoe""#).unwrap().attention_scale, Some(1.0));
        let llama4 = json(r#""model_type": "llama4_text", "attn_temperature_tuning": 4, "no_rope_layer_interval": 2"#);
        let llama4 = llama4.unwrap();
        assert_eq!((llama4.temperature.map(|t| t.floor), llama4.use_qk_norm), (Some(8192.0), true));
        assert_eq!([0, 1, 2].map(|layer| llama4.chunk(layer)), [Some(8192), None, Some(8192)]);
        let moe = |text: &str| json(&format!(r#""num_experts_per_tok": 2, {text}"#)).unwrap().moe.unwrap();
        let of = |name: &str| moe(&format!(r#""model_type": "{name}", "num_experts": 8, "norm_topk_prob": true"#));
        assert_eq!(of("olmoe").norm_topk_prob, Some(true));
        assert_eq!(of("mixtral").norm_topk_prob, None, "its class does not look at the key");
        assert_eq!(moe(r#""model_type": "qwen3_moe", "num_experts": 8"#).norm_topk_prob, Some(false));
        assert_eq!(moe(r#""model_type": "deepseek_v2", "n_routed_experts": 8, "n_group": 4"#).groups, None);
        let listed = moe(r#""model_type": "llama4_text", "num_local_experts": 8, "moe_layers": [1]"#);
        assert_eq!(listed.layers, [false, true, false]);
    }

    #[test]
    fn ropes_of_each_family() {
        let factors = r#""short_factor": [1, 1, 1, 1, 1, 1, 1, 1], "long_factor": [2, 2, 2, 2, 2, 2, 2, 2]"#;
        let phi3 =
            |more: &str| json(&format!(r#""model_type": "phi3", "rope_scaling": {{{factors}, {more}}}"#)).unwrap();
        for kind in ["su", "yarn", "longrope"] {
            let RopeScaling::Long { original_max_position, attention_factor, .. } =
                phi3(&format!(r#""type": "{kind}""#)).rope.scaling
            else {
                panic!("{kind} is LongRoPE");
            };
            assert_eq!((original_max_position, attention_factor), (4096.0, 1.0));
        }
        let gemma = json(
            r#""model_type": "gemma3_text", "head_dim": 16, "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}"#,
        );
        let gemma = gemma.unwrap();
        assert_eq!(gemma.rope.scaling, RopeScaling::Linear { factor: 8.0 });
        let local = gemma.local_rope.unwrap();
        assert_eq!((local.theta, local.scaling), (1e4, RopeScaling::Linear { factor: 2.0 }));
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        for key in [r#""use_bidirectional_attention": true"#, r#""swiglu_alpha": 1.5"#, r#""clip_qkv": 8.0"#] {
            let refused = json(&format!(r#""model_type": "gpt_oss", {key}"#)).unwrap_err().to_string();
            assert!(refused.contains(key.split('"').nth(1).unwrap()), "{refused}");
        }
    }

    #[test]
    fn gguf_metadata() {
        let Some(llama) = golden("gguf/llama/model.gguf") else { return };
        assert_eq!((llama.architecture.as_str(), llama.name.as_str()), ("llama", "golden llama"));
        assert_eq!((llama.hidden_size, llama.num_heads, llama.num_kv_heads, llama.head_dim), (256, 8, 2, 32));
        assert!(llama.rope.interleaved && !llama.tie_word_embeddings);
        assert_eq!(llama.rope.scaling, RopeScaling::FreqFactors);
        assert!((llama.rms_norm_eps - 1e-5).abs() < 1e-11);
        let qwen2 = golden("gguf/qwen2_tied/model.gguf").unwrap();
        assert!(!qwen2.rope.interleaved && qwen2.tie_word_embeddings && qwen2.attention_bias && !qwen2.mlp_bias);
        assert_eq!((qwen2.vocab_size, qwen2.head_dim, qwen2.eos_token_ids), (512, 16, vec![485]));
    }
}
