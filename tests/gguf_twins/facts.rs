//! Converts a config.json to the GGUF metadata of a twin.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::gguf::{array, boolv, f32v, text, texts, u32v};

/// Encoded values by key.
pub type Keys = BTreeMap<String, Vec<u8>>;

/// The GGUF architecture of a config.
pub fn architecture(config: &Value) -> &'static str {
    match config["model_type"].as_str().expect("a type") {
        "llama" | "mistral" | "mixtral" => "llama",
        "qwen2" => "qwen2",
        "qwen2_moe" => "qwen2moe",
        "qwen3" => "qwen3",
        "qwen3_moe" => "qwen3moe",
        "olmoe" => "olmoe",
        "granitemoe" => "granitemoe",
        "deepseek_v2" | "deepseek_v3" => "deepseek2",
        "gpt_oss" => "gpt-oss",
        "gemma3_text" => "gemma3",
        "phi3" => "phi3",
        "smollm3" => "smollm3",
        "llama4_text" => "llama4",
        other => panic!("no twin of {other}"),
    }
}

/// Architectures whose query and key rows are permuted.
pub const PERMUTED: [&str; 3] = ["llama", "granitemoe", "smollm3"];

pub fn int(config: &Value, key: &str) -> usize {
    config[key].as_u64().unwrap_or_else(|| panic!("{key} is {}", config[key])) as usize
}

pub fn number(config: &Value, key: &str) -> f64 {
    config[key].as_f64().unwrap_or_else(|| panic!("{key} is {}", config[key]))
}

fn first<'a>(config: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().map(|key| &config[*key]).find(|value| !value.is_null())
}

/// The keys that llama.cpp's converter writes, including the vocabulary.
pub fn written(config: &Value) -> Keys {
    let arch = architecture(config);
    let scaling = &config["rope_scaling"];
    let mut keys = vocabulary(config);
    let mut put = |name: &str, value: Vec<u8>| keys.insert(format!("{arch}.{name}"), value);
    let at = |key: &str| u32v(int(config, key) as u32);
    let fat = |from: &Value, key: &str| f32v(number(from, key) as f32);
    let (hidden, heads) = (int(config, "hidden_size"), int(config, "num_attention_heads"));
    put("block_count", at("num_hidden_layers"));
    put("context_length", at("max_position_embeddings"));
    put("embedding_length", at("hidden_size"));
    put("vocab_size", at("vocab_size"));
    put("attention.head_count", at("num_attention_heads"));
    put("attention.head_count_kv", at("num_key_value_heads"));
    put("attention.layer_norm_rms_epsilon", fat(config, "rms_norm_eps"));
    let theta = first(config, &["rope_theta"]).unwrap_or(&config["rope_parameters"]["rope_theta"]);
    put("rope.freq_base", f32v(theta.as_f64().expect("a base") as f32));
    let inner = first(config, &["intermediate_size_mlp", "intermediate_size"]).and_then(Value::as_u64);
    put("feed_forward_length", u32v(inner.expect("a width") as u32));
    let head_dim = config["head_dim"].as_u64().map(|dim| dim as usize);
    if head_dim.is_some() {
        put("attention.key_length", at("head_dim"));
        put("attention.value_length", at("head_dim"));
    }
    if PERMUTED.contains(&arch) || ["phi3", "llama4"].contains(&arch) {
        put("rope.dimension_count", u32v(head_dim.unwrap_or(hidden / heads) as u32));
    }
    if let Some(experts) = first(config, &["num_experts", "num_local_experts", "n_routed_experts"]) {
        put("expert_count", u32v(experts.as_u64().expect("a count") as u32));
        put("expert_used_count", at("num_experts_per_tok"));
        if !config["moe_intermediate_size"].is_null() {
            put("expert_feed_forward_length", at("moe_intermediate_size"));
        } else if ["gpt-oss", "llama4"].contains(&arch) {
            put("expert_feed_forward_length", at("intermediate_size"));
        }
        if !config["shared_expert_intermediate_size"].is_null() {
            put("expert_shared_feed_forward_length", at("shared_expert_intermediate_size"));
        }
    }
    match first(scaling, &["rope_type", "type"]).and_then(Value::as_str) {
        Some("yarn") => {
            put("rope.scaling.type", text("yarn"));
            put("rope.scaling.factor", fat(scaling, "factor"));
            let original = int(scaling, "original_max_position_embeddings");
            put("rope.scaling.original_context_length", u32v(original as u32));
            put("rope.scaling.yarn_beta_fast", fat(scaling, "beta_fast"));
            put("rope.scaling.yarn_beta_slow", fat(scaling, "beta_slow"));
        }
        Some("longrope") => {
            let original = number(config, "original_max_position_embeddings");
            let factor = number(config, "max_position_embeddings") / original;
            put("rope.scaling.original_context_length", u32v(original as u32));
            put("rope.scaling.attn_factor", f32v((1.0 + factor.ln() / original.ln()).sqrt() as f32));
        }
        _ => {}
    }
    match arch {
        "deepseek2" => {
            let [rank, rope, nope] =
                ["kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"].map(|k| int(config, k) as u32);
            put("attention.head_count_kv", u32v(1));
            // 0 for a model without a query latent: llama.cpp requires the key in models with other depths than the
            // Lite ones.
            put("attention.q_lora_rank", u32v(config["q_lora_rank"].as_u64().unwrap_or(0) as u32));
            put("attention.kv_lora_rank", u32v(rank));
            put("attention.key_length", u32v(rank + rope));
            put("attention.value_length", u32v(rank));
            put("attention.key_length_mla", u32v(nope + rope));
            put("attention.value_length_mla", at("v_head_dim"));
            put("rope.dimension_count", u32v(rope));
            put("rope.scaling.yarn_log_multiplier", f32v((0.1 * number(scaling, "mscale_all_dim")) as f32));
            put("leading_dense_block_count", at("first_k_dense_replace"));
            put("expert_shared_count", at("n_shared_experts"));
            put("expert_weights_scale", fat(config, "routed_scaling_factor"));
            put("expert_group_count", at("n_group"));
            put("expert_group_used_count", at("topk_group"));
            put("expert_gating_func", u32v(if config["scoring_func"] == "sigmoid" { 2 } else { 1 }));
            if config["norm_topk_prob"] == true {
                put("expert_weights_norm", boolv(true));
            }
        }
        "granitemoe" => {
            put("attention.scale", fat(config, "attention_multiplier"));
            put("embedding_scale", fat(config, "embedding_multiplier"));
            put("residual_scale", fat(config, "residual_multiplier"));
            put("logit_scale", fat(config, "logits_scaling"));
        }
        "gemma3" => {
            put("attention.sliding_window", at("sliding_window"));
            put("attention.sliding_window_pattern", at("sliding_window_pattern"));
            put("rope.freq_base_swa", fat(config, "rope_local_base_freq"));
        }
        "gpt-oss" | "phi3" => drop(put("attention.sliding_window", at("sliding_window"))),
        "llama4" => drop(put("interleave_moe_layer_step", at("interleave_moe_layer_step"))),
        _ => {}
    }
    keys
}

