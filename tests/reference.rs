//! Compares a real model with transformers: `MINKE_REFERENCE` (a file like `tests/golden/smollm2.json`) and
//! `MINKE_REFERENCE_MODEL` (its GGUF; by default SmolLM2-135M-Instruct, which `cargo xtask test` fetches).
//!
//! The processor runs every prompt; a GPU runs the longest prompt and, in its base kernels, the text to score, or every prompt with
//! `MINKE_ALL` (`cargo xtask soak cases`).
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;

use common::{all_logits, argmax, block_on, data, load, on_cpu, on_gpu};
use minke::Cancel;
use minke::engine::{Engine, FinishReason, GenerateOptions, Input, LoadOptions, RunOn};
use minke::gpu::DeviceOptions;
use minke::kernels::{KvFormat, Variants};
use minke::model::Quantization;
use minke::plan::Plan;
use minke::text::Message;
use serde_json::Value;

/// The reference's logits are rounded to four decimals, and the engine's depend on an f16 KV cache.
const LOGIT: f32 = 0.05;
/// The tolerance with a q8 KV cache: a fiftieth of the largest logits, which are above 20.
const Q8_LOGIT: f32 = 1.0;
/// Tokens of a continuation that are compared on a GPU: on a software adapter each costs a quarter of a second.
const ON_A_GPU: usize = 12;
/// A margin below which the argmax may differ.
const MARGIN: f64 = 0.1;

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|v| v.as_u64().expect("an id") as u32).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn messages(case: &Value) -> Vec<Message> {
    serde_json::from_value(case["messages"].clone()).expect("messages")
}

/// The prompt as engine input, checked against the reference's ids.
fn input_of(engine: &Engine, case: &Value) -> (Input, bool) {
    let want = ids(&case["ids"]);
    if let Some(prompt) = case["prompt"].as_str() {
        assert_eq!(engine.tokenizer().encode(prompt, true).expect("ids"), want, "{prompt:?}");
        return (Input::Text(prompt.to_owned()), true);
    }
    let messages = messages(case);
    let prompt = engine.encode_messages(&messages, &[], true, &Default::default()).expect("a prompt");
    assert_eq!(prompt.text, case["rendered"].as_str().expect("rendered"));
    assert_eq!(prompt.ids, want);
    (Input::Messages(messages), false)
}

/// A case with `most` tokens of its continuation.
fn shortened(case: &Value, most: usize) -> Value {
    let mut case = case.clone();
    for list in ["greedy_ids", "margins", "top10"] {
        case[list].as_array_mut().expect("a list").truncate(most);
    }
    case
}

/// Compares the top logits along the reference's continuation.
fn teacher_forced(engine: &Engine, case: &Value, what: &str, limit: f32, margin: f64) -> f32 {
    let (prompt, greedy, margins) = (ids(&case["ids"]), ids(&case["greedy_ids"]), floats(&case["margins"]));
    let rows = all_logits(engine, &[prompt.clone(), greedy.clone()].concat());
    let mut worst = 0.0f32;
    for (step, top) in case["top10"].as_array().expect("top10").iter().enumerate() {
        let row = &rows[prompt.len() - 1 + step];
        for (id, want) in ids(&top["ids"]).into_iter().zip(floats(&top["logits"])) {
            let error = (row[id as usize] - want as f32).abs();
            assert!(error <= limit, "{what}: logit {id} of step {step} is {}, expected {want}", row[id as usize]);
            worst = worst.max(error);
        }
        if margins[step] > margin {
            assert_eq!(argmax(row) as u32, greedy[step], "{what}: argmax of step {step}");
        }
    }
    worst
}

