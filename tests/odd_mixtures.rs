//! Tests mixtures of experts and latent attention of odd sizes: compares the recorded plans on the GPU with the same
//! plans through the references, in every form in which weights are stored and to which they are quantised.
#![allow(missing_docs)]

mod common;

use common::odd::{self, Stored};
use minke::kernels::KvFormat;
use minke::model::{ModelOptions, Quantization};
use serde_json::{Value, json};

type Tensors = Vec<(String, Vec<usize>)>;
/// A callback that receives the name and shape of a tensor.
type Add<'a> = &'a mut dyn FnMut(&str, &[usize]);

/// A config with sizes that are not multiples of any block size.
fn config(changes: Value) -> Value {
    let mut config = json!({
        "architectures": ["Model"], "hidden_act": "silu", "hidden_size": 100, "intermediate_size": 52, "vocab_size": 133,
        "num_hidden_layers": 2, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 40,
        "max_position_embeddings": 300, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 36,
    });
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

/// The sizes of tensors.
struct Sizes {
    hidden: usize,
    /// The width of an expert.
    inner: usize,
    experts: usize,
    heads: usize,
}

fn of(config: &Value, key: &str) -> usize {
    config[key].as_u64().unwrap_or_else(|| panic!("{key}")) as usize
}

/// The tensors around `layer`s.
fn tensors(config: &Value, layer: &dyn Fn(&Sizes, Add<'_>)) -> Tensors {
    let sizes = Sizes {
        hidden: of(config, "hidden_size"),
        inner: of(config, "moe_intermediate_size"),
        experts: of(config, "num_experts"),
        heads: of(config, "num_attention_heads"),
    };
    let (vocabulary, hidden) = (of(config, "vocab_size"), sizes.hidden);
    let mut tensors = vec![
        ("model.embed_tokens.weight".into(), vec![vocabulary, hidden]),
        ("model.norm.weight".into(), vec![hidden]),
    ];
    for i in 0..of(config, "num_hidden_layers") {
        let mut add = |name: &str, shape: &[usize]| tensors.push((format!("model.layers.{i}.{name}"), shape.to_vec()));
        add("input_layernorm.weight", &[hidden]);
        add("post_attention_layernorm.weight", &[hidden]);
        layer(&sizes, &mut add);
    }
    tensors
}

/// Grouped attention.
fn attention(config: &Value, s: &Sizes, bias: &[&str], add: Add<'_>) {
    let dim = of(config, "head_dim");
    let (q, kv) = (s.heads * dim, of(config, "num_key_value_heads") * dim);
    for (name, rows, k) in [("q", q, s.hidden), ("k", kv, s.hidden), ("v", kv, s.hidden), ("o", s.hidden, q)] {
        add(&format!("self_attn.{name}_proj.weight"), &[rows, k]);
        if bias.contains(&name) {
            add(&format!("self_attn.{name}_proj.bias"), &[rows]);
        }
    }
}

/// Gate, up and down projections under a prefix, with the three given names.
fn three(prefix: &str, names: [&str; 3], hidden: usize, inner: usize, add: Add<'_>) {
    for (name, rows, k) in [(names[0], inner, hidden), (names[1], inner, hidden), (names[2], hidden, inner)] {
        add(&format!("{prefix}.{name}.weight"), &[rows, k]);
    }
}

const PROJECTIONS: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

fn mixtral() -> (Value, Tensors) {
    let config = config(json!({
        "model_type": "mixtral", "sliding_window": 7, "intermediate_size": 36, "num_experts": 7, "num_experts_per_tok": 1,
    }));
    let tensors = tensors(&config, &|s, add| {
        attention(&config, s, &[], add);
        add("block_sparse_moe.gate.weight", &[s.experts, s.hidden]);
        for e in 0..s.experts {
            three(&format!("block_sparse_moe.experts.{e}"), ["w1", "w3", "w2"], s.hidden, s.inner, add);
        }
    });
    (config, tensors)
}

/// A gated shared expert, wider than a routed expert.
fn qwen2_moe() -> (Value, Tensors) {
    let config = config(json!({
        "model_type": "qwen2_moe", "shared_expert_intermediate_size": 77, "norm_topk_prob": false, "hidden_size": 33,
    }));
    let tensors = tensors(&config, &|s, add| {
        attention(&config, s, &["q", "k", "v"], add);
        add("mlp.gate.weight", &[s.experts, s.hidden]);
        add("mlp.shared_expert_gate.weight", &[1, s.hidden]);
        three("mlp.shared_expert", PROJECTIONS, s.hidden, 77, add);
        for e in 0..s.experts {
            three(&format!("mlp.experts.{e}"), PROJECTIONS, s.hidden, s.inner, add);
        }
    });
    (config, tensors)
}

/// Stacked experts, all of which are used.
fn granitemoe() -> (Value, Tensors) {
    let config = config(json!({
        "model_type": "granitemoe", "intermediate_size": 36, "num_experts": 4, "num_experts_per_tok": 4,
        "residual_multiplier": 0.6, "embedding_multiplier": 3.0, "attention_multiplier": 0.2, "logits_scaling": 0.5,
    }));
    let tensors = tensors(&config, &|s, add| {
        attention(&config, s, &[], add);
        add("block_sparse_moe.router.layer.weight", &[s.experts, s.hidden]);
        add("block_sparse_moe.input_linear.weight", &[s.experts, 2 * s.inner, s.hidden]);
        add("block_sparse_moe.output_linear.weight", &[s.experts, s.hidden, s.inner]);
    });
    (config, tensors)
}

/// Stacked and transposed experts with scaled inputs, in every other layer.
fn llama4() -> (Value, Tensors) {
    let config = config(json!({
        "model_type": "llama4_text", "intermediate_size": 36, "intermediate_size_mlp": 61, "num_experts_per_tok": 2,
        "moe_layers": [0, 1], "no_rope_layers": [1, 0], "attention_chunk_size": 5, "floor_scale": 3, "attn_scale": 0.3,
    }));
    let tensors = tensors(&config, &|s, add| {
        attention(&config, s, &[], add);
        add("feed_forward.router.weight", &[s.experts, s.hidden]);
        add("feed_forward.experts.gate_up_proj", &[s.experts, s.hidden, 2 * s.inner]);
        add("feed_forward.experts.down_proj", &[s.experts, s.inner, s.hidden]);
        three("feed_forward.shared_expert", PROJECTIONS, s.hidden, s.inner, add);
    });
    (config, tensors)
}

/// Biases and attention sinks; experts are transposed, or packed if the sizes allow it.
fn gpt_oss(packed: bool) -> (Value, Tensors) {
    let (hidden, inner) = if packed { (96, 160) } else { (100, 36) };
    let config = config(json!({
        "model_type": "gpt_oss", "hidden_size": hidden, "intermediate_size": inner, "moe_intermediate_size": inner,
        "sliding_window": 6, "swiglu_limit": 1.5, "quantization_config": if packed { json!({ "quant_method": "mxfp4" }) } else { Value::Null },
    }));
    let tensors = tensors(&config, &|s, add| {
        attention(&config, s, &["q", "k", "v", "o"], add);
        add("self_attn.sinks", &[s.heads]);
        add("mlp.router.weight", &[s.experts, s.hidden]);
        add("mlp.router.bias", &[s.experts]);
        add("mlp.experts.gate_up_proj_bias", &[s.experts, 2 * s.inner]);
        add("mlp.experts.down_proj_bias", &[s.experts, s.hidden]);
        if packed {
            add("mlp.experts.gate_up_proj_blocks", &[s.experts, 2 * s.inner, s.hidden / 32, 16]);
            add("mlp.experts.down_proj_blocks", &[s.experts, s.hidden, s.inner / 32, 16]);
        } else {
            add("mlp.experts.gate_up_proj", &[s.experts, s.hidden, 2 * s.inner]);
            add("mlp.experts.down_proj", &[s.experts, s.inner, s.hidden]);
        }
    });
    (config, tensors)
}

/// Latent attention with biases, a dense layer, expert groups, and a shared expert.
fn deepseek(changes: Value) -> (Value, Tensors) {
    let mut config = config(json!({
        "model_type": "deepseek_v3", "num_key_value_heads": 9, "num_experts": 10, "n_routed_experts": 10, "n_group": 5,
        "topk_group": 2, "n_shared_experts": 3, "first_k_dense_replace": 1, "norm_topk_prob": true, "attention_bias": true,
        "routed_scaling_factor": 1.7, "q_lora_rank": 28, "kv_lora_rank": 20, "qk_rope_head_dim": 24,
        "qk_nope_head_dim": 12, "v_head_dim": 18,
    }));
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    let (rank, rotary, nope, value) = (
        of(&config, "kv_lora_rank"),
        of(&config, "qk_rope_head_dim"),
        of(&config, "qk_nope_head_dim"),
        of(&config, "v_head_dim"),
    );
    let layer = std::cell::Cell::new(0);
    let tensors = tensors(&config, &|s, add| {
        let q = s.heads * (nope + rotary);
        match config["q_lora_rank"].as_u64() {
            Some(q_rank) => {
                let q_rank = q_rank as usize;
                add("self_attn.q_a_proj.weight", &[q_rank, s.hidden]);
                add("self_attn.q_a_layernorm.weight", &[q_rank]);
                add("self_attn.q_b_proj.weight", &[q, q_rank]);
                add("self_attn.q_a_proj.bias", &[q_rank]);
            }
            None => add("self_attn.q_proj.weight", &[q, s.hidden]),
        }
        add("self_attn.kv_a_proj_with_mqa.weight", &[rank + rotary, s.hidden]);
        add("self_attn.kv_a_proj_with_mqa.bias", &[rank + rotary]);
        add("self_attn.kv_a_layernorm.weight", &[rank]);
        add("self_attn.kv_b_proj.weight", &[s.heads * (nope + value), rank]);
        add("self_attn.o_proj.weight", &[s.hidden, s.heads * value]);
        add("self_attn.o_proj.bias", &[s.hidden]);
        if layer.replace(1) == 0 {
            return three("mlp", PROJECTIONS, s.hidden, of(&config, "intermediate_size"), add);
        }
        add("mlp.gate.weight", &[s.experts, s.hidden]);
        add("mlp.gate.e_score_correction_bias", &[s.experts]);
        three("mlp.shared_experts", PROJECTIONS, s.hidden, 3 * s.inner, add);
        for e in 0..s.experts {
            three(&format!("mlp.experts.{e}"), PROJECTIONS, s.hidden, s.inner, add);
        }
    });
    (config, tensors)
}

fn every_family() -> [(Value, Tensors); 7] {
    let plain = json!({ "q_lora_rank": null, "num_attention_heads": 3, "num_key_value_heads": 3, "kv_lora_rank": 48, "qk_rope_head_dim": 8 });
    [mixtral(), qwen2_moe(), granitemoe(), llama4(), gpt_oss(false), deepseek(json!({})), deepseek(plain)]
}

fn f32_mode() -> ModelOptions {
    ModelOptions { kv_format: Some(KvFormat::F32), ..ModelOptions::default() }
}

#[test]
fn odd_mixtures() {
    for (i, (config, tensors)) in every_family().into_iter().enumerate() {
        let stored = if i % 2 == 0 { Stored::F32 } else { Stored::Bf16 };
        odd::compare(&config, &odd::folder(&config, &tensors, &|_| stored), f32_mode(), 2e-4);
    }
}

/// Weights are quantised on the GPU bit-identically to the CPU.
#[test]
fn odd_mixtures_quantised_while_loading() {
    for (i, (config, tensors)) in every_family().into_iter().enumerate() {
        let quantization = if i % 2 == 0 { Quantization::Q4 } else { Quantization::Q8 };
        let options = ModelOptions { quantization, ..f32_mode() };
        odd::compare(&config, &odd::folder(&config, &tensors, &|_| Stored::Bf16), options, 3e-4);
    }
}

#[test]
fn odd_mixtures_in_parts() {
    for (config, tensors) in every_family() {
        let options = ModelOptions { max_binding: 60 << 10, ..f32_mode() };
        odd::compare(&config, &odd::folder(&config, &tensors, &|_| Stored::Bf16), options, 2e-4);
    }
}

/// FP8 with partial blocks and packed 4-bit floats, unquantised and quantised.
#[test]
fn forms_of_storage() {
    let sizes = json!({
        "hidden_size": 200, "q_lora_rank": 132, "kv_lora_rank": 136, "moe_intermediate_size": 140,
        "quantization_config": { "quant_method": "fp8", "weight_block_size": [128, 128] },
    });
    let (config, tensors) = deepseek(sizes);
    let fp8 = |name: &str| match name.ends_with("_proj.weight") || name.ends_with("_mqa.weight") {
        true => Stored::Fp8,
        false => Stored::Bf16,
    };
    for quantization in [Quantization::None, Quantization::Q8, Quantization::Q4] {
        let options = ModelOptions { quantization, ..f32_mode() };
        odd::compare(&config, &odd::folder(&config, &tensors, &fp8), options, 5e-4);
    }
    let (config, tensors) = gpt_oss(true);
    let packed = |name: &str| if name.ends_with("_blocks") { Stored::Mxfp4 } else { Stored::Bf16 };
    for quantization in [Quantization::None, Quantization::Q4] {
        let options = ModelOptions { quantization, ..f32_mode() };
        odd::compare(&config, &odd::folder(&config, &tensors, &packed), options, 5e-4);
    }
}
