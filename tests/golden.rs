//! Whole models against Hugging Face transformers: `MINKE_GOLDEN` (a folder like `../shared/data/golden`).
//!
//! For every case whose architecture is built: all logits of prompt and continuation, and the greedy continuation
//! token by token through the KV cache; in the f32 mode and in the normal one. A case whose architecture is not built
//! must be refused by name.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::{all_logits, block_on, data, load};
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions};
use minke::gpu::DeviceOptions;
use minke::weights::{DiskFile, dequantize_rows, safetensors};
use minke::{Cancel, Error};
use serde_json::Value;

/// The folders of a golden tree that hold a `golden.json`.
fn cases(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![root.to_path_buf()];
    while let Some(folder) = look.pop() {
        if folder.join("golden.json").exists() {
            found.push(folder.clone());
        }
        let entries = std::fs::read_dir(&folder).expect("a readable folder");
        look.extend(entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_dir()));
    }
    found.sort();
    found
}

/// The tensor `logits.<prompt>` of a case, as rows; prompts that were made from a chat have none.
fn golden_logits(folder: &Path, prompt: &str) -> Option<Vec<Vec<f32>>> {
    block_on(async {
        use minke::weights::ByteSource;
        let file = DiskFile::open(folder.join("golden.safetensors")).expect("golden.safetensors");
        let header = safetensors::read_header(&file, 0).await.expect("a header");
        let entry = header.get(&format!("logits.{prompt}"))?;
        let bytes = file.read(entry.range.clone()).await.expect("the tensor");
        let k = entry.k() as usize;
        Some(dequantize_rows(entry.dtype, k, &bytes).expect("f32").chunks(k).map(<[f32]>::to_vec).collect())
    })
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|v| v.as_u64().expect("an id") as u32).collect()
}

fn greedy(engine: &Engine, prompt: &[u32], n: usize) -> Vec<u32> {
    let options = GenerateOptions { max_output_tokens: Some(n as f64), temperature: Some(0.0), ..Default::default() };
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let run = engine.generate(Input::Ids(prompt.to_vec()), &options, &cancel, &mut quiet);
    block_on(run).expect("a generation").ids
}

/// What a case is loaded from: the folder, or its GGUF.
fn whole(folder: &Path) -> PathBuf {
    let model = folder.join("model.gguf");
    if model.exists() { model } else { folder.to_path_buf() }
}

/// The first part of a case's split GGUF, where it has one.
fn split(folder: &Path) -> Option<PathBuf> {
    let parts = std::fs::read_dir(folder.join("split")).ok()?;
    parts.map(|e| e.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "gguf")).min()
}

/// The original context of a model with LongRoPE.
fn long_rope(folder: &Path) -> Option<usize> {
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).ok()?).ok()?;
    let scaling = ["rope_parameters", "rope_scaling"].map(|key| &config[key]).into_iter().find(|it| it.is_object())?;
    let long = ["rope_type", "type"].iter().any(|key| scaling[key] == "longrope" || scaling[key] == "su");
    let original = [&config, scaling].into_iter().find_map(|it| it["original_max_position_embeddings"].as_u64());
    let own = config["max_position_embeddings"].as_u64().expect("a length");
    long.then(|| original.unwrap_or(own).min(own) as usize)
}