/// Compares the engine's greedy continuation up to the first difference, which only a narrow margin allows, or the end
/// of the sequence.
fn free_running(engine: &Engine, case: &Value, what: &str, margin: f64) -> usize {
    let (input, raw) = input_of(engine, case);
    let (want, margins) = (ids(&case["greedy_ids"]), floats(&case["margins"]));
    let options = GenerateOptions {
        raw,
        temperature: Some(0.0),
        max_output_tokens: Some(want.len() as f64),
        ..GenerateOptions::default()
    };
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let result = block_on(engine.generate(input, &options, &cancel, &mut quiet)).expect("a generation");
    let compared = result.ids.iter().zip(&want).take_while(|(got, want)| got == want).count();
    if compared < result.ids.len() {
        assert!(margins[compared] <= margin, "{what}: token {compared} of {:?}", result.text);
    }
    // The second half again, from the KV cache of the first run.
    let half = compared / 2;
    if half > 0 {
        let said = Input::Ids([&ids(&case["ids"]), &want[..half]].concat());
        let rest = GenerateOptions { raw: false, max_output_tokens: Some((compared - half) as f64), ..options };
        let again = block_on(engine.generate(said, &rest, &cancel, &mut quiet)).expect("a generation");
        assert_eq!(again.ids, want[half..compared], "{what}: from the middle");
        assert_eq!(again.usage.cached_tokens, again.usage.input_tokens - 1, "{what}");
    }
    if result.ids.len() < want.len() {
        assert_eq!(result.finish_reason, FinishReason::Stop, "{what}");
    }
    compared
}

#[test]
fn reference() {
    hold_against_reference(LoadOptions { kv_cache: Some(KvFormat::F16), ..on_cpu() }, 0.01, &|_| true);
}

#[test]
fn reference_on_a_gpu() {
    holds_on_a_gpu(Variants::default());
}

#[test]
fn reference_by_subgroups_and_16_bit_floats() {
    holds_on_a_gpu(Variants { subgroups: true, f16: true, ..Variants::default() });
}

#[test]
fn reference_by_subgroups_and_bytes() {
    holds_on_a_gpu(Variants { subgroups: true, int8: true, ..Variants::default() });
}

#[test]
fn reference_with_a_cache_of_bytes() {
    hold_against_reference(LoadOptions { kv_cache: Some(KvFormat::Q8), ..on_cpu() }, 0.02, &|_| true);
}

/// The longest prompt, whose prefill fills whole tiles, and for the base kernels the text to score; with `MINKE_ALL` every case.
fn holds_on_a_gpu(variants: Variants) {
    let Some((reference, _)) = reference_data() else { return };
    let prompts = reference["cases"].as_array().expect("cases").iter().filter(|case| case["greedy_ids"].is_array());
    let longest = prompts.max_by_key(|case| ids(&case["ids"]).len()).expect("a prompt");
    let all = std::env::var_os("MINKE_ALL").is_some();
    let options = LoadOptions { kv_cache: Some(KvFormat::F16), variants: Some(variants), ..on_gpu() };
    let base = variants == Variants::default();
    let wanted = |case: &Value| all || case == longest || base && case["score_text"].is_string();
    hold_against_reference(options, 0.01, &wanted);
}

/// Runs the cases that are `wanted`; the mean of the text's log-probabilities may be off by `nll`.
fn hold_against_reference(options: LoadOptions, nll: f64, wanted: &dyn Fn(&Value) -> bool) {
    let Some((reference, model)) = reference_data() else { return };
    let variants = options.variants.unwrap_or_default();
    let engine = load(&model, options).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
    let plans = engine.plans();
    let runs = |plan: &Plan, name| plan.steps.iter().any(|step| step.shader.id.to_string().starts_with(name));
    assert_eq!(runs(&plans.decode, "subgroups/"), variants.subgroups);
    assert_eq!(runs(&plans.prefill, "f16/"), variants.f16);
    assert_eq!(runs(&plans.prefill, "int8/"), variants.int8);
    let (limit, margin) =
        if options.kv_cache == Some(KvFormat::Q8) { (Q8_LOGIT, f64::from(Q8_LOGIT)) } else { (LOGIT, MARGIN) };
    for case in reference["cases"].as_array().expect("cases").iter().filter(|case| wanted(case)) {
        if let Some(text) = case["score_text"].as_str() {
            let (want, cancel) = (case["mean_nll"].as_f64().expect("mean_nll"), Cancel::default());
            let scores = block_on(engine.score(Input::Text(text.to_owned()), true, 3, &cancel)).expect("scores");
            let mean = -scores.iter().map(|s| s.logprob).sum::<f64>() / scores.len() as f64;
            println!("score: mean_nll {mean:.4}, expected {want:.4}");
            assert!((mean - want).abs() <= nll, "mean_nll is {mean}, expected {want}");
            for (got, want) in scores.iter().zip(floats(&case["logprobs"])) {
                assert!(
                    (got.logprob - want).abs() < f64::from(limit),
                    "{:?}: {}, expected {want}",
                    got.token,
                    got.logprob
                );
                assert_eq!(got.top.as_ref().map(Vec::len), Some(3));
            }
            continue;
        }
        let what = case["prompt"].as_str().unwrap_or("chat");
        let case = &shortened(case, if options.run_on == RunOn::Gpu { ON_A_GPU } else { usize::MAX });
        let worst = teacher_forced(&engine, case, what, limit, margin);
        let compared = free_running(&engine, case, what, margin);
        println!("{what:?}: top-10 logits within {worst:.4}, {compared} free-running tokens equal");
    }
}

