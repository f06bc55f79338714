//! What GGUF metadata says and what it leaves to be known; whole models are in `tests/gguf_twins.rs`.

use std::slice::from_ref;

use super::*;
use crate::FormatKind;
use crate::kernels::Scoring;
use crate::model::architecture_name;
use crate::weights::GgufMetadata;
use crate::weights::metadata::{GgufArray, GgufValue};

/// A model of six layers with the keys that all have, and more.
fn metadata(architecture: &str, more: &[(&str, GgufValue)]) -> GgufMetadata {
    let sizes = [
        ("block_count", 6),
        ("context_length", 1024),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("vocab_size", 8),
        ("attention.head_count", 4),
    ];
    let mut values: std::collections::BTreeMap<String, GgufValue> =
        sizes.map(|(name, n)| (format!("{architecture}.{name}"), GgufValue::U32(n))).into();
    values.insert("general.architecture".into(), GgufValue::String(architecture.into()));
    values.insert(format!("{architecture}.attention.layer_norm_rms_epsilon"), GgufValue::F32(1e-6));
    values.extend(more.iter().map(|(name, value)| (format!("{architecture}.{name}"), value.clone())));
    GgufMetadata { file: "m.gguf".into(), values }
}

fn config(architecture: &str, more: &[(&str, GgufValue)], tensors: &[&str]) -> Result<ModelConfig> {
    let facts = ConfigFacts::Gguf(metadata(architecture, more).into());
    ModelConfig::from_facts(&facts, &|name| tensors.contains(&name))
}

fn windows(config: &ModelConfig) -> Vec<bool> {
    (0..config.num_layers).map(|layer| config.window(layer).is_some()).collect()
}

