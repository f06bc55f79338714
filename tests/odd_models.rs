//! Tests models of odd sizes: compares the recorded plans on the GPU with the same plans through the references.
#![allow(missing_docs)]

mod common;

use common::block_on;
use common::odd::{self, Stored};
use minke::Cancel;
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::{CpuMemory, KvFormat};
use minke::model::{Model, ModelConfig, ModelOptions, Quantization};
use minke::plan::{BufferId, Executor};
use minke::weights::load::{fill, load};
use minke::weights::{Checkpoint, MemoryFolder};
use serde_json::{Value, json};

/// `bf16` decides by name whether a tensor is stored in bf16 or in f32.
fn model(config: &Value, bf16: &dyn Fn(&str) -> bool) -> MemoryFolder {
    let of = |key: &str| config[key].as_u64().expect("a size") as usize;
    let (hidden, inner, vocabulary) = (of("hidden_size"), of("intermediate_size"), of("vocab_size"));
    let (q, kv) = (of("num_attention_heads") * of("head_dim"), of("num_key_value_heads") * of("head_dim"));
    let qwen = config["model_type"] == "qwen2";
    let attention_bias = config["attention_bias"] == true;
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    if config["tie_word_embeddings"] != true {
        tensors.push(("lm_head.weight".into(), vec![vocabulary, hidden]));
    }
    for i in 0..of("num_hidden_layers") {
        let mut add = |name: &str, shape: &[usize]| tensors.push((format!("model.layers.{i}.{name}"), shape.to_vec()));
        add("input_layernorm.weight", &[hidden]);
        add("post_attention_layernorm.weight", &[hidden]);
        for (name, rows, k) in [("q", q, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, q)] {
            add(&format!("self_attn.{name}_proj.weight"), &[rows, k]);
            if attention_bias || (qwen && name != "o") {
                add(&format!("self_attn.{name}_proj.bias"), &[rows]);
            }
        }
        for (name, rows, k) in [("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)] {
            add(&format!("mlp.{name}_proj.weight"), &[rows, k]);
            if config["mlp_bias"] == true {
                add(&format!("mlp.{name}_proj.bias"), &[rows]);
            }
        }
    }
    odd::folder(config, &tensors, &|name| if bf16(name) { Stored::Bf16 } else { Stored::F32 })
}

/// Runs a model on the GPU and through the references.
fn compare(config: &Value, bf16: bool, kv_format: KvFormat, max_binding: u64, tolerance: f32) {
    let options = ModelOptions { max_binding, kv_format: Some(kv_format), ..ModelOptions::default() };
    odd::compare(config, &model(config, &|_| bf16), options, tolerance);
}

fn config(changes: Value) -> Value {
    let mut config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 100,
        "intermediate_size": 77, "vocab_size": 515, "num_hidden_layers": 2, "num_attention_heads": 9,
        "num_key_value_heads": 3, "head_dim": 40, "max_position_embeddings": 300, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false,
    });
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

#[test]
fn odd_widths_heads_and_vocabularies() {
    let f32_mode = |c: Value, bf16| compare(&config(c), bf16, KvFormat::F32, 128 << 20, 2e-4);
    f32_mode(json!({}), false);
    f32_mode(json!({ "attention_bias": true, "mlp_bias": true }), true);
    f32_mode(
        json!({ "model_type": "qwen2", "hidden_size": 33, "intermediate_size": 1, "tie_word_embeddings": true }),
        true,
    );
    f32_mode(json!({ "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2, "vocab_size": 3 }), false);
    f32_mode(json!({ "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256, "hidden_size": 31 }), true);
    f32_mode(
        json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64 } }),
        true,
    );
    f32_mode(json!({ "rope_scaling": { "type": "linear", "factor": 2.5 } }), true);
}

#[test]
fn odd_widths_with_a_cache_of_f16() {
    // Both round keys and values of order one to f16; an f32 difference may change the rounding.
    compare(&config(json!({})), true, KvFormat::F16, 128 << 20, 5e-3);
    compare(&config(json!({ "head_dim": 6, "num_key_value_heads": 9 })), false, KvFormat::F16, 128 << 20, 5e-3);
}

/// Both round values to q8 codes; an f32 difference may change a code by one step, a 127th.
#[test]
fn odd_widths_with_a_cache_of_bytes() {
    compare(&config(json!({})), true, KvFormat::Q8, 128 << 20, 2e-2);
    compare(&config(json!({ "head_dim": 6, "num_key_value_heads": 9 })), false, KvFormat::Q8, 128 << 20, 2e-2);
    compare(&config(json!({ "head_dim": 80, "num_key_value_heads": 1 })), false, KvFormat::Q8, 128 << 20, 2e-2);
}

/// A prompt far into the context, and decoded tokens at positions that 16 bits do not hold, the last of 131,072 among
/// them.
#[test]
fn positions_beyond_65_536() {
    let config = config(json!({
        "max_position_embeddings": 131_072, "num_attention_heads": 6, "num_key_value_heads": 1, "num_hidden_layers": 1,
        "rope_scaling": { "rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096 },
    }));
    let cases = [
        (KvFormat::F16, 29_990, 5e-3),
        (KvFormat::F16, 65_534, 5e-3),
        (KvFormat::Q8, 29_990, 2e-2),
        (KvFormat::Q8, 131_072 - 3, 2e-2),
    ];
    for (format, position, tolerance) in cases {
        let context_length = Some(131_072);
        let options = ModelOptions { kv_format: Some(format), context_length, ..ModelOptions::default() };
        odd::compare_at(&config, &model(&config, &|_| true), options, tolerance, position);
    }
}

#[test]
fn odd_widths_in_parts() {
    compare(&config(json!({ "intermediate_size": 301, "mlp_bias": true })), true, KvFormat::F32, 48 << 10, 2e-4);
    compare(&config(json!({ "vocab_size": 2049 })), false, KvFormat::F32, 96 << 10, 2e-4);
}

/// Gate in bf16 and up in f32, of which fewer rows fit in a block: quantised, they are interleaved in one matrix.
#[test]
fn sides_of_different_widths_are_quantised_in_turn() {
    let config = config(json!({
        "hidden_size": 1000, "intermediate_size": 1100, "num_hidden_layers": 1, "vocab_size": 9,
        "num_attention_heads": 1, "num_key_value_heads": 1,
    }));
    let folder = model(&config, &|name| !name.contains("up_proj"));
    let checkpoint = block_on(Checkpoint::open_folder(&folder, &|_| Ok(()))).expect("it opens");
    let facts = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    let options = ModelOptions { quantization: Quantization::Q8, ..ModelOptions::default() };
    let m = Model::new(&checkpoint, &facts, options).expect("a model");
    let mut memory = CpuMemory::new(&m.buffers);
    block_on(fill(&checkpoint, &m.tasks, &mut |b, o, bytes: &[u8]| memory.write(b, o, bytes))).expect("weights");
    block_on(async {
        let gpu = Gpu::open(DeviceOptions::default()).await.expect("a GPU or lavapipe");
        gpu.allocate(&m.buffers).await.expect("buffers");
        load(&checkpoint, &m.tasks, &gpu, &Cancel::default(), &mut |_, _| {}).await.expect("weights");
        for (spec, id) in m.buffers.iter().zip(0..).filter(|(spec, _)| spec.label.contains("gate_up")) {
            let got = gpu.read(&[(BufferId(id), 0..spec.bytes)]).await.expect("bytes");
            assert!(got == memory.bytes(BufferId(id)), "{} differs", spec.label);
        }
    });
}
