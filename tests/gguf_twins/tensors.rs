//! Converts a golden case's safetensors to the GGUF tensors of a twin.

use std::collections::BTreeMap;
use std::path::Path;

use minke::weights::checkpoint::Checkpoint;
use minke::weights::{DiskFolder, Dtype, dequantize_rows};
use serde_json::Value;

use crate::common::block_on;
use crate::facts::{PERMUTED, architecture, int, number};
use crate::gguf::Stored;

/// GGUF's type numbers.
pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q8_0: u32 = 8;
pub const BF16: u32 = 30;
pub const MXFP4: u32 = 39;

/// A tensor's values in row-major order; bytes of packed 4-bit floats count as values.
#[derive(Clone)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

pub type Tensors = BTreeMap<String, Tensor>;

impl Tensor {
    fn new(shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{shape:?}");
        Self { shape: shape.to_vec(), values }
    }

    fn shaped(self, shape: &[usize]) -> Self {
        Self::new(shape, self.values)
    }

    /// `[a, b, c, …]` as `[b, a, c, …]` within each of `outer` blocks.
    fn swapped(&self, outer: usize, a: usize, b: usize) -> Vec<f32> {
        let run = self.values.len() / (outer * a * b);
        let at = |o: usize, i: usize, j: usize| ((o * a + i) * b + j) * run;
        let mut values = Vec::with_capacity(self.values.len());
        for (o, j, i) in (0..outer).flat_map(|o| (0..b).flat_map(move |j| (0..a).map(move |i| (o, j, i)))) {
            values.extend(&self.values[at(o, i, j)..at(o, i, j) + run]);
        }
        values
    }

    /// Interleaves the two halves of each head.
    fn permuted(&self, heads: usize) -> Self {
        Self::new(&self.shape, self.swapped(heads, 2, self.shape[0] / heads / 2))
    }

    /// Transposes the last two dimensions.
    pub fn turned(&self) -> Self {
        let [outer, a, b] = self.shape[..] else { panic!("{:?}", self.shape) };
        Self::new(&[outer, b, a], self.swapped(outer, a, b))
    }

    /// Selects rows `from`, `from + step`, … below `to` of each block of the first dimension; a row is a single value
    /// if there are only two dimensions.
    fn rows(&self, from: usize, to: usize, step: usize) -> Self {
        let (outer, rows) = (self.shape[0], self.shape[1]);
        let run = self.values.len() / (outer * rows);
        let kept: Vec<usize> = (from..to).step_by(step).collect();
        let row = |o: usize, r: usize| &self.values[(o * rows + r) * run..][..run];
        let values = (0..outer).flat_map(|o| kept.iter().flat_map(move |&r| row(o, r).iter().copied())).collect();
        Self::new(&[&[outer, kept.len()], &self.shape[2..]].concat(), values)
    }

    fn halves(&self, taking_turns: bool) -> [Self; 2] {
        let n = self.shape[1];
        if taking_turns { [0, 1].map(|i| self.rows(i, n, 2)) } else { [self.rows(0, n / 2, 1), self.rows(n / 2, n, 1)] }
    }
}

/// Names of a layer's tensors in Hugging Face's files and in GGUF.
const LAYER: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.sinks", "attn_sinks"),
    ("self_attn.q_a_proj", "attn_q_a"),
    ("self_attn.q_a_layernorm", "attn_q_a_norm"),
    ("self_attn.q_b_proj", "attn_q_b"),
    ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
    ("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate", "ffn_gate_inp"),
    ("mlp.router", "ffn_gate_inp"),
    ("feed_forward.router", "ffn_gate_inp"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
    ("block_sparse_moe.router.layer", "ffn_gate_inp"),
    ("mlp.shared_expert_gate", "ffn_gate_inp_shexp"),
    ("gate_proj", "ffn_gate_shexp"), // the shared expert
    ("up_proj", "ffn_up_shexp"),
    ("down_proj", "ffn_down_shexp"),
];