fn reference_data() -> Option<(Value, PathBuf)> {
    let file = data("MINKE_REFERENCE", "tests/golden/smollm2.json")?;
    let model = data("MINKE_REFERENCE_MODEL", ".cache/SmolLM2-135M-Instruct.Q4_1.gguf")?;
    let text = std::fs::read(file).expect("the reference");
    Some((serde_json::from_slice(&text).expect("JSON"), model))
}

/// With bindings of 1 MiB at most, every large tensor is in parts, and the references hold.
#[test]
fn reference_in_parts() {
    let Some((reference, model)) = reference_data() else { return };
    let device = DeviceOptions { max_binding: Some(1 << 20), ..DeviceOptions::default() };
    // With such a small binding limit, f16 would leave a short context, so that the default cache would be q8.
    let kv_cache = Some(KvFormat::F16);
    let engine = load(&model, LoadOptions { device, kv_cache, ..on_gpu() }).expect("it loads");
    let parts = |label: &str| engine.plans().decode.steps.iter().filter(|s| s.label == label).count();
    println!("parts: embed {}, head {}, l0.mlp.gate_up {}", parts("embed"), parts("head"), parts("l0.mlp.gate_up"));
    assert!(parts("embed") > 1 && parts("head") > 1);
    let case = &shortened(&reference["cases"][0], ON_A_GPU);
    teacher_forced(&engine, case, "in parts", LOGIT, MARGIN);
    free_running(&engine, case, "in parts", MARGIN);
}

/// The same model as a Hugging Face folder of sharded bf16 safetensors: unquantised, and quantised at load.
#[test]
fn reference_as_safetensors() {
    let Some((reference, _)) = reference_data() else { return };
    let Some(folder) = data("MINKE_REFERENCE_FOLDER", ".cache/SmolLM2-135M-Instruct") else { return };
    let cases = reference["cases"].as_array().expect("cases");
    let scored = cases.iter().find(|c| c["score_text"].is_string()).expect("a text to score");
    let (text, want) = (scored["score_text"].as_str().expect("text"), scored["mean_nll"].as_f64().expect("mean_nll"));
    for (quantization, name, limit) in
        [(Quantization::None, "bf16", 0.005), (Quantization::Q8, "q8", 0.02), (Quantization::Q4, "q4+q8", 0.5)]
    {
        let options =
            LoadOptions { quantization: Some(quantization), context_length: Some(512), ..LoadOptions::default() };
        let engine = load(&folder, options).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        assert_eq!(engine.info().quantization, name);
        let input = Input::Text(text.to_owned());
        let scores = block_on(engine.score(input, true, 0, &Cancel::default())).expect("scores");
        let mean = -scores.iter().map(|s| s.logprob).sum::<f64>() / scores.len() as f64;
        println!(
            "safetensors as {name}: mean_nll {mean:.4}, {:+.4}; weights {} bytes",
            mean - want,
            engine.memory().weights
        );
        assert!((mean - want).abs() <= limit, "{name}: mean_nll is {mean}, expected {want}");
        if quantization == Quantization::None {
            for case in cases.iter().filter(|c| c["greedy_ids"].is_array()) {
                input_of(&engine, case);
            }
            let longest = &cases[0];
            // Rounding the weights to bf16 moves logits by a few hundredths.
            println!("{} free-running tokens equal", free_running(&engine, longest, "safetensors", MARGIN));
        }
    }
}
