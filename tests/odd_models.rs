//! Models of odd sizes, made here: the recorded plans on the GPU against the same plans through the references.
#![allow(missing_docs)]

mod common;

use std::rc::Rc;

use common::block_on;
use minke::Cancel;
use minke::gpu::{BufferId, Device, DeviceOptions, Executor};
use minke::kernels::{CpuMemory, KvFormat, State, interpret};
use minke::model::{Model, ModelConfig, ModelOptions, Quantization};
use minke::weights::load::{fill, load};
use minke::weights::{Checkpoint, MemoryFolder};
use serde_json::{Value, json};

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0
    }
}

/// A safetensors file of f32 or bf16 tensors, random but for norms near one.
fn safetensors(tensors: &[(String, Vec<usize>)], bf16: &dyn Fn(&str) -> bool, random: &mut Random) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let (start, bf16) = (data.len(), bf16(name));
        let fan_in = *shape.last().expect("a dimension") as f32;
        for _ in 0..shape.iter().product() {
            let value = match (shape.len(), name.contains("norm")) {
                (1, true) => 1.0 + 0.2 * random.unit(),
                (1, false) => 0.3 * random.unit(),
                _ => 2.0 * random.unit() / fan_in.sqrt(),
            };
            if bf16 {
                data.extend(half::bf16::from_f32(value).to_le_bytes());
            } else {
                data.extend(value.to_le_bytes());
            }
        }
        let dtype = if bf16 { "BF16" } else { "F32" };
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] }));
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// `bf16` says of a tensor whether it is in bf16, else it is in f32.
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
    let file = safetensors(&tensors, bf16, &mut Random(hidden as u64));
    MemoryFolder::new("odd").with("config.json", config.to_string().into_bytes()).with("model.safetensors", file)
}

/// Logits of the last prompt token and of three decoded tokens, on the GPU and through the references.
fn compare(config: &Value, bf16: bool, kv_format: KvFormat, max_binding: u64, tolerance: f32) {
    let folder = model(config, &|_| bf16);
    let checkpoint =
        block_on(Checkpoint::open_folder(&folder, &|_| Ok(()))).unwrap_or_else(|e| panic!("{config}: {e}"));
    let facts = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    let options = ModelOptions { max_binding, kv_format, ..ModelOptions::default() };
    let m = Model::new(&checkpoint, &facts, options).unwrap_or_else(|e| panic!("{config}: {e}"));
    let vocabulary = facts.vocab_size;
    let prompt: Vec<u32> = (0..19).map(|i| (i * 31 + 7) % vocabulary as u32).collect();
    let state = State { count: prompt.len() as u32, ..State::default() };

    let mut memory = CpuMemory::new(&m.buffers);
    m.constants.iter().for_each(|(buffer, bytes)| memory.write(*buffer, 0, bytes));
    block_on(fill(&checkpoint, &m.tasks, &mut |b, o, bytes: &[u8]| memory.write(b, o, bytes))).expect("weights");
    memory.write(m.control.state, 0, bytemuck::bytes_of(&state));
    memory.write(m.control.tokens, 0, bytemuck::cast_slice(&prompt));
    let device = Rc::new(block_on(Device::open(DeviceOptions::default())).expect("a GPU or lavapipe"));
    block_on(async {
        let gpu = Executor::new(device, &m.buffers).await.expect("buffers");
        m.constants.iter().for_each(|(buffer, bytes)| gpu.write(*buffer, 0, bytes));
        load(&checkpoint, &m.tasks, &gpu, &Cancel::default(), &mut |_, _| {}).await.expect("weights");
        gpu.write(m.control.state, 0, bytemuck::bytes_of(&state));
        gpu.write(m.control.tokens, 0, bytemuck::cast_slice(&prompt));
        let p = &m.plans;
        for (step, plans) in [vec![&p.prefill, &p.head, &p.sample], vec![&p.decode], vec![&p.decode]].iter().enumerate()
        {
            for plan in plans {
                interpret(plan, &mut memory);
                let prepared = gpu.prepare(plan).await.unwrap_or_else(|e| panic!("{config}: {e}"));
                gpu.submit(&[&prepared], &[]).expect("a device");
            }
            let bytes = gpu.read(m.control.logits.buffer, 0..vocabulary as u64 * 4).await.expect("logits");
            let got: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
            let want = &memory.floats(m.control.logits.buffer)[..vocabulary];
            let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let size = want.iter().map(|v| v.abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance && size > 0.3, "{config} step {step}: {worst} of {size}");
        }
    });
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
    // Keys and values of order one, rounded to f16, in both; an f32 difference may tip one over.
    compare(&config(json!({})), true, KvFormat::F16, 128 << 20, 5e-3);
    compare(&config(json!({ "head_dim": 6, "num_key_value_heads": 9 })), false, KvFormat::F16, 128 << 20, 5e-3);
}

#[test]
fn odd_widths_in_parts() {
    compare(&config(json!({ "intermediate_size": 301, "mlp_bias": true })), true, KvFormat::F32, 48 << 10, 2e-4);
    compare(&config(json!({ "vocab_size": 2049 })), false, KvFormat::F32, 96 << 10, 2e-4);
}

/// Gate in bf16 and up in f32, of whose rows fewer fit in a block: quantised they take turns in one matrix.
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
        let device = Rc::new(Device::open(DeviceOptions::default()).await.expect("a GPU or lavapipe"));
        let gpu = Executor::new(device, &m.buffers).await.expect("buffers");
        load(&checkpoint, &m.tasks, &gpu, &Cancel::default(), &mut |_, _| {}).await.expect("weights");
        for (spec, id) in m.buffers.iter().zip(0..).filter(|(spec, _)| spec.label.contains("gate_up")) {
            let got = gpu.read(BufferId(id), 0..spec.bytes).await.expect("bytes");
            assert!(got == memory.bytes(BufferId(id)), "{} differs", spec.label);
        }
    });
}
