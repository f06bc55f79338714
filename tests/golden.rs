//! Whole models against Hugging Face transformers: `MINKE_GOLDEN` (a folder like `../shared/data/golden`).
//!
//! For every case whose architecture is built: all logits of prompt and continuation, and the greedy continuation
//! token by token through the KV cache; in the f32 mode and in the normal one. A case whose architecture is not built
//! must be refused by name.
#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use common::golden::{check, f16_tolerance, golden as golden_facts, golden_logits, greedy, ids};
use common::{all_logits, data, load};
use minke::Error;
use minke::engine::LoadOptions;
use minke::gpu::DeviceOptions;
use minke::kernels::{KvFormat, Variants};
use minke::model::Quantization;

/// Heads of several widths, windows, chunks, sinks, a latent.
const Q8_CASES: [&str; 8] =
    ["llama", "qwen2", "qwen3", "mistral", "gemma3_text", "gpt_oss", "llama4_text", "deepseek_v2"];

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

#[test]
fn golden() {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    let (mut passed, mut refused) = (0, 0);
    for folder in cases(&root) {
        let name = folder.strip_prefix(&root).unwrap_or(&folder).display().to_string();
        let f32_mode = LoadOptions { f32: true, ..LoadOptions::default() };
        let from = whole(&folder);
        let open = |options| load(&from, options);
        match check(&folder, &name, &open, f32_mode, 1e-3) {
            Ok(worst) => {
                let tolerance = f16_tolerance(&folder);
                let normal = check(&folder, &name, &open, LoadOptions::default(), tolerance);
                let normal = normal.expect("it loads in f32");
                if let Some(first) = split(&folder) {
                    let open = |options| load(&first, options);
                    check(&folder, &name, &open, f32_mode, 1e-3).unwrap_or_else(|e| panic!("{name}, split: {e}"));
                    println!("{name}: the same from its parts");
                }
                println!("{name}: f32 mode {worst:.1e}, normal mode {normal:.1e} (at most {tolerance:.1e})");
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

/// A variant that computes in f32 holds the same references.
fn variant_holds(name: &str, variants: Variants) {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    for case in Q8_CASES {
        let folder = root.join("models").join(case);
        for (f32, tolerance) in [(true, 1e-3), (false, f16_tolerance(&folder))] {
            let options = LoadOptions { f32, variants: Some(variants), ..LoadOptions::default() };
            let open = |options| load(&folder, options);
            let engine = open(options).unwrap_or_else(|e| panic!("{case}: {e}"));
            let steps = engine.plans().all().map(|plan| plan.steps.as_slice()).concat();
            let own = steps.iter().filter(|step| step.shader.name.starts_with(name)).count();
            assert!(own > 0, "{case}: no variant runs");
            let worst = check(&folder, case, &open, options, tolerance).unwrap_or_else(|e| panic!("{case}: {e}"));
            println!("{case}: {own} steps by {name}, {worst:.1e}");
        }
    }
}

#[test]
fn software_adapters_compute_the_same() {
    variant_holds("software/", Variants { software: true, ..Variants::default() });
}

#[test]
fn subgroups_compute_the_same() {
    variant_holds("subgroups/", Variants { subgroups: true, ..Variants::default() });
}

/// Caches of what a layer can still see, in chunks so small that prompts go around them several times.
#[test]
fn windows_and_chunks_go_around_their_caches() {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    for case in ["gemma3_text", "gpt_oss", "llama4_text", "mistral", "phi3"] {
        let folder = root.join("models").join(case);
        let half = f16_tolerance(&folder);
        for (f32, chunk, tolerance) in [(true, 5, 1e-3), (true, 1, 1e-3), (false, 16, half)] {
            let options = LoadOptions { f32, chunk: Some(chunk), queued_steps: Some(3), ..LoadOptions::default() };
            let open = |options| load(&folder, options);
            let worst = check(&folder, case, &open, options, tolerance).unwrap_or_else(|e| panic!("{case}: {e}"));
            println!("{case} in chunks of {chunk}: {worst:.1e}");
        }
    }
}

/// Numbers that are rounded more than by a cache of f16: logits within `factor` times its limit of the golden ones, or of those by other
/// options, and the same greedy tokens up to where two logits are closer than that. In mixtures a quarter of the rows may be
/// further off, where another expert was chosen.
fn rounding_shows_little(what: &str, options: LoadOptions, other: Option<LoadOptions>, factor: f64) {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    for case in Q8_CASES {
        let folder = root.join("models").join(case);
        if !folder.join("golden.json").exists() {
            continue;
        }
        let engine = load(&folder, options);
        let engine = engine.unwrap_or_else(|e| panic!("{case}: {e}"));
        let steps = &engine.plans().prefill.steps;
        let variants = options.variants.is_some_and(|variants| variants != Variants::default());
        assert!(!variants || steps.iter().any(|step| step.shader.name.contains('/')), "{case}: no variant runs");
        let other = other.map(|options| load(&folder, options).unwrap_or_else(|e| panic!("{case}: {e}")));
        let limit = factor * f16_tolerance(&folder);
        let facts = golden_facts(&folder);
        let (mut rows, mut compared) = (Vec::new(), 0);
        for (prompt, facts) in facts["prompts"].as_object().expect("prompts") {
            let (prompt_ids, mut want) = (ids(&facts["ids"]), ids(&facts["greedy_ids"]));
            let Some(mut logits) = golden_logits(&folder, prompt) else { continue };
            if let Some(other) = &other {
                want = greedy(other, &prompt_ids, want.len());
                logits = all_logits(other, &[prompt_ids.clone(), want.clone()].concat());
            }
            let got = all_logits(&engine, &[prompt_ids.clone(), want.clone()].concat());
            for (got, want) in got.iter().zip(&logits) {
                let off = got.iter().zip(want).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
                rows.push(off);
            }
            let narrow = logits[prompt_ids.len() - 1..].iter().take(want.len()).position(|row| {
                let mut row = row.clone();
                row.sort_by(|a, b| b.total_cmp(a));
                f64::from(row[0] - row[1]) <= 2.0 * limit
            });
            let n = narrow.unwrap_or(want.len());
            let tokens = greedy(&engine, &prompt_ids, want.len());
            assert_eq!(tokens[..n], want[..n], "{case} {prompt}: greedy through the cache");
            compared += n;
        }
        let flips = if facts["min_router_gap"].is_number() { rows.len() / 4 } else { 0 };
        rows.sort_by(f64::total_cmp);
        let worst = rows[rows.len() - 1 - flips];
        println!(
            "{case}: {what} within {worst:.1e} (at most {limit:.1e}) but for {flips} rows, {:.1e} in the middle; {compared} greedy tokens compared",
            rows[rows.len() / 2]
        );
        assert!(worst <= limit, "{case}: {worst} is more than {limit}");
    }
}

/// Its steps are eight times as long as those of f16 for the largest values and longer for others.
#[test]
fn a_cache_of_bytes_is_a_little_less_exact() {
    let options = LoadOptions { kv_cache: Some(KvFormat::Q8), ..LoadOptions::default() };
    rounding_shows_little("q8 cache", options, None, 6.0);
}

#[test]
fn tiles_of_16_bit_floats_round_as_a_cache_of_them() {
    let variants = Some(Variants { f16: true, ..Variants::default() });
    rounding_shows_little("f16 tiles", LoadOptions { variants, ..LoadOptions::default() }, None, 1.0);
}

/// Only quantised weights are multiplied so: beside the same ones by f32.
#[test]
fn tiles_of_bytes_compute_the_same() {
    let variants = Some(Variants { int8: true, ..Variants::default() });
    let own = LoadOptions { quantization: Some(Quantization::Q8), ..LoadOptions::default() };
    rounding_shows_little("tiles of bytes", LoadOptions { variants, ..own }, Some(own), 1.0);
}

/// What a failure above would report: where a model begins to differ.
#[test]
fn layers_are_those_of_the_reference() {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    for case in ["llama", "gemma3_text", "gpt_oss", "deepseek_v3"] {
        let folder = root.join("models").join(case);
        if folder.join("golden.json").exists() {
            let found = common::layers::differences(&folder).expect("layers");
            assert!(found.len() > 2 && found.iter().all(|d| *d < 1e-3), "{case}: {}", common::layers::report(&folder));
        }
    }
}

/// Tensors in many parts give the same logits.
#[test]
fn small_bindings_change_nothing() {
    let Some(root) = data("MINKE_GOLDEN", "../shared/data/golden") else { return };
    for case in ["models/llama", "gguf/qwen2_tied"] {
        let folder = root.join(case);
        if !folder.join("golden.json").exists() {
            continue;
        }
        let device = DeviceOptions { max_binding: Some(48 << 10), ..DeviceOptions::default() };
        let options = LoadOptions { f32: true, device, ..LoadOptions::default() };
        let from = whole(&folder);
        check(&folder, case, &|options| load(&from, options), options, 1e-3).unwrap_or_else(|e| panic!("{case}: {e}"));
    }
}
