//! Tests ring-buffer KV caches of layers with sliding windows or chunked attention: their size, and that results do not
//! change.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::{HOST, all_logits, argmax, block_on, copy, data, load, on_cpu};
use minke::Cancel;
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions, LogitRows, Reasoning, RunOn, accept};
use minke::kernels::KvFormat;
use minke::model::{Model, ModelConfig, ModelOptions};
use minke::plan::Role;
use minke::weights::{Checkpoint, MemoryFolder};
use serde_json::Value;

/// A prefill chunk as long as any context in these tests, so that every cache holds the whole context.
const WHOLE: usize = 1 << 16;

fn golden(case: &str) -> Option<PathBuf> {
    Some(data("MINKE_GOLDEN", ".cache/golden")?.join("models").join(case))
}

/// The case with another maximum position; none of these models scales its RoPE.
fn longer(folder: &Path, positions: usize) -> MemoryFolder {
    copy(folder, |name, bytes| {
        if name == "config.json" {
            let mut config: Value = serde_json::from_slice(bytes).expect("JSON");
            config["max_position_embeddings"] = positions.into();
            *bytes = config.to_string().into_bytes();
        }
    })
}

fn load_from(folder: &MemoryFolder, options: LoadOptions) -> Engine {
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    block_on(Engine::load_folder(folder, None, options, HOST, &cancel, &mut quiet)).expect("it loads")
}

fn in_chunks(chunk: usize) -> LoadOptions {
    LoadOptions { f32: true, chunk: Some(chunk), ..on_cpu() }
}

#[test]
fn ring_buffers_hold_what_layers_attend_to() {
    // Layers that attend to the whole context, layers that attend to 16 tokens, and f32 values per token and layer.
    for (case, whole, near) in [("mistral", 0, 3), ("gemma3_text", 2, 4), ("gpt_oss", 2, 2), ("llama4_text", 1, 3)] {
        let Some(folder) = golden(case) else { return };
        let bytes = |options| {
            load(&folder, LoadOptions { run_on: RunOn::Gpu, ..options }).expect("it loads").memory().kv as usize
        };
        let token = bytes(in_chunks(WHOLE)) / ((whole + near) * 512);
        assert_eq!(bytes(in_chunks(WHOLE)), (whole + near) * 512 * token, "{case}");
        assert_eq!(bytes(in_chunks(40)), (whole * 512 + near * (15 + 40)) * token, "{case}");
        assert_eq!(
            bytes(in_chunks(1)),
            (whole * 512 + near * (15 + 3)) * token,
            "{case}: three steps may be under way"
        );
        // A row of a head takes one byte per value plus four bytes per 64 values.
        let checkpoint = block_on(Checkpoint::open_folder(&longer(&folder, 512), &accept)).expect("it opens");
        let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
        let row = |dim: usize| dim.next_multiple_of(4) + dim.div_ceil(64) * 4;
        let q8 = LoadOptions { kv_cache: Some(KvFormat::Q8), f32: false, ..in_chunks(40) };
        let bytes_of_token = 2 * config.num_kv_heads * row(config.head_dim);
        assert_eq!(bytes(q8), (whole * 512 + near * (15 + 40)) * bytes_of_token, "{case}");
        let short = LoadOptions { context_length: Some(20), ..in_chunks(40) };
        assert_eq!(bytes(short), (whole + near) * 20 * token, "{case}: no more than the context");
    }
}

