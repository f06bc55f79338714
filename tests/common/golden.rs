//! Whole models against golden cases: all logits, and the greedy continuation through the KV cache.

use std::path::Path;

use minke::engine::{Engine, GenerateOptions, Input, LoadOptions};
use minke::weights::{DiskFile, dequantize_rows, safetensors};
use minke::{Cancel, Error};
use serde_json::Value;

use super::{all_logits, block_on, layers};

/// What the reference says of a case.
pub fn golden(folder: &Path) -> Value {
    let text = std::fs::read(folder.join("golden.json")).expect("golden.json");
    serde_json::from_slice(&text).expect("JSON")
}

/// Three times what arithmetic in f16 changes.
pub fn f16_tolerance(folder: &Path) -> f64 {
    3.0 * golden(folder)["noise_medium"]["f16"]["max_abs"].as_f64().expect("the noise of f16")
}

/// The tensor `logits.<prompt>` of a case, as rows; prompts that were made from a chat have none.
pub fn golden_logits(folder: &Path, prompt: &str) -> Option<Vec<Vec<f32>>> {
    golden_tensor(folder, &format!("logits.{prompt}"))
}

/// A tensor of a case, as rows.
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

/// The original context of a model with LongRoPE.
fn long_rope(folder: &Path) -> Option<usize> {
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).ok()?).ok()?;
    let scaling = ["rope_parameters", "rope_scaling"].map(|key| &config[key]).into_iter().find(|it| it.is_object())?;
    let long = ["rope_type", "type"].iter().any(|key| scaling[key] == "longrope" || scaling[key] == "su");
    let original = [&config, scaling].into_iter().find_map(|it| it["original_max_position_embeddings"].as_u64());
    let own = config["max_position_embeddings"].as_u64().expect("a length");
    long.then(|| original.unwrap_or(own).min(own) as usize)
}

/// Runs one case in one mode, however it is opened, and returns the largest difference of a logit.
pub fn check(
    folder: &Path,
    name: &str,
    open: &dyn Fn(LoadOptions) -> Result<Engine, Error>,
    options: LoadOptions,
    tolerance: f64,
) -> Result<f64, Error> {
    let golden = golden(folder);
    let mut engine = open(options)?;
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
            engine = open(LoadOptions { context_length: context, ..options })?;
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
        // Half of it again, from what is in the cache.
        let (said, rest) = want.split_at(want.len() / 2);
        let again = greedy(&engine, &[&prompt_ids, said].concat(), rest.len());
        assert_eq!(again, rest, "{name} {prompt}: from the middle");
    }
    Ok(worst)
}
