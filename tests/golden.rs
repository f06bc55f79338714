//! Compares whole models with Hugging Face transformers: `MINKE_GOLDEN`, or the cases that `cargo xtask setup` unpacks.
//!
//! For every case with a supported architecture: all logits of prompt and continuation, and the greedy continuation
//! token by token through the KV cache, in f32 mode and in normal mode. A case of an architecture that is not built
//! must be refused by its name, which `REFUSED` lists.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::golden::{check, compare_with_rounding, f16_tolerance};
use common::{data, load};
use minke::Error;
use minke::engine::LoadOptions;
use minke::gpu::DeviceOptions;
use minke::kernels::KvFormat;
use minke::model::ARCHITECTURES;

/// The folders of a golden tree that hold a `golden.json`.
fn cases(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![root.join("models"), root.join("gguf")];
    look.retain(|folder| folder.is_dir());
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

/// The path that a case is loaded from: the folder, or its GGUF.
fn whole(folder: &Path) -> PathBuf {
    let model = folder.join("model.gguf");
    if model.exists() { model } else { folder.to_path_buf() }
}

/// The first part of a case's split GGUF, if it has one.
fn split(folder: &Path) -> Option<PathBuf> {
    let parts = std::fs::read_dir(folder.join("split")).ok()?;
    parts.map(|e| e.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "gguf")).min()
}

/// Architectures that are not built, as config.json and GGUF name them. A case of one must be refused by that name; a refusal of any
/// other fails the test. The project's own cases have none of them.
#[rustfmt::skip] // many on a line
const REFUSED: &[&str] = &[
    "cohere2", "deepseek_v32", "deepseek_v4", "ernie4_5", "exaone4", "gemma2", "gemma4", "gemma4_text",
    "glm4", "glm4_moe", "glm4_moe_lite", "granite", "granitemoehybrid", "hunyuan_v1_dense", "lfm2",
    "lfm2_moe", "lfm2moe", "ministral3", "olmo2", "olmo3", "qwen35", "qwen35moe",
    "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "qwen3next", "seed_oss",
];

#[test]
fn golden() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let (mut passed, mut refused) = (0, 0);
    for folder in cases(&root) {
        let name = folder.strip_prefix(&root).unwrap_or(&folder).display().to_string();
        let f32_mode = LoadOptions { f32: true, ..LoadOptions::default() };
        let from = whole(&folder);
        let open = |options| load(&from, options);
        let worst = match check(&folder, &name, &open, f32_mode, 1e-3) {
            Ok(worst) => worst,
            Err(Error::Architecture { name: architecture, .. }) if REFUSED.contains(&&*architecture) => {
                println!("{name}: refused, {architecture} is not built");
                refused += 1;
                continue;
            }
            Err(e) => panic!("{name}: {e}"),
        };
        let tolerance = f16_tolerance(&folder);
        let normal = check(&folder, &name, &open, LoadOptions::default(), tolerance).expect("it loads in f32");
        if let Some(first) = split(&folder) {
            let open = |options| load(&first, options);
            check(&folder, &name, &open, f32_mode, 1e-3).unwrap_or_else(|e| panic!("{name}, split: {e}"));
            println!("{name}: the same from its parts");
        }
        println!("{name}: f32 mode {worst:.1e}, normal mode {normal:.1e} (at most {tolerance:.1e})");
        passed += 1;
    }
    println!("{passed} cases hold, {refused} are refused as expected");
    assert!(passed > 0, "no case of {} is of an architecture that is built", root.display());
}

#[test]
fn what_is_built_is_not_expected_to_be_refused() {
    let built = ARCHITECTURES.iter().map(|architecture| architecture.name());
    assert_eq!(built.filter(|name| REFUSED.contains(name)).collect::<Vec<_>>(), [""; 0]);
}

/// Ring-buffer caches, with chunks so small that prompts wrap around several times.
#[test]
fn windows_and_chunks_go_around_their_caches() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    for case in ["gemma3_text", "gpt_oss", "llama4_text", "mistral", "phi3"] {
        let Some(folder) = common::case(&root, &format!("models/{case}")) else { continue };
        let half = f16_tolerance(&folder);
        for (f32, chunk, tolerance) in [(true, 5, 1e-3), (true, 1, 1e-3), (false, 16, half)] {
            let options = LoadOptions { f32, chunk: Some(chunk), queued_steps: Some(3), ..LoadOptions::default() };
            let open = |options| load(&folder, options);
            let worst = check(&folder, case, &open, options, tolerance).unwrap_or_else(|e| panic!("{case}: {e}"));
            println!("{case} in chunks of {chunk}: {worst:.1e}");
        }
    }
}

/// Compared with a cache of f16: the quantisation steps of q8 are eight times those of f16 for the largest values, and larger for
/// others.
#[test]
fn a_q8_cache_is_slightly_less_exact() {
    let options = LoadOptions { kv_cache: Some(KvFormat::Q8), ..LoadOptions::default() };
    compare_with_rounding("q8 cache", options, Some(LoadOptions::default()), 6.0);
}

/// Tests the report of a failure: where a model begins to differ.
#[test]
fn layers_are_those_of_the_reference() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    for case in ["llama", "gemma3_text", "gpt_oss", "deepseek_v3"] {
        let Some(folder) = common::case(&root, &format!("models/{case}")) else { continue };
        let found = common::layers::differences(&folder).expect("layers");
        assert!(found.len() > 2 && found.iter().all(|d| *d < 1e-3), "{case}: {}", common::layers::report(&folder));
    }
}

/// Tensors that are split into many parts give the same logits.
#[test]
fn small_bindings_change_nothing() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    for case in ["models/llama", "gguf/qwen2_tied"] {
        let Some(folder) = common::case(&root, case) else { continue };
        let device = DeviceOptions { max_binding: Some(48 << 10), ..DeviceOptions::default() };
        let options = LoadOptions { f32: true, device, ..LoadOptions::default() };
        let from = whole(&folder);
        check(&folder, case, &|options| load(&from, options), options, 1e-3).unwrap_or_else(|e| panic!("{case}: {e}"));
    }
}
