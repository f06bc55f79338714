//! Counts the cost of a decoded token, snapshots the recorded plans, and runs the plans on the CPU with the kernels'
//! references, to compare them with transformers.
#![allow(missing_docs)]

mod common;

use std::path::Path;

use common::{argmax, block_on, counts_since, data, load, on_gpu};
use minke::Cancel;
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions};
use minke::gpu::DeviceOptions;
use minke::kernels::KvFormat;
use serde_json::Value;

fn generate(engine: &Engine, prompt: &[u32], n: usize) -> Vec<u32> {
    let options = GenerateOptions { max_output_tokens: Some(n as f64), temperature: Some(0.0), ..Default::default() };
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    block_on(engine.generate(Input::Ids(prompt.to_vec()), &options, &cancel, &mut quiet)).expect("a generation").ids
}

#[test]
fn a_decoded_token_is_one_submit_of_one_pass_and_creates_nothing() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let engine = load(&root.join("models/qwen2"), on_gpu()).expect("it loads");
    let (short, long) = (5, 21);
    let prompt = [3, 1, 4, 1, 5];
    let count = |n| {
        let before = engine.counts();
        assert_eq!(generate(&engine, &prompt, n).len(), n, "no end of sequence in the way");
        counts_since(&engine, &before)
    };
    let (a, b) = (count(short), count(long));
    let tokens = (long - short) as u64;
    assert_eq!(b.submits - a.submits, tokens);
    assert_eq!(b.passes - a.passes, tokens);
    assert_eq!(b.readbacks - a.readbacks, tokens);
    assert_eq!(b.objects_created, 0);
    assert_eq!(b.dispatches - a.dispatches, tokens * engine.plans().decode.steps.len() as u64);
}

#[test]
fn a_layer_decodes_in_at_most_eight_dispatches() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    for (case, expected) in [("models/llama", 7), ("models/qwen2", 7), ("gguf/qwen2_tied", 7)] {
        let folder = root.join(case);
        let gguf = folder.join("model.gguf");
        let engine = load(if gguf.exists() { &gguf } else { &folder }, on_gpu()).expect("it loads");
        let layer = engine.plans().decode.steps.iter().filter(|s| s.label.starts_with("l0.")).count();
        assert_eq!(layer, expected, "{case}:\n{}", engine.plans().decode);
    }
}

#[test]
fn plans_read_like_the_model() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let engine = load(&root.join("models/llama"), on_gpu()).expect("it loads");
    let plans = engine.plans();
    insta::assert_snapshot!("decode", plans.decode);
    insta::assert_snapshot!("prefill", plans.prefill);
}

/// The oracle: runs the plans through the kernels' f64 references, without a GPU's arithmetic.
#[test]
fn the_interpreted_plans_give_the_reference_logits() {
    use minke::engine::accept;
    use minke::kernels::{CpuMemory, State, interpret};
    use minke::model::{Model, ModelConfig, ModelOptions};
    use minke::weights::load::fill;
    use minke::weights::{Checkpoint, DiskFolder};

    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let folder = root.join("models/llama");
    let golden: Value =
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).expect("golden.json")).expect("JSON");
    let facts = &golden["prompts"]["short"];
    let ids = |v: &Value| -> Vec<u32> { v.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect() };
    let (prompt, greedy) = (ids(&facts["ids"]), ids(&facts["greedy_ids"]));

    let checkpoint = block_on(Checkpoint::open_folder(&DiskFolder::new(&folder), &accept)).expect("it opens");
    let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    let options = ModelOptions { kv_format: Some(KvFormat::F32), ..ModelOptions::default() };
    let model = Model::new(&checkpoint, &config, options).expect("a model");
    let mut memory = CpuMemory::new(&model.buffers);
    for (buffer, bytes) in &model.constants {
        memory.write(*buffer, 0, bytes);
    }
    let mut write = |buffer, offset, bytes: &[u8]| memory.write(buffer, offset, bytes);
    block_on(fill(&checkpoint, &model.tasks, &mut write)).expect("weights");

    let state = State { position: 0, count: prompt.len() as u32, draws: 0, ring: 0 };
    memory.write(model.control.state, 0, bytemuck::bytes_of(&state));
    memory.write(model.control.tokens, 0, bytemuck::cast_slice(&prompt));
    for plan in [&model.plans.prefill, &model.plans.head, &model.plans.sample] {
        interpret(plan, &mut memory);
    }
    let mut got = vec![memory.words(model.control.tokens)[0]];
    while got.len() < greedy.len() {
        interpret(&model.plans.decode, &mut memory);
        got.push(memory.words(model.control.tokens)[0]);
        let logits = &memory.floats(model.control.logits.buffer)[..config.vocab_size];
        assert_eq!(argmax(logits) as u32, got[got.len() - 1]);
    }
    assert_eq!(got, greedy);
}

/// A device that is too small is an error before anything is allocated.
#[test]
fn a_context_that_does_not_fit_is_a_typed_error() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let folder: &Path = &root.join("models/llama");
    let bound = |max_binding: u64, kv_cache| {
        let device = DeviceOptions { max_binding: Some(max_binding), ..DeviceOptions::default() };
        load(folder, LoadOptions { context_length: Some(512), kv_cache, device, ..on_gpu() })
    };
    for (limit, kv_cache) in [(40 << 10, Some(KvFormat::F16)), (20 << 10, None)] {
        let error = bound(limit, kv_cache).unwrap_err();
        assert_eq!(error.code(), "buffer-limit", "{error}");
    }
    bound(40 << 10, None).expect("bytes fit");
    let error = load(folder, LoadOptions { context_length: Some(513), ..on_gpu() }).unwrap_err();
    assert_eq!(error.code(), "invalid-argument", "{error}");
}