fn published(folder: &Path) -> BTreeMap<String, Tensor> {
    block_on(async {
        let checkpoint = Checkpoint::open_folder(&DiskFolder::new(folder), &|_| Ok(())).await.expect("a checkpoint");
        let mut out = BTreeMap::new();
        for (name, entry) in &checkpoint.tensors {
            let bytes = checkpoint.read_rows(entry, 0..entry.rows()).await.expect("its bytes");
            let values = match entry.dtype {
                Dtype::U8 => bytes.iter().map(|&byte| f32::from(byte)).collect(),
                dtype => dequantize_rows(dtype, entry.k() as usize, &bytes).expect("numbers"),
            };
            let shape: Vec<usize> = entry.shape.iter().map(|&d| d as usize).collect();
            out.insert(name.clone(), Tensor::new(&shape, values));
        }
        out
    })
}

/// GGUF's MXFP4 blocks, from `[experts, rows, groups, 16]` codes and their exponents.
fn mxfp4(codes: &Tensor, exponents: &Tensor) -> Tensor {
    let mut bytes = Vec::new();
    for (block, exponent) in codes.values.chunks_exact(16).zip(&exponents.values) {
        let value = |i: usize| block[i / 2] as u8 >> (4 * (i % 2)) & 15;
        bytes.push(*exponent);
        bytes.extend((0..16).map(|i| f32::from(value(i) | value(i + 16) << 4)));
    }
    Tensor::new(&[codes.shape[0], codes.shape[1], codes.shape[2] * 17], bytes)
}

/// The tensors of a case under GGUF's names.
pub fn of(folder: &Path, config: &Value) -> Tensors {
    let arch = architecture(config);
    let (layers, heads) = (int(config, "num_hidden_layers"), int(config, "num_attention_heads"));
    let weights = published(folder);
    let mut out = Tensors::new();
    let mut experts: BTreeMap<String, BTreeMap<usize, Tensor>> = BTreeMap::new();
    for (name, w) in &weights {
        let folded = arch == "gemma3" && name.ends_with("norm.weight");
        let w = if folded { Tensor::new(&w.shape, w.values.iter().map(|v| v + 1.0).collect()) } else { w.clone() };
        let Some((layer, rest)) = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) else {
            let name = match name.as_str() {
                "model.embed_tokens.weight" => "token_embd.weight",
                "model.norm.weight" => "output_norm.weight",
                "lm_head.weight" => "output.weight",
                other => panic!("{other}"),
            };
            out.insert(name.into(), w);
            continue;
        };
        if layer.parse::<usize>().expect("a number") >= layers || rest.ends_with("_scales") {
            continue;
        }
        let mut put = |name: &str, w: Tensor| drop(out.insert(format!("blk.{layer}.{name}"), w));
        let both = |[gate, up]: [Tensor; 2], put: &mut dyn FnMut(&str, Tensor), end: &str| {
            put(&format!("ffn_gate_exps.{end}"), gate);
            put(&format!("ffn_up_exps.{end}"), up);
        };
        let (stem, end) = rest.rsplit_once('.').expect("a kind");
        let part = stem.split('.').next_back().expect("a name");
        let number =
            stem.split('.').rev().nth(1).and_then(|n| n.parse::<usize>().ok()).filter(|_| stem.contains("experts."));
        let turns = arch == "gpt-oss";
        if let Some(expert) = number {
            let which = match part {
                "w1" | "gate_proj" => "gate",
                "w2" | "down_proj" => "down",
                "w3" | "up_proj" => "up",
                other => panic!("{other}"),
            };
            experts.entry(format!("blk.{layer}.ffn_{which}_exps.weight")).or_default().insert(expert, w);
        } else if part == "input_linear" {
            both(w.halves(false), &mut put, "weight");
        } else if part == "output_linear" {
            put("ffn_down_exps.weight", w);
        } else if end == "gate_up_proj" {
            both(w.turned().halves(turns), &mut put, "weight");
        } else if end == "down_proj" {
            put("ffn_down_exps.weight", w.turned());
        } else if end == "gate_up_proj_bias" {
            both(w.halves(true), &mut put, "bias");
        } else if end == "down_proj_bias" {
            put("ffn_down_exps.bias", w);
        } else if end.ends_with("_blocks") {
            let w = mxfp4(&w, &weights[&name.replace("_blocks", "_scales")]);
            if end.starts_with("gate_up") {
                both(w.halves(true), &mut put, "weight")
            } else {
                put("ffn_down_exps.weight", w)
            }
        } else if part == "kv_b_proj" {
            let (nope, rank) = (int(config, "qk_nope_head_dim"), w.shape[1]);
            let (rows, w) = (w.shape[0] / heads, w);
            let w = w.shaped(&[heads, rows, rank]);
            put("attn_k_b.weight", w.rows(0, nope, 1).turned());
            put("attn_v_b.weight", w.rows(nope, rows, 1));
        } else if end == "e_score_correction_bias" {
            put("exp_probs_b.bias", w);
        } else if end == "sinks" {
            put("attn_sinks.weight", w);
        } else {
            let stem_or_part =
                if stem.contains("shared_expert.") || stem.contains("shared_experts.") { part } else { stem };
            let (_, short) = LAYER.iter().find(|(hf, _)| *hf == stem_or_part).unwrap_or_else(|| panic!("{rest}"));
            // The second norm of these models has the name of Gemma's third.
            let short = match (*short, arch, stem) {
                ("ffn_norm", "gpt-oss", _) | ("ffn_norm", "gemma3", "post_attention_layernorm") => {
                    "post_attention_norm"
                }
                (short, ..) => short,
            };
            let w = match short {
                "attn_q" if PERMUTED.contains(&arch) => w.permuted(heads),
                "attn_k" if PERMUTED.contains(&arch) => w.permuted(int(config, "num_key_value_heads")),
                "ffn_gate_inp_shexp" => Tensor::new(&[w.values.len()], w.values),
                _ => w,
            };
            put(&format!("{short}.{end}"), w);
        }
    }
    for (name, parts) in experts {
        let shape = [&[parts.len()], &parts[&0].shape[..]].concat();
        out.insert(name, Tensor::new(&shape, parts.into_values().flat_map(|w| w.values).collect()));
    }
    let scaling = &config["rope_scaling"];
    let mut vector = |name: &str, values: Vec<f32>| drop(out.insert(name.into(), Tensor::new(&[values.len()], values)));
    if scaling["rope_type"] == "llama3" {
        vector("rope_freqs.weight", llama3(scaling, number(config, "rope_theta"), int(config, "head_dim")));
    }
    if scaling["type"] == "longrope" {
        for length in ["long", "short"] {
            let factors = scaling[format!("{length}_factor")].as_array().expect("factors");
            let factors = factors.iter().map(|f| f.as_f64().expect("a number") as f32).collect();
            vector(&format!("rope_factors_{length}.weight"), factors);
        }
    }
    out
}