#[test]
fn the_default_context_is_what_the_budget_holds() {
    for (case, whole, near) in [("mistral", 0, 3), ("gemma3_text", 2, 4), ("llama4_text", 1, 3)] {
        let Some(folder) = golden(case) else { return };
        let checkpoint = block_on(Checkpoint::open_folder(&longer(&folder, 1 << 20), &accept)).expect("it opens");
        let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
        let token = config.kv_widths().iter().sum::<usize>() * 2;
        let model = |kv_budget: usize, max_binding| {
            let kv_format = Some(KvFormat::F16);
            let options =
                ModelOptions { kv_format, kv_budget: kv_budget as u64, max_binding, ..ModelOptions::default() };
            Model::new(&checkpoint, &config, options).expect("a model")
        };
        let kv = |m: &Model| m.buffers.iter().filter(|b| b.role == Role::Kv).map(|b| b.bytes).sum::<u64>() as usize;
        let around = near * (15 + 64) * token;
        let m = model(around + whole * 5000 * token, 128 << 20);
        let expected = if whole > 0 { 5000 } else { 1 << 20 };
        assert_eq!((m.context_length, kv(&m)), (expected, around + whole * expected * token), "{case}");
        let m = model(around - 1, 128 << 20);
        assert!(m.context_length < 79 && kv(&m) < around, "{case}: rings that do not fit are cut");
        let m = model(1 << 30, 100_000);
        let bound = if whole > 0 { 100_000 / (token / 2) } else { 1 << 20 };
        assert_eq!(m.context_length, bound, "{case}: keys of one layer are one binding");
    }
}

/// Hundreds of tokens in ring buffers of 26 slots give the same logits as caches of the whole context.
#[test]
fn ring_buffers_give_the_logits_of_full_caches() {
    for (case, tokens) in [("mistral", 1500), ("gemma3_text", 300), ("gpt_oss", 300), ("llama4_text", 300)] {
        let Some(folder) = golden(case) else { return };
        let folder = longer(&folder, 2000);
        let ids: Vec<u32> = (0..tokens).map(|i| (i * i * 31 + i * 7 + 3) % 480).collect();
        let run = |chunk| {
            let engine = load_from(&folder, LoadOptions { queued_steps: Some(3), ..in_chunks(chunk) });
            let mut last = Vec::new();
            let mut sink = |row: &[f32]| {
                last = row.to_vec();
                Ok(())
            };
            block_on(engine.forward(&ids, LogitRows::Last, &Cancel::default(), &mut sink)).expect("logits");
            let rows = all_logits(&engine, &ids[..100]);
            let options =
                GenerateOptions { max_output_tokens: Some(60.0), temperature: Some(0.0), ..Default::default() };
            let (cancel, mut quiet) = (Cancel::default(), |_| {});
            let run = engine.generate(Input::Ids(ids.clone()), &options, &cancel, &mut quiet);
            (last, rows, block_on(run).expect("a generation").ids, engine.memory().kv)
        };
        let (around, whole) = (run(11), run(WHOLE));
        assert!(around.3 < whole.3, "{case}: {} and {} bytes", around.3, whole.3);
        assert!(around.0 == whole.0 && around.1 == whole.1, "{case}: logits differ");
        assert_eq!(around.0.len(), 512);
        assert_eq!(around.2[0], argmax(&around.0) as u32);
        assert_eq!(around.2, whole.2, "{case}: greedy through the caches");
    }
}

/// The end of reasoning is inserted while decode steps that continued differently are in flight: ring buffers still
/// hold what later queries attend to.
#[test]
fn steps_that_are_taken_back_lose_nothing() {
    const OPENS: &str = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|><think>\n";
    for case in ["mistral", "llama4_text"] {
        let Some(folder) = golden(case) else { return };
        let folder = copy(&folder, |name, bytes| {
            if name == "chat_template.jinja" {
                *bytes = OPENS.as_bytes().to_vec();
            }
        });
        let run = |chunk, queued_steps| {
            let engine = load_from(&folder, LoadOptions { queued_steps: Some(queued_steps), ..in_chunks(chunk) });
            let budgets = [1.0, 7.0, 16.0, 18.0, 29.0];
            budgets.map(|max_tokens| {
                let options = GenerateOptions {
                    max_output_tokens: Some(80.0),
                    temperature: Some(0.0),
                    reasoning: Reasoning::Budget { max_tokens },
                    ..Default::default()
                };
                let (cancel, mut quiet) = (Cancel::default(), |_| {});
                let run = engine.generate(Input::Text("Hi there!".into()), &options, &cancel, &mut quiet);
                let result = block_on(run).expect("an answer");
                assert_eq!((result.usage.reasoning_tokens, result.ids.len()), (max_tokens as usize, 80), "{case}");
                result.ids
            })
        };
        assert_eq!(run(1, 3), run(WHOLE, 1), "{case}");
    }
}