fn kind(error: Result<ModelConfig>) -> FormatKind {
    match error {
        Err(Error::Format { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

use GgufValue::{F32, U32};

#[test]
fn windows_are_by_period_or_listed() {
    let window = ("attention.sliding_window", U32(8));
    let gemma = config("gemma3", from_ref(&window), &[]).unwrap();
    assert_eq!(windows(&gemma), [true, true, true, true, true, false]);
    assert_eq!((gemma.architecture.as_str(), gemma.hidden_act.as_str()), ("gemma3_text", "gelu_pytorch_tanh"));
    assert_eq!((gemma.embedding_scale, gemma.attention_scale, gemma.tie_word_embeddings), (8.0, None, true));
    assert_eq!(gemma.rope(0).unwrap().theta, 10_000.0);
    let of_three = config("gemma3", &[window.clone(), ("attention.sliding_window_pattern", U32(3))], &[]).unwrap();
    assert_eq!(windows(&of_three), [true, true, false, true, true, false]);

    let oss = config("gpt-oss", from_ref(&window), &[]).unwrap();
    assert_eq!(windows(&oss), [true, false, true, false, true, false]);
    let list = |flags: &[bool]| GgufValue::Array(GgufArray::Bool(flags.to_vec()));
    let listed = [true, true, false, false, false, true];
    let pattern = |flags| [window.clone(), ("attention.sliding_window_pattern", list(flags))];
    assert_eq!(windows(&config("gpt-oss", &pattern(&listed), &[]).unwrap()), listed);
    assert_eq!(kind(config("gpt-oss", &pattern(&listed[1..]), &[])), FormatKind::BadValue);
    assert_eq!(windows(&config("llama", &[window], &[]).unwrap()), [true; 6], "Mistral's");
    assert_eq!(windows(&config("phi3", &[("attention.sliding_window", U32(0))], &[]).unwrap()), [false; 6]);
}

#[test]
fn layers_without_positions() {
    let no_rope = [false, false, false, true, false, false];
    let smollm = config("smollm3", &[], &[]).unwrap();
    assert_eq!((smollm.no_rope_layers.as_slice(), smollm.rope.interleaved), (&no_rope[..], true));
    assert_eq!((smollm.attention_chunk, smollm.temperature, smollm.sliding_window), (None, None, None));
    let experts = [("expert_count", U32(128)), ("expert_used_count", U32(1))];
    let llama4 = config("llama4", &experts, &["blk.1.ffn_gate_inp.weight", "blk.3.ffn_gate_inp.weight"]).unwrap();
    assert_eq!((llama4.no_rope_layers.as_slice(), llama4.attention_chunk), (&no_rope[..], Some(8192)));
    let temperature = llama4.temperature.unwrap();
    assert_eq!((temperature.floor, temperature.growth, llama4.use_qk_norm), (8192.0, 0.1, false));
    let moe = llama4.moe.unwrap();
    assert_eq!((moe.layers, moe.shared_inner), (vec![false, true, false, true, false, false], Some(96)));
    assert!(config("llama4", &[experts[1].clone(), ("expert_count", U32(16))], &[]).unwrap().use_qk_norm);
}

#[test]
fn latent_attention_and_its_experts() {
    let more = |gating: u32| {
        vec![
            ("attention.kv_lora_rank", U32(32)),
            ("attention.q_lora_rank", U32(0)),
            ("attention.key_length", U32(40)),
            ("attention.value_length", U32(20)),
            ("attention.head_count_kv", U32(1)),
            ("rope.dimension_count", U32(16)),
            ("rope.scaling.type", GgufValue::String("yarn".into())),
            ("rope.scaling.factor", F32(4.0)),
            ("rope.scaling.yarn_log_multiplier", F32(0.0707)),
            ("expert_count", U32(8)),
            ("expert_used_count", U32(3)),
            ("expert_feed_forward_length", U32(40)),
            ("expert_shared_count", U32(2)),
            ("expert_group_count", U32(4)),
            ("expert_group_used_count", U32(2)),
            ("expert_weights_scale", F32(0.0)),
            ("expert_gating_func", U32(gating)),
        ]
    };
    let v2 = config("deepseek2", &more(1), &[]).unwrap();
    let mla = v2.mla.unwrap();
    assert_eq!((mla.q_lora_rank, mla.kv_lora_rank, mla.qk_nope_head_dim, mla.v_head_dim), (None, 32, 24, 20));
    assert_eq!((v2.architecture.as_str(), v2.head_dim, v2.num_kv_heads), ("deepseek_v2", 16, 4));
    // (0.0707 · ln 4 + 1)² / √40, and cos and sin as they are.
    assert!((v2.attention_scale.unwrap() - 0.190_626_6).abs() < 1e-6, "{:?}", v2.attention_scale);
    assert_eq!(v2.rope.inv_freq(64).1, 1.0);
    let moe = v2.moe.unwrap();
    assert_eq!((moe.inner, moe.shared_inner, moe.factor, moe.norm_topk_prob), (40, Some(80), 1.0, Some(false)));
    assert!(!moe.groups.unwrap().top_two);
    let v3 = config("deepseek2", &more(2), &[]).unwrap();
    assert_eq!(v3.architecture, "deepseek_v3");
    assert!(v3.moe.unwrap().groups.unwrap().top_two);
    assert_eq!(kind(config("deepseek2", &more(4), &[])), FormatKind::UnsupportedFeature);
    let scoring = |tensors: &[&str]| config("deepseek2", &more(0), tensors).unwrap().moe.unwrap().scoring;
    assert_eq!((scoring(&[]), scoring(&["blk.5.exp_probs_b.bias"])), (None, Some(Scoring::Sigmoid)));
    let mut own = more(1);
    own.extend([("attention.key_length_mla", U32(48)), ("attention.value_length_mla", U32(24))]);
    let own = config("deepseek2", &own, &[]).unwrap().mla.unwrap();
    assert_eq!((own.qk_nope_head_dim, own.v_head_dim), (32, 24));
}

#[test]
fn widths_of_experts_where_files_do_not_say() {
    let experts = [("expert_count", U32(8)), ("expert_used_count", U32(3))];
    let of = |name: &str| config(name, &experts, &[]).unwrap().moe.unwrap();
    assert_eq!((of("qwen2moe").inner, of("qwen2moe").shared_inner), (32, Some(96)));
    assert_eq!((of("qwen3moe").inner, of("qwen3moe").shared_inner), (32, None));
    assert_eq!((of("llama").inner, of("olmoe").inner), (96, 96));
}

#[test]
fn rope_factors_are_named_by_their_tensors() {
    let long = ["rope_factors_long.weight", "rope_factors_short.weight"];
    let original = ("rope.scaling.original_context_length", U32(64));
    let phi = config("phi3", from_ref(&original), &long).unwrap();
    let derived = (1.0 + 16f64.ln() / 64f64.ln()).sqrt();
    assert_eq!(phi.rope.scaling, RopeScaling::LongFactors { original_max_position: 64.0, attention_factor: derived });
    assert_eq!(config("phi3", &[original], &[]).unwrap().rope.scaling, RopeScaling::None);
    let both = [("rope.scaling.type", GgufValue::String("linear".into())), ("rope.scaling.factor", F32(2.0))];
    assert_eq!(kind(config("phi3", &both, &long)), FormatKind::UnsupportedFeature);
    assert_eq!(kind(config("llama", &both, &["rope_freqs.weight"])), FormatKind::UnsupportedFeature);
}

#[test]
fn names_are_ggufs_own() {
    for name in ["gpt_oss", "mixtral", "qwen3_moe", "zzz"] {
        let error = architecture_name(&ConfigFacts::Gguf(metadata(name, &[]).into())).unwrap_err();
        assert!(
            matches!(&error, Error::Architecture { supported, .. } if supported.contains(&"gpt-oss".into())),
            "{error}"
        );
    }
    for (name, ours) in [("gpt-oss", "gpt_oss"), ("qwen3moe", "qwen3_moe"), ("deepseek2", "deepseek_v2")] {
        assert_eq!(architecture_name(&ConfigFacts::Gguf(metadata(name, &[]).into())).unwrap(), ours);
    }
}
