//! Converts the golden models to GGUF as llama.cpp's converter would, and checks that these twins compute the same as
//! the safetensors.
//!
//! The twins are byte-identical to those of `gguf_twins.py`, which uses PyPI `gguf` (`gguf_twins.json` holds the hashes
//! of its output). `gguf_witness.json` holds llama.cpp's own results for them (`gguf_witness.mjs`).
#![allow(missing_docs)]

mod common;
#[path = "gguf_twins/facts.rs"]
mod facts;
#[path = "common/gguf.rs"]
mod gguf;
#[path = "gguf_twins/k_quants.rs"]
mod k_quants;
#[path = "gguf_twins/tensors.rs"]
mod tensors;
#[path = "gguf_twins/variants.rs"]
mod variants;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use common::golden::{check, f16_tolerance, golden, golden_logits, greedy, ids};
use common::{HOST, all_logits, block_on, data, on_cpu};
use facts::Keys;
use minke::engine::{Engine, LoadOptions};
use minke::weights::{Dtype, MemoryFile, dequantize_rows};
use minke::{Cancel, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tensors::{BF16, F16, F32, MXFP4, Q8_0, Tensors};

const CASES: [&str; 19] = [
    "deepseek_v2",
    "deepseek_v2_full",
    "deepseek_v3",
    "gemma3_text",
    "gpt_oss",
    "gpt_oss_mxfp4",
    "granitemoe",
    "llama",
    "llama4_text",
    "llama_v5cfg",
    "mistral",
    "mixtral",
    "olmoe",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "smollm3",
];

pub fn f32_mode() -> LoadOptions {
    LoadOptions { f32: true, ..on_cpu() }
}

/// A model that is being converted to GGUF.
#[derive(Clone)]
pub struct Twin {
    pub folder: PathBuf,
    pub name: String,
    pub architecture: &'static str,
    pub config: Value,
    pub keys: Keys,
    pub tensors: Tensors,
}

impl Twin {
    /// The twin of a golden case, including keys that llama.cpp does not read.
    pub fn of(root: &Path, name: &str) -> Self {
        let folder = root.join(name);
        let text = std::fs::read(folder.join("config.json")).expect("config.json");
        let config: Value = serde_json::from_slice(&text).expect("JSON");
        let mut keys = facts::written(&config);
        keys.extend(facts::extra(&config));
        let tensors = tensors::of(&folder, &config);
        Self { folder, name: name.into(), architecture: facts::architecture(&config), config, keys, tensors }
    }

    /// The twin in a form that llama.cpp computes like the reference: without keys that it does not read or interprets
    /// differently, in loadable form, and with dequantised 4-bit floats, because llama.cpp quantises the other factor of
    /// their products to 8 bits.
    fn plain(&self) -> Self {
        let mut twin = self.clone();
        twin.make_loadable();
        let left_out = facts::extra(&self.config).into_keys().chain(facts::otherwise(&self.config));
        left_out.for_each(|key| drop(twin.keys.remove(&key)));
        twin.values_of(F32, &[MXFP4]);
        twin
    }

    /// Converts what llama.cpp cannot load: repeats OLMoE's shared key heads (their norm is unchanged), and drops
    /// Qwen2-MoE's layers from the first dense one on.
    fn make_loadable(&mut self) {
        let mut put =
            |key: &str, n: usize| self.keys.insert(format!("{}.{key}", self.architecture), gguf::u32v(n as u32));
        match self.architecture {
            "olmoe" => {
                let at = |key: &str| facts::int(&self.config, key);
                let (kv, heads) = (at("num_key_value_heads"), at("num_attention_heads"));
                put("attention.head_count_kv", heads);
                let shared = ["attn_k.weight", "attn_v.weight", "attn_k_norm.weight"];
                let all = self.tensors.iter_mut();
                for (_, w) in all.filter(|(name, _)| shared.iter().any(|end| name.ends_with(end))) {
                    let head = w.values.len() / kv;
                    w.values = w.values.chunks(head).flat_map(|head| head.repeat(heads / kv)).collect();
                    w.shape[0] *= heads / kv;
                }
            }
            "qwen2moe" => {
                let dense = self.config["mlp_only_layers"].as_array().expect("a list").iter().filter_map(Value::as_u64);
                let layers = dense.min().expect("a dense layer") as usize;
                put("block_count", layers);
                let block = |name: &str| name.strip_prefix("blk.")?.split('.').next()?.parse::<usize>().ok();
                self.tensors.retain(|name, _| block(name).is_none_or(|block| block < layers));
            }
            _ => {}
        }
    }

    /// The type of a tensor, if large tensors are stored as `large` where their rows allow it.
    fn dtype(&self, name: &str, large: u32) -> u32 {
        let w = &self.tensors[name];
        let k = *w.shape.last().expect("a shape");
        if k.is_multiple_of(17) && self.name.ends_with("mxfp4") && name.contains("_exps.weight") {
            return MXFP4;
        }
        match large {
            _ if tensors::small(name, w) => F32,
            Q8_0 if !k.is_multiple_of(32) => F16,
            large => large,
        }
    }

    /// The file.
    pub fn bytes(&self, large: u32) -> Vec<u8> {
        let stored =
            |(name, w): (&String, &tensors::Tensor)| (name.clone(), tensors::stored(w, self.dtype(name, large)));
        gguf::file(self.architecture, &self.keys, &self.tensors.iter().map(stored).collect())
    }

    /// The model with the values that large tensors have after being stored as `large`.
    pub fn rounded(&self, large: u32) -> Self {
        let mut rounded = self.clone();
        rounded.values_of(large, &[F16, BF16, Q8_0]);
        rounded
    }

    /// Replaces tensors of these types with their dequantised values.
    fn values_of(&mut self, large: u32, types: &[u32]) {
        let names: Vec<String> = self.tensors.keys().cloned().collect();
        for name in names.iter().filter(|name| types.contains(&self.dtype(name, large))).collect::<Vec<_>>() {
            let dtype = self.dtype(name, large);
            let w = self.tensors.get_mut(name).expect("a name of its own");
            let gguf::Stored { shape, bytes, .. } = tensors::stored(w, dtype);
            let dtype = Dtype::from_ggml(dtype).expect("a type");
            let values = dequantize_rows(dtype, *shape.last().expect("a shape"), &bytes).expect("numbers");
            *w = tensors::Tensor { shape, values };
        }
    }
}

pub fn open(bytes: &[u8], options: LoadOptions) -> Result<Engine> {
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let file = Rc::new(MemoryFile::new("twin.gguf", bytes));
    block_on(Engine::load_gguf(file, None, options, HOST, &cancel, &mut quiet))
}

pub fn models() -> Option<PathBuf> {
    data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models"))
}

/// The case's medium prompt with its continuation, and their logits.
pub fn medium(folder: &Path) -> (Vec<u32>, Vec<Vec<f32>>) {
    let facts = &golden(folder)["prompts"]["medium"];
    let tokens = [ids(&facts["ids"]), ids(&facts["greedy_ids"])].concat();
    (tokens, golden_logits(folder, "medium").expect("its logits"))
}

/// The rows of two matrices in pairs from the last on: golden cases have the logits of the last rows only.
fn pairs<'a>(a: &'a [Vec<f32>], b: &'a [Vec<f32>]) -> impl Iterator<Item = (&'a Vec<f32>, &'a Vec<f32>)> {
    a.iter().rev().zip(b.iter().rev())
}

