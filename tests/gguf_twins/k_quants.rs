//! Tests mixtures of experts and latent attention in k-quants, whose blocks are wider than the golden models: random
//! models of width 256 against their own values in f32.

use std::collections::BTreeMap;

use minke::weights::{Dtype, dequantize_rows};
use serde_json::{Value, json};

use crate::common::all_logits;
use crate::facts::{architecture, written};
use crate::gguf::{self, Stored};
use crate::tensors::F32;
use crate::{f32_mode, largest_difference, open};

/// A linear congruential generator, deterministic on every platform.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 56) as u8
    }

    fn unit(&mut self) -> f32 {
        (f32::from(self.byte()) + f32::from(self.byte()) / 256.0) / 128.0 - 1.0
    }

    /// Blocks of random codes with scales that keep values near ± 0.1; `scales` holds the offsets of f16 scales in a
    /// block.
    fn blocks(&mut self, dtype: Dtype, values: usize, scales: &[(usize, f32)]) -> Vec<u8> {
        let (per_block, bytes) = dtype.block();
        let mut out: Vec<u8> = (0..values / per_block as usize * bytes as usize).map(|_| self.byte()).collect();
        for block in out.chunks_exact_mut(bytes as usize) {
            for &(at, scale) in scales {
                block[at..at + 2].copy_from_slice(&half::f16::from_f32(scale).to_le_bytes());
            }
        }
        out
    }
}

/// GGUF's type number, the format, the offsets of its scales, and scale values that keep weights small.
const Q4_K: (u32, Dtype, &[(usize, f32)]) = (12, Dtype::Q4K, &[(0, 2e-4), (2, 1.5e-3)]);
const Q5_K: (u32, Dtype, &[(usize, f32)]) = (13, Dtype::Q5K, &[(0, 1e-4), (2, 1.5e-3)]);
const Q6_K: (u32, Dtype, &[(usize, f32)]) = (14, Dtype::Q6K, &[(208, 5e-5)]);

/// The file of a model with large tensors in their formats, and the file with the values of these in f32.
fn files(config: &Value, shapes: &[(String, Vec<usize>)]) -> [Vec<u8>; 2] {
    let mut noise = Noise(7);
    let (mut quantised, mut values) = (BTreeMap::new(), BTreeMap::new());
    for (name, shape) in shapes {
        let (n, k) = (shape.iter().product::<usize>(), *shape.last().expect("a shape"));
        let plain = |v: Vec<f32>| Stored {
            shape: shape.clone(),
            dtype: F32,
            bytes: v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        if shape.len() == 1 || name.contains("ffn_gate_inp") {
            let near = if name.contains("norm") { 1.0 } else { 0.0 };
            let v: Vec<f32> = (0..n).map(|_| near + 0.3 * noise.unit()).collect();
            quantised.insert(name.clone(), plain(v.clone()));
            values.insert(name.clone(), plain(v));
            continue;
        }
        let (number, dtype, scales) = match name {
            name if name.contains("down") || name.contains("attn_v") || name.contains("token") => Q6_K,
            name if name.contains("output") => Q5_K,
            _ => Q4_K,
        };
        let bytes = noise.blocks(dtype, n, scales);
        values.insert(name.clone(), plain(dequantize_rows(dtype, k, &bytes).expect("numbers")));
        quantised.insert(name.clone(), Stored { shape: shape.clone(), dtype: number, bytes });
    }
    [quantised, values].map(|tensors| gguf::file(architecture(config), &written(config), &tensors))
}

/// The name of a layer's tensor and its shape.
type Shape = (&'static str, &'static [usize]);

/// The tensors of a mixture of four experts.
const MIXTURE: [Shape; 5] = [
    ("ffn_norm", &[256]),
    ("ffn_gate_inp", &[4, 256]),
    ("ffn_gate_exps", &[4, 256, 256]),
    ("ffn_up_exps", &[4, 256, 256]),
    ("ffn_down_exps", &[4, 256, 256]),
];

fn compare(config: &Value, shapes: &[Shape]) {
    let layers = config["num_hidden_layers"].as_u64().expect("a number") as usize;
    let mut all = vec![("token_embd.weight".into(), vec![512, 256]), ("output_norm.weight".into(), vec![256])];
    for layer in 0..layers {
        all.extend(shapes.iter().map(|(name, shape)| (format!("blk.{layer}.{name}.weight"), shape.to_vec())));
    }
    let tokens: Vec<u32> = (0..24).map(|i| i * 37 % 256).collect();
    let [quantised, values] = files(config, &all).map(|bytes| {
        let engine = open(&bytes, f32_mode()).unwrap_or_else(|e| panic!("{}: {e}", config["model_type"]));
        all_logits(&engine, &tokens)
    });
    let largest = values.iter().flatten().fold(0.0f32, |most, v| most.max(v.abs()));
    let difference = largest_difference(&quantised, &values);
    println!("{}: {difference:.1e} from its values, of up to {largest:.1}", config["model_type"]);
    assert!(largest > 0.5 && largest.is_finite(), "logits up to {largest} say little");
    assert!(difference <= 1e-3, "{difference}");
}

fn config(more: Value) -> Value {
    let mut config = json!({
        "vocab_size": 512, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "bos_token_id": 300, "eos_token_id": 301, "moe_intermediate_size": 256, "num_experts_per_tok": 2,
    });
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    config
}

#[test]
fn mixture_of_experts_in_k_quants() {
    let config = config(json!({ "model_type": "qwen3_moe", "num_experts": 4, "head_dim": 64 }));
    let own: &[Shape] = &[
        ("attn_norm", &[256]),
        ("attn_q", &[256, 256]),
        ("attn_k", &[128, 256]),
        ("attn_v", &[128, 256]),
        ("attn_q_norm", &[64]),
        ("attn_k_norm", &[64]),
        ("attn_output", &[256, 256]),
    ];
    compare(&config, &[own, &MIXTURE].concat());
}

/// W_uk is stored transposed, W_uv is not: the two reach their layouts in different ways.
#[test]
fn latent_attention_in_k_quants() {
    let config = config(json!({
        "model_type": "deepseek_v2", "n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
        "first_k_dense_replace": 0, "routed_scaling_factor": 1.0, "scoring_func": "softmax", "norm_topk_prob": false,
        "kv_lora_rank": 256, "q_lora_rank": null, "qk_nope_head_dim": 256, "qk_rope_head_dim": 32, "v_head_dim": 64,
        "rope_scaling": { "mscale_all_dim": 1.0 },
    }));
    let own: &[Shape] = &[
        ("attn_norm", &[256]),
        ("attn_q", &[4 * 288, 256]),
        ("attn_kv_a_mqa", &[288, 256]),
        ("attn_kv_a_norm", &[256]),
        ("attn_k_b", &[4, 256, 256]),
        ("attn_v_b", &[4, 64, 256]),
        ("attn_output", &[256, 256]),
        ("ffn_gate_shexp", &[256, 256]),
        ("ffn_up_shexp", &[256, 256]),
        ("ffn_down_shexp", &[256, 256]),
    ];
    compare(&config, &[own, &MIXTURE].concat());
}
