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
mod limits;
mod model_config;
mod quantised;
mod rope;

pub use family::{Family, GgufFamily, LayerRule, SharedWidth};
pub use generation::GenerationDefaults;
pub(super) use gguf_keys::Keys as GgufKeys;
pub(super) use hugging_face::{Named, named};
pub use model_config::{ExpertGroups, MlaConfig, ModelConfig, MoeConfig};
pub use rope::{RopeConfig, RopeFactors, RopeScaling};

use crate::weights::checkpoint::{Checkpoint, ConfigFacts, Format};
use crate::{Error, FormatKind, Result};

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
            println!("SKIPPED: .cache/golden/{case}: it is not there");
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
