//! Compares whole models with golden cases: all logits, and the greedy continuation through the KV cache.

use std::path::Path;

use minke::engine::{Engine, GenerateOptions, Input, LoadOptions};
use minke::kernels::Variants;
use minke::weights::{DiskFile, dequantize_rows, safetensors};
use minke::{Cancel, Error};
use serde_json::Value;

use super::{all_logits, block_on, data, layers, load};

/// The reference data of a case.
pub fn golden(folder: &Path) -> Value {
    let text = std::fs::read(folder.join("golden.json")).expect("golden.json");
    serde_json::from_slice(&text).expect("JSON")
}

/// Three times the error of f16 arithmetic.
pub fn f16_tolerance(folder: &Path) -> f64 {
    3.0 * golden(folder)["noise_medium"]["f16"]["max_abs"].as_f64().expect("the noise of f16")
}

/// The rows of the tensor `logits.<prompt>` of a case: those of all tokens, or of the prompt's last token and those after it. Prompts
/// from chats have none.
pub fn golden_logits(folder: &Path, prompt: &str) -> Option<Vec<Vec<f32>>> {
    golden_tensor(folder, &format!("logits.{prompt}"))
}

/// The rows of a tensor of a case.
pub fn golden_tensor(folder: &Path, name: &str) -> Option<Vec<Vec<f32>>> {
    block_on(async {
        use minke::weights::ByteSource;
        let file = DiskFile::open(folder.join("golden.safetensors")).expect("golden.safetensors");
        let header = safetensors::read_header(&file, 0).await.expect("a header");
        let entry = header.get(name)?;
        let bytes = file.read(entry.range.clone()).await.expect("the tensor");
        let k = entry.k() as usize;
        Some(dequantize_rows(entry.dtype, k, &bytes).expect("f32").chunks(k).map(<[f32]>::to_vec).collect())
    })
}

pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|v| v.as_u64().expect("an id") as u32).collect()
}

pub fn greedy(engine: &Engine, prompt: &[u32], n: usize) -> Vec<u32> {
    let options = GenerateOptions { max_output_tokens: Some(n as f64), temperature: Some(0.0), ..Default::default() };
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let run = engine.generate(Input::Ids(prompt.to_vec()), &options, &cancel, &mut quiet);
    block_on(run).expect("a generation").ids
}

/// Runs one case in one mode and returns the largest difference of a logit; `open` loads the model.
pub fn check(
    folder: &Path,
    name: &str,
    open: &dyn Fn(LoadOptions) -> Result<Engine, Error>,
    options: LoadOptions,
    tolerance: f64,
) -> Result<f64, Error> {
    let golden = golden(folder);
    let engine = open(options)?;
    let reference = match golden["golden_from"].as_str() {
        Some(sibling) => folder.with_file_name(sibling),
        None => folder.to_path_buf(),
    };
    // Two experts may score so nearly alike that the 16-bit cache decides between them; for one token that is accepted.
    let gap = golden["min_router_gap"].as_f64().unwrap_or(f64::INFINITY);
    let mut flips = usize::from(!options.f32 && gap < 1e-3);
    let mut worst = 0.0f64;
    for (prompt, facts) in golden["prompts"].as_object().expect("prompts") {
        let (prompt_ids, want) = (ids(&facts["ids"]), ids(&facts["greedy_ids"]));
        if let Some(logits) = golden_logits(&reference, prompt) {
            let got = all_logits(&engine, &[prompt_ids.clone(), want.clone()].concat());
            assert!((want.len() + 1..=got.len()).contains(&logits.len()), "{name} {prompt}: {} rows", logits.len());
            let before = got.len() - logits.len();
            for (t, (got, want)) in (before..).zip(got[before..].iter().zip(&logits)) {
                assert_eq!(got.len(), want.len(), "{name} {prompt}: vocabulary");
                let row = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0f32, f32::max);
                if f64::from(row) > tolerance && flips > 0 {
                    flips -= 1;
                    println!("{name} {prompt}: token {t} is off by {row:.2}, another expert was chosen");
                    continue;
                }
                let worst_at =
                    (0..got.len()).max_by(|&a, &b| (got[a] - want[a]).abs().total_cmp(&(got[b] - want[b]).abs()));
                let i = worst_at.expect("a vocabulary");
                assert!(
                    f64::from(row) <= tolerance && got.iter().all(|v| v.is_finite()),
                    "{name} {prompt}: logit {i} of token {t} is {}, expected {} within {tolerance}\n{}",
                    got[i],
                    want[i],
                    layers::report(&reference)
                );
                worst = worst.max(row.into());
            }
        }
        assert_eq!(greedy(&engine, &prompt_ids, want.len()), want, "{name} {prompt}: greedy through the KV cache");
        // Generate the second half again, from the cache.
        let (said, rest) = want.split_at(want.len() / 2);
        let again = greedy(&engine, &[&prompt_ids, said].concat(), rest.len());
        assert_eq!(again, rest, "{name} {prompt}: from the middle");
    }
    Ok(worst)
}

/// Cases with various head widths, sliding windows, chunked attention, attention sinks, latent attention.
pub const WIDE_CASES: [&str; 8] =
    ["llama", "qwen2", "qwen3", "mistral", "gemma3_text", "gpt_oss", "llama4_text", "deepseek_v2"];

/// Checks an engine that rounds more than an f16 cache: logits within `factor` times the f16 limit of the golden ones,
/// or of those with other options, and the same greedy tokens until two logits are closer than that. In mixtures of
/// experts a quarter of the rows may be further off, because another expert was selected.
pub fn compare_with_rounding(
    what: &str,
    cases: &[&str],
    options: LoadOptions,
    other: Option<LoadOptions>,
    factor: f64,
) {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    for case in cases {
        let Some(folder) = super::case(&root, &format!("models/{case}")) else { continue };
        let engine = load(&folder, options);
        let engine = engine.unwrap_or_else(|e| panic!("{case}: {e}"));
        let steps = &engine.plans().prefill.steps;
        let variants = options.variants.is_some_and(|variants| variants != Variants::default());
        assert!(!variants || steps.iter().any(|step| step.shader.id.variant.is_some()), "{case}: no variant runs");
        let other = other.map(|options| load(&folder, options).unwrap_or_else(|e| panic!("{case}: {e}")));
        let limit = factor * f16_tolerance(&folder);
        let facts = golden(&folder);
        let (mut rows, mut compared) = (Vec::new(), 0);
        for (prompt, facts) in facts["prompts"].as_object().expect("prompts") {
            let (prompt_ids, mut want) = (ids(&facts["ids"]), ids(&facts["greedy_ids"]));
            let Some(mut logits) = golden_logits(&folder, prompt) else { continue };
            if let Some(other) = &other {
                want = greedy(other, &prompt_ids, want.len());
                logits = all_logits(other, &[prompt_ids.clone(), want.clone()].concat());
            }
            let got = all_logits(&engine, &[prompt_ids.clone(), want.clone()].concat());
            for (got, want) in got.iter().rev().zip(logits.iter().rev()) {
                let off = got.iter().zip(want).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
                rows.push(off);
            }
            let narrow = logits[logits.len() - want.len() - 1..].iter().take(want.len()).position(|row| {
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