fn llama3(scaling: &Value, theta: f64, dim: usize) -> Vec<f32> {
    let [factor, low, high] = ["factor", "low_freq_factor", "high_freq_factor"].map(|key| number(scaling, key));
    let factor_of = |i: usize| {
        let wave = 2.0 * std::f64::consts::PI * theta.powf(i as f64 / dim as f64);
        let turns = number(scaling, "original_max_position_embeddings") / wave;
        let smooth = if high > low { (turns - low) / (high - low) } else { 0.0 };
        if turns < low {
            factor
        } else if turns > high {
            1.0
        } else {
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    (0..dim).step_by(2).map(|i| factor_of(i) as f32).collect()
}

/// Whether a tensor is always stored in f32.
pub fn small(name: &str, w: &Tensor) -> bool {
    w.shape.len() < 2 || name.ends_with(".bias") || name.contains("ffn_gate_inp")
}

/// A tensor's bytes in a GGUF type.
pub fn stored(w: &Tensor, dtype: u32) -> Stored {
    let bytes: Vec<u8> = match dtype {
        F32 => w.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        F16 => w.values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        BF16 => w.values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        Q8_0 => w.values.chunks_exact(32).flat_map(q8_0).collect(),
        MXFP4 => w.values.iter().map(|&byte| byte as u8).collect(),
        other => panic!("type {other}"),
    };
    let mut shape = w.shape.clone();
    if dtype == MXFP4 {
        let k = shape.last_mut().expect("rows");
        *k = *k / 17 * 32;
    }
    Stored { shape, dtype, bytes }
}

/// A Q8_0 block of 32 values: their f16 scale and integers up to 127.
fn q8_0(values: &[f32]) -> Vec<u8> {
    let scale = values.iter().fold(0f32, |most, v| most.max(v.abs())) / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let codes = values.iter().map(|v| (v * inverse).round() as i8 as u8);
    half::f16::from_f32(scale).to_le_bytes().into_iter().chain(codes).collect()
}