pub fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let values = pairs(a, b).flat_map(|(a, b)| a.iter().zip(b));
    values.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// The root mean square of the difference relative to that of `b`, for the median row: in a few rows other experts are
/// selected.
pub fn share(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let row = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        let squares =
            |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| f(a.into(), b.into()).powi(2)).sum::<f64>();
        (squares(&|a, b| a - b) / squares(&|_, b| b)).sqrt()
    };
    let mut rows: Vec<f64> = pairs(a, b).map(row).collect();
    rows.sort_by(f64::total_cmp);
    rows[rows.len() / 2]
}

fn json(file: &str) -> BTreeMap<String, Value> {
    let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)).expect("a file");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn the_bytes_are_those_of_the_script() {
    let Some(root) = models() else { return };
    let known = json("gguf_twins.json");
    assert_eq!(known.len(), 3 * CASES.len());
    for name in CASES {
        let twin = Twin::of(&root, name);
        for (form, bytes) in [("f32", twin.bytes(F32)), ("mix", twin.bytes(Q8_0)), ("plain", twin.plain().bytes(F32))] {
            let file = format!("{name}.{form}.gguf");
            let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            if let Some(folder) = std::env::var_os("MINKE_TWINS") {
                std::fs::write(Path::new(&folder).join(&file), &bytes).expect("a file");
            }
            assert_eq!(known[&file], hash, "{file}");
        }
    }
}

#[test]
fn they_compute_what_the_safetensors_do() {
    let Some(root) = models() else { return };
    for name in CASES {
        let twin = Twin::of(&root, name);
        let bytes = twin.bytes(F32);
        let run = |options, tolerance| {
            check(&twin.folder, name, &|options| open(&bytes, options), options, tolerance)
                .unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let (exact, normal) = (run(f32_mode(), 1e-3), run(on_cpu(), f16_tolerance(&twin.folder)));
        println!("{name}: f32 mode {exact:.1e}, normal mode {normal:.1e}");
    }
}

#[test]
fn a_quantised_twin_computes_what_its_values_do() {
    let Some(root) = models() else { return };
    for name in CASES {
        let twin = Twin::of(&root, name);
        let (tokens, golden) = medium(&twin.folder);
        let logits = |bytes: &[u8]| {
            let options = LoadOptions { context_length: Some(tokens.len()), ..f32_mode() }; // exactly Phi-3's original length
            let engine = open(bytes, options).unwrap_or_else(|e| panic!("{name}: {e}"));
            all_logits(&engine, &tokens)
        };
        let quantised = logits(&twin.bytes(Q8_0));
        let values = logits(&twin.rounded(Q8_0).bytes(F32));
        let (difference, share) = (largest_difference(&quantised, &values), share(&quantised, &golden));
        println!("{name}: {difference:.1e} from its values; {share:.3} of the logits from what was quantised");
        assert!(difference <= 1e-3, "{name}: {difference}");
        assert!(share <= 0.2, "{name}: {share}");
    }
}

#[test]
fn llama_cpp_draws_the_same_tokens() {
    let Some(root) = models() else { return };
    let witness = json("gguf_witness.json");
    for name in CASES {
        let twin = Twin::of(&root, name).plain();
        let engine = open(&twin.bytes(F32), f32_mode()).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (prompt, facts) in golden(&twin.folder)["prompts"].as_object().expect("prompts") {
            let (prompt_ids, want) = (ids(&facts["ids"]), ids(&witness[name][prompt]));
            assert_eq!(want.len(), 24, "{name} {prompt}");
            // llama.cpp chooses LongRoPE's factors by the context's size, transformers and the engine by the sequence's
            // length.
            let original = twin.config["original_max_position_embeddings"].as_u64().unwrap_or(0);
            if (prompt_ids.len() + want.len()) as u64 > original {
                assert_eq!(greedy(&engine, &prompt_ids, want.len()), want, "{name} {prompt}");
            }
        }
    }
}
