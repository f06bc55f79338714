//! Compares whole models with Hugging Face transformers: `MINKE_GOLDEN`, or the cases that `cargo xtask setup` unpacks.
//!
//! For every case with a supported architecture: all logits of prompt and continuation, and the greedy continuation
//! token by token through the KV cache, on a GPU, in f32 mode and in normal mode. A case of an architecture that is not built
//! must be refused by its name, which `REFUSED` lists.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::golden::{WIDE_CASES, check, compare_with_rounding, f16_tolerance};
use common::{data, load, on_cpu, on_gpu};
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

/// Runs every case that is built with the options and tolerance that `mode` gives for its folder.
fn every_case(mode: impl Fn(&Path) -> (LoadOptions, f64)) {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let (mut passed, mut refused) = (0, 0);
    for folder in cases(&root) {
        let name = folder.strip_prefix(&root).unwrap_or(&folder).display().to_string();
        let (options, tolerance) = mode(&folder);
        for from in [Some(whole(&folder)), split(&folder)].into_iter().flatten() {
            match check(&folder, &name, &|options| load(&from, options), options, tolerance) {
                Ok(worst) => println!("{}: {worst:.1e} (at most {tolerance:.1e})", from.display()),
                Err(Error::Architecture { name: architecture, .. }) if REFUSED.contains(&&*architecture) => {
                    println!("{name}: refused, {architecture} is not built");
                    refused += 1;
                    continue;
                }
                Err(e) => panic!("{}: {e}", from.display()),
            }
            passed += 1;
        }
    }
    println!("{passed} cases hold, {refused} are refused as expected");
    assert!(passed > 0, "no case of {} is of an architecture that is built", root.display());
}

#[test]
fn golden_in_f32_mode() {
    every_case(|_| (LoadOptions { f32: true, ..on_gpu() }, 1e-3));
}

#[test]
fn golden_in_normal_mode() {
    every_case(|folder| (on_gpu(), f16_tolerance(folder)));
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
        let modes = [(on_gpu(), true, 5, 1e-3), (on_cpu(), true, 1, 1e-3), (on_cpu(), false, 16, half)];
        for (device, f32, chunk, tolerance) in modes {
            let options = LoadOptions { f32, chunk: Some(chunk), queued_steps: Some(3), ..device };
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
    for (cases, device) in [(&WIDE_CASES[..], on_cpu()), (&["gemma3_text", "gpt_oss", "deepseek_v2"], on_gpu())] {
        let options = LoadOptions { kv_cache: Some(KvFormat::Q8), ..device };
        compare_with_rounding("q8 cache", cases, options, Some(device), 6.0);
    }
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
        let options = LoadOptions { f32: true, device, ..on_gpu() };
        let from = whole(&folder);
        check(&folder, case, &|options| load(&from, options), options, 1e-3).unwrap_or_else(|e| panic!("{case}: {e}"));
    }
}