/// Keys for values that llama.cpp hard-codes and that differ in the golden model. It does not read these keys.
pub fn extra(config: &Value) -> Keys {
    let arch = architecture(config);
    let at = |key: &str| u32v(int(config, key) as u32);
    let keys = match (arch, config["model_type"].as_str()) {
        ("gemma3", _) => vec![("attention.scale", f32v(number(config, "query_pre_attn_scalar").powf(-0.5) as f32))],
        ("gpt-oss", _) => {
            let layers = int(config, "num_hidden_layers");
            let limits = (number(config, "swiglu_limit") as f32).to_le_bytes().repeat(layers);
            vec![("swiglu_clamp_exp", array(6, layers as u64, limits))]
        }
        ("llama4", _) => vec![
            ("attention.sliding_window", at("attention_chunk_size")),
            ("attention.temperature_length", at("floor_scale")),
            ("attention.temperature_scale", f32v(number(config, "attn_scale") as f32)),
        ],
        (_, Some("mistral")) => vec![("attention.sliding_window", at("sliding_window"))],
        _ => Vec::new(),
    };
    keys.into_iter().map(|(name, value)| (format!("{arch}.{name}"), value)).collect()
}

/// Keys of features that llama.cpp computes differently from the reference: no sliding window of Phi-3, a YaRN ramp
/// with rounded ends (gpt-oss), expert groups ranked by their best two (DeepSeek-V2).
pub fn otherwise(config: &Value) -> Vec<String> {
    let arch = architecture(config);
    let names: &[&str] = match (arch, config["model_type"].as_str()) {
        ("phi3", _) => &["attention.sliding_window"],
        ("gpt-oss", _) => &[
            "rope.scaling.type",
            "rope.scaling.factor",
            "rope.scaling.original_context_length",
            "rope.scaling.yarn_beta_fast",
            "rope.scaling.yarn_beta_slow",
        ],
        (_, Some("deepseek_v2")) => &["expert_group_count", "expert_group_used_count"],
        _ => &[],
    };
    names.iter().map(|name| format!("{arch}.{name}")).collect()
}

/// A vocabulary of 256 bytes, one merge, and a control token for each id that the config names.
fn vocabulary(config: &Value) -> Keys {
    let mut others = 0x100..;
    let spelt = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte).to_string(),
        _ => others.next().and_then(char::from_u32).expect("a character").to_string(),
    };
    let mut tokens: Vec<String> = (0..=255).map(spelt).chain(["ab".to_owned()]).collect();
    tokens.extend((tokens.len()..int(config, "vocab_size")).map(|id| format!("[PAD{id}]")));
    let mut types: Vec<i32> = (0..tokens.len()).map(|id| if id < 257 { 1 } else { 5 }).collect();
    let eos = config["eos_token_id"].as_u64().or_else(|| config["eos_token_id"][0].as_u64()).expect("an id") as usize;
    let bos = int(config, "bos_token_id");
    for (name, id) in [("<s>", bos), ("</s>", eos)] {
        (tokens[id], types[id]) = (name.to_owned(), 3);
    }
    let types: Vec<u8> = types.iter().flat_map(|kind| kind.to_le_bytes()).collect();
    let keys = [
        ("model", text("gpt2")),
        ("pre", text("gpt-2")),
        ("tokens", texts(tokens.iter())),
        ("token_type", array(5, tokens.len() as u64, types)),
        ("merges", texts(["a b".to_owned()].iter())),
        ("bos_token_id", u32v(bos as u32)),
        ("eos_token_id", u32v(eos as u32)),
    ];
    keys.into_iter().map(|(name, value)| (format!("tokenizer.ggml.{name}"), value)).collect()
}