/// Runs one case in one mode and returns the largest difference of a logit.
fn check(folder: &Path, from: &Path, golden: &Value, options: LoadOptions, tolerance: f64) -> Result<f64, Error> {
    let name = from.display();
    let mut engine = load(from, options)?;
    let reference = match golden["golden_from"].as_str() {
        Some(sibling) => folder.with_file_name(sibling),
        None => folder.to_path_buf(),
    };
    let original = long_rope(folder);
    // Two experts may score so nearly alike that the 16-bit cache decides between them; for one token that is accepted.
    let gap = golden["min_router_gap"].as_f64().unwrap_or(f64::INFINITY);
    let mut flips = usize::from(!options.f32 && gap < 1e-3);
    let mut worst = 0.0f64;
    for (prompt, facts) in golden["prompts"].as_object().expect("prompts") {
        let (prompt_ids, want) = (ids(&facts["ids"]), ids(&facts["greedy_ids"]));
        // LongRoPE has a set of factors for each kind of context; transformers goes by the tokens so far.
        if let Some(original) = original {
            let context = if prompt_ids.len() + want.len() > original { None } else { Some(original) };
            engine = load(folder, LoadOptions { context_length: context, ..options })?;
        }
        if let Some(logits) = golden_logits(&reference, prompt) {
            let got = all_logits(&engine, &[prompt_ids.clone(), want.clone()].concat());
            assert_eq!(got.len(), logits.len(), "{name} {prompt}: rows");
            for (t, (got, want)) in got.iter().zip(&logits).enumerate() {
                assert_eq!(got.len(), want.len(), "{name} {prompt}: vocabulary");
                let row = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0f32, f32::max);
                if f64::from(row) > tolerance && flips > 0 {
                    flips -= 1;
                    println!("{name} {prompt}: token {t} is off by {row:.2}, another expert was chosen");
                    continue;
                }
                for (i, (got, want)) in got.iter().zip(want).enumerate() {
                    let error = f64::from((got - want).abs());
                    assert!(
                        error <= tolerance,
                        "{name} {prompt}: logit {i} of token {t} is {got}, expected {want} within {tolerance}"
                    );
                    worst = worst.max(error);
                }
            }
        }
        assert_eq!(greedy(&engine, &prompt_ids, want.len()), want, "{name} {prompt}: greedy through the KV cache");
    }
    Ok(worst)
}

#[test]
fn golden() {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    let (mut passed, mut refused) = (0, 0);
    for folder in cases(&root) {
        let text = std::fs::read(folder.join("golden.json")).expect("golden.json");
        let golden: Value = serde_json::from_slice(&text).expect("JSON");
        let name = folder.strip_prefix(&root).unwrap_or(&folder).display().to_string();
        let f32_mode = LoadOptions { f32: true, ..LoadOptions::default() };
        match check(&folder, &whole(&folder), &golden, f32_mode, 1e-3) {
            Ok(worst) => {
                let noise = golden["noise_medium"]["f16"]["max_abs"].as_f64().expect("the noise of f16");
                let normal = check(&folder, &whole(&folder), &golden, LoadOptions::default(), 3.0 * noise);
                let normal = normal.expect("it loads in f32");
                if let Some(first) = split(&folder) {
                    check(&folder, &first, &golden, f32_mode, 1e-3).unwrap_or_else(|e| panic!("{name}, split: {e}"));
                    println!("{name}: the same from its parts");
                }
                println!("{name}: f32 mode {worst:.1e}, normal mode {normal:.1e} (f16 noise {noise:.1e})");
                passed += 1;
            }
            Err(Error::Architecture { name: architecture, .. }) => {
                println!("{name}: refused, {architecture} is not built");
                refused += 1;
            }
            Err(Error::Dtype { tensor, dtype }) => {
                println!("{name}: refused, {tensor} is {dtype}");
                refused += 1;
            }
            Err(e) => panic!("{name}: {e}"),
        }
    }
    println!("{passed} cases hold, {refused} refused by name");
    assert!(passed > 0, "no case of {} has an architecture that is built", root.display());
}

/// Tensors in many parts give the same logits.
#[test]
fn small_bindings_change_nothing() {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    for case in ["models/llama", "gguf/qwen2_tied"] {
        let folder = root.join(case);
        let Ok(text) = std::fs::read(folder.join("golden.json")) else { continue };
        let golden: Value = serde_json::from_slice(&text).expect("JSON");
        let device = DeviceOptions { max_binding: Some(48 << 10), ..DeviceOptions::default() };
        let options = LoadOptions { f32: true, device, ..LoadOptions::default() };
        check(&folder, &whole(&folder), &golden, options, 1e-3).unwrap_or_else(|e| panic!("{case}: {e}"));
    }
}
