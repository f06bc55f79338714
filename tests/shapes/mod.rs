//! Configs and tensor shapes of published models, without weights. The model declared
//! from them is the one that a device would hold.

use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;
use minke::Result;
use minke::weights::{ByteSource, Folder, MemoryFolder, check_range};
use serde_json::{Value, json};

/// A published model.
pub struct Shape {
    pub name: &'static str,
    pub config: Value,
}

/// The models of the table, with the keys of their config.json that determine shapes and plans.
pub fn published() -> Vec<Shape> {
    let qwen_moe =
        json!({"vocab_size": 151936, "hidden_size": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": false});
    let deepseek = json!({"rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 10000,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512, "max_position_embeddings": 163840,
        "rope_scaling": {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32, "beta_slow": 1,
            "original_max_position_embeddings": 4096}, "first_k_dense_replace": 1, "moe_layer_freq": 1, "attention_bias": false});
    let of = |name, base: &Value, more: Value| {
        let mut config = base.clone();
        let fields = config.as_object_mut().expect("an object");
        let defaults = json!({"hidden_act": "silu"});
        for (key, value) in defaults.as_object().expect("an object").iter().chain(more.as_object().expect("an object"))
        {
            fields.insert(key.clone(), value.clone());
        }
        Shape { name, config }
    };
    let llama = json!({"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": false});
    let none = json!({});
    vec![
        of(
            "SmolLM2-135M",
            &llama,
            json!({"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536, "max_position_embeddings": 8192,
            "tie_word_embeddings": true}),
        ),
        of(
            "DeepSeek-R1-Distill-Qwen-1.5B",
            &none,
            json!({"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 1536,
            "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960,
            "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 10000, "tie_word_embeddings": false}),
        ),
        of(
            "DeepSeek-R1-Distill-Llama-8B",
            &llama,
            json!({"model_type": "llama", "vocab_size": 128256, "hidden_size": 4096,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
            "max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}),
        ),
        of(
            "Mistral-7B-v0.1",
            &llama,
            json!({"model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
            "max_position_embeddings": 32768, "sliding_window": 4096, "rope_theta": 10000.0}),
        ),
        of(
            "Qwen3-8B",
            &none,
            json!({"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 4096, "num_hidden_layers": 36,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288,
            "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": false,
            "attention_bias": false}),
        ),
        of(
            "Phi-3-mini-128k",
            &none,
            json!({"model_type": "phi3", "vocab_size": 32064, "hidden_size": 3072, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "intermediate_size": 8192, "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
            "rope_scaling": {"type": "longrope", "long_factor": vec![1.5; 48], "short_factor": vec![1.0; 48]}}),
        ),
        of(
            "SmolLM3-3B",
            &none,
            json!({"model_type": "smollm3", "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 36,
            "num_attention_heads": 16, "num_key_value_heads": 4, "intermediate_size": 11008, "max_position_embeddings": 65536,
            "rms_norm_eps": 1e-6, "rope_theta": 5000000.0, "tie_word_embeddings": true, "attention_bias": false,
            "no_rope_layers": (0..36).map(|i| u32::from((i + 1) % 4 != 0)).collect::<Vec<_>>()}),
        ),
        of(
            "gemma-3-1b",
            &none,
            json!({"model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 1152,
            "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 6912,
            "max_position_embeddings": 32768, "sliding_window": 512, "sliding_window_pattern": 6, "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-6, "rope_theta": 1000000, "rope_local_base_freq": 10000, "tie_word_embeddings": true,
            "hidden_activation": "gelu_pytorch_tanh"}),
        ),
        of(
            "Mixtral-8x7B-v0.1",
            &llama,
            json!({"model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
            "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 32768, "sliding_window": null}),
        ),
        of(
            "Qwen1.5-MoE-A2.7B",
            &qwen_moe,
            json!({"model_type": "qwen2_moe", "num_hidden_layers": 24, "num_attention_heads": 16,
            "num_key_value_heads": 16, "intermediate_size": 5632, "num_experts": 60, "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "norm_topk_prob": false,
            "max_position_embeddings": 8192, "rope_theta": 1000000.0, "decoder_sparse_step": 1}),
        ),
        of(
            "Qwen3-30B-A3B",
            &qwen_moe,
            json!({"model_type": "qwen3_moe", "num_hidden_layers": 48, "num_attention_heads": 32,
            "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "num_experts": 128, "num_experts_per_tok": 8,
            "moe_intermediate_size": 768, "norm_topk_prob": true, "max_position_embeddings": 40960, "rope_theta": 1000000.0,
            "decoder_sparse_step": 1, "mlp_only_layers": [], "attention_bias": false}),
        ),
        of(
            "OLMoE-1B-7B-0924",
            &none,
            json!({"model_type": "olmoe", "vocab_size": 50304, "hidden_size": 2048, "num_hidden_layers": 16,
            "num_attention_heads": 16, "num_key_value_heads": 16, "intermediate_size": 1024, "num_experts": 64,
            "num_experts_per_tok": 8, "norm_topk_prob": false, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false}),
        ),
        of(
            "granite-3.0-1b-a400m",
            &none,
            json!({"model_type": "granitemoe", "vocab_size": 49155, "hidden_size": 1024,
            "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 512,
            "num_local_experts": 32, "num_experts_per_tok": 8, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": true, "attention_multiplier": 0.015625, "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22, "logits_scaling": 6.0, "attention_bias": false}),
        ),
        of(
            "gpt-oss-20b",
            &none,
            json!({"model_type": "gpt_oss", "vocab_size": 201088, "hidden_size": 2880, "num_hidden_layers": 24,
            "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 2880, "num_local_experts": 32,
            "num_experts_per_tok": 4, "max_position_embeddings": 131072, "sliding_window": 128, "rms_norm_eps": 1e-5,
            "rope_theta": 150000, "tie_word_embeddings": false, "attention_bias": true, "swiglu_limit": 7.0,
            "layer_types": (0..24).map(|i| ["sliding_attention", "full_attention"][i % 2]).collect::<Vec<_>>(),
            "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
                "original_max_position_embeddings": 4096}}),
        ),
        of(
            "Llama-4-Scout-17B-16E",
            &llama,
            json!({"model_type": "llama4_text", "vocab_size": 202048, "hidden_size": 5120,
            "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 8192,
            "intermediate_size_mlp": 16384, "num_local_experts": 16, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
            "max_position_embeddings": 1048576, "attention_chunk_size": 8192, "use_qk_norm": true, "attn_temperature_tuning": true,
            "floor_scale": 8192, "attn_scale": 0.1, "attention_bias": false,
            "no_rope_layers": (0..48).map(|i| u32::from((i + 1) % 4 != 0)).collect::<Vec<_>>()}),
        ),
        of(
            "DeepSeek-V2-Lite",
            &deepseek,
            json!({"model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048,
            "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16, "intermediate_size": 10944,
            "n_routed_experts": 64, "num_experts_per_tok": 6, "n_shared_experts": 2, "moe_intermediate_size": 1408,
            "q_lora_rank": null, "topk_method": "greedy", "routed_scaling_factor": 1.0, "norm_topk_prob": false,
            "scoring_func": "softmax", "n_group": 1, "topk_group": 1}),
        ),
        of(
            "DeepSeek-V2",
            &deepseek,
            json!({"model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 5120,
            "num_hidden_layers": 60, "num_attention_heads": 128, "num_key_value_heads": 128, "intermediate_size": 12288,
            "n_routed_experts": 160, "num_experts_per_tok": 6, "n_shared_experts": 2, "moe_intermediate_size": 1536,
            "q_lora_rank": 1536, "topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0, "norm_topk_prob": false,
            "scoring_func": "softmax", "n_group": 8, "topk_group": 3}),
        ),
        of(
            "DeepSeek-R1",
            &deepseek,
            json!({"model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168,
            "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "intermediate_size": 18432,
            "n_routed_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1, "moe_intermediate_size": 2048,
            "q_lora_rank": 1536, "topk_method": "noaux_tc", "routed_scaling_factor": 2.5, "norm_topk_prob": true,
            "scoring_func": "sigmoid", "n_group": 8, "topk_group": 4, "first_k_dense_replace": 3,
            "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}}),
        ),
    ]
}

impl Shape {
    fn size(&self, key: &str) -> u64 {
        self.config[key].as_u64().unwrap_or(0)
    }

    pub fn architecture(&self) -> &str {
        self.config["model_type"].as_str().expect("a name")
    }

    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.architecture())
    }

    /// Name and shape of every tensor, as in transformers' classes of the same name.
    fn tensors(&self) -> Vec<(String, Vec<u64>)> {
        let mut all = Vec::new();
        let (hidden, vocabulary) = (self.size("hidden_size"), self.size("vocab_size"));
        all.push(("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden]));
        all.push(("model.norm.weight".to_owned(), vec![hidden]));
        if self.config["tie_word_embeddings"] == false {
            all.push(("lm_head.weight".to_owned(), vec![vocabulary, hidden]));
        }
        for layer in 0..self.size("num_hidden_layers") {
            let mut of_layer = Vec::new();
            let mut add = |name: &str, shape: &[u64]| of_layer.push((name.to_owned(), shape.to_vec()));
            add("input_layernorm.weight", &[hidden]);
            add("post_attention_layernorm.weight", &[hidden]);
            if self.is(&["gemma3_text"]) {
                add("pre_feedforward_layernorm.weight", &[hidden]);
                add("post_feedforward_layernorm.weight", &[hidden]);
            }
            self.attention(&mut add);
            let dense = layer < self.size("first_k_dense_replace");
            if self.experts() == 0 || dense {
                self.mlp(&mut add)
            } else {
                self.mixture(&mut add)
            }
            all.extend(of_layer.into_iter().map(|(name, shape)| (format!("model.layers.{layer}.{name}"), shape)));
        }
        all
    }

    fn attention(&self, add: &mut dyn FnMut(&str, &[u64])) {
        let (hidden, heads) = (self.size("hidden_size"), self.size("num_attention_heads"));
        if self.size("kv_lora_rank") > 0 {
            let [rank, nope, rope, value, q_rank] =
                ["kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "q_lora_rank"]
                    .map(|k| self.size(k));
            if q_rank == 0 {
                add("self_attn.q_proj.weight", &[heads * (nope + rope), hidden]);
            } else {
                add("self_attn.q_a_proj.weight", &[q_rank, hidden]);
                add("self_attn.q_a_layernorm.weight", &[q_rank]);
                add("self_attn.q_b_proj.weight", &[heads * (nope + rope), q_rank]);
            }
            add("self_attn.kv_a_proj_with_mqa.weight", &[rank + rope, hidden]);
            add("self_attn.kv_a_layernorm.weight", &[rank]);
            add("self_attn.kv_b_proj.weight", &[heads * (nope + value), rank]);
            return add("self_attn.o_proj.weight", &[hidden, heads * value]);
        }
        let dim = self.config["head_dim"].as_u64().unwrap_or(hidden / heads);
        let (q, kv) = (heads * dim, self.size("num_key_value_heads") * dim);
        if self.is(&["phi3"]) {
            add("self_attn.qkv_proj.weight", &[q + 2 * kv, hidden]);
        } else {
            let bias = self.is(&["qwen2", "qwen2_moe", "gpt_oss"]);
            for (name, rows) in [("q", q), ("k", kv), ("v", kv)] {
                add(&format!("self_attn.{name}_proj.weight"), &[rows, hidden]);
                if bias {
                    add(&format!("self_attn.{name}_proj.bias"), &[rows]);
                }
            }
        }
        add("self_attn.o_proj.weight", &[hidden, q]);
        if self.is(&["gpt_oss"]) {
            add("self_attn.o_proj.bias", &[hidden]);
            add("self_attn.sinks", &[heads]);
        }
        if self.is(&["qwen3", "qwen3_moe", "gemma3_text", "olmoe"]) {
            let whole = self.is(&["olmoe"]);
            add("self_attn.q_norm.weight", &[if whole { q } else { dim }]);
            add("self_attn.k_norm.weight", &[if whole { kv } else { dim }]);
        }
    }

    fn mlp(&self, add: &mut dyn FnMut(&str, &[u64])) {
        let (hidden, inner) = (self.size("hidden_size"), self.size("intermediate_size"));
        if self.is(&["phi3"]) {
            add("mlp.gate_up_proj.weight", &[2 * inner, hidden]);
        } else {
            add("mlp.gate_proj.weight", &[inner, hidden]);
            add("mlp.up_proj.weight", &[inner, hidden]);
        }
        add("mlp.down_proj.weight", &[hidden, inner]);
    }

    fn experts(&self) -> u64 {
        self.size("num_experts") + self.size("num_local_experts") + self.size("n_routed_experts")
    }

    fn mixture(&self, add: &mut dyn FnMut(&str, &[u64])) {
        let (hidden, experts) = (self.size("hidden_size"), self.experts());
        let inner = self.config["moe_intermediate_size"].as_u64().unwrap_or(self.size("intermediate_size"));
        let mut each = |prefix: &str, [gate, up, down]: [&str; 3]| {
            for e in 0..experts {
                add(&format!("{prefix}.{e}.{gate}.weight"), &[inner, hidden]);
                add(&format!("{prefix}.{e}.{up}.weight"), &[inner, hidden]);
                add(&format!("{prefix}.{e}.{down}.weight"), &[hidden, inner]);
            }
        };
        let names = ["gate_proj", "up_proj", "down_proj"];
        let (gate, shared) = match self.architecture() {
            "mixtral" => {
                each("block_sparse_moe.experts", ["w1", "w3", "w2"]);
                ("block_sparse_moe.gate.weight", None)
            }
            "granitemoe" => {
                add("block_sparse_moe.input_linear.weight", &[experts, 2 * inner, hidden]);
                add("block_sparse_moe.output_linear.weight", &[experts, hidden, inner]);
                ("block_sparse_moe.router.layer.weight", None)
            }
            "gpt_oss" => {
                for (name, rows, k) in [("gate_up_proj", 2 * inner, hidden), ("down_proj", hidden, inner)] {
                    add(&format!("mlp.experts.{name}_blocks"), &[experts, rows, k / 32, 16]);
                    add(&format!("mlp.experts.{name}_scales"), &[experts, rows, k / 32]);
                    add(&format!("mlp.experts.{name}_bias"), &[experts, rows]);
                }
                add("mlp.router.bias", &[experts]);
                ("mlp.router.weight", None)
            }
            "llama4_text" => {
                add("feed_forward.experts.gate_up_proj", &[experts, hidden, 2 * inner]);
                add("feed_forward.experts.down_proj", &[experts, inner, hidden]);
                ("feed_forward.router.weight", Some(("feed_forward.shared_expert", inner)))
            }
            "qwen2_moe" => {
                each("mlp.experts", names);
                let width = self.size("shared_expert_intermediate_size");
                add("mlp.shared_expert_gate.weight", &[1, hidden]);
                ("mlp.gate.weight", Some(("mlp.shared_expert", width)))
            }
            "deepseek_v2" | "deepseek_v3" => {
                each("mlp.experts", names);
                if self.is(&["deepseek_v3"]) {
                    add("mlp.gate.e_score_correction_bias", &[experts]);
                }
                ("mlp.gate.weight", Some(("mlp.shared_experts", self.size("n_shared_experts") * inner)))
            }
            _ => {
                each("mlp.experts", names);
                ("mlp.gate.weight", None)
            }
        };
        add(gate, &[experts, hidden]);
        if let Some((prefix, width)) = shared {
            add(&format!("{prefix}.gate_proj.weight"), &[width, hidden]);
            add(&format!("{prefix}.up_proj.weight"), &[width, hidden]);
            add(&format!("{prefix}.down_proj.weight"), &[hidden, width]);
        }
    }

    /// The header of a safetensors file with these tensors.
    fn header(&self) -> (Vec<u8>, u64) {
        let (mut table, mut at) = (serde_json::Map::new(), 0);
        let mut put = |name: &str, dtype: &str, bytes: u64, shape: &[u64]| {
            let length = shape.iter().product::<u64>() * bytes;
            table.insert(name.to_owned(), json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + length]}));
            at += length;
        };
        let fp8 = self.config["quantization_config"]["quant_method"] == "fp8";
        for (name, shape) in self.tensors() {
            let in_blocks = name.ends_with("_blocks") || name.ends_with("_scales");
            let quantised = fp8 && name.contains("_proj");
            let (dtype, bytes) = match (in_blocks, quantised) {
                (true, _) => ("U8", 1),
                (_, true) => ("F8_E4M3", 1),
                _ => ("BF16", 2),
            };
            put(&name, dtype, bytes, &shape);
            if quantised {
                let blocks: Vec<u64> = shape.iter().map(|d| d.div_ceil(128)).collect();
                put(&format!("{name}_scale_inv"), "F32", 4, &blocks);
            }
        }
        let json = serde_json::to_vec(&table).expect("JSON");
        let header = [(json.len() as u64).to_le_bytes().to_vec(), json].concat();
        let length = header.len() as u64 + at;
        (header, length)
    }

    /// A folder with config.json and the weights' header.
    pub fn folder(&self) -> ShapeFolder {
        let config = serde_json::to_vec(&self.config).expect("JSON");
        let (header, len) = self.header();
        ShapeFolder {
            files: MemoryFolder::new(self.name).with("config.json", config),
            weights: Rc::new(Header { header, len }),
        }
    }
}

/// A file whose tensors are all zeros.
struct Header {
    header: Vec<u8>,
    len: u64,
}

#[async_trait(?Send)]
impl ByteSource for Header {
    fn name(&self) -> &str {
        "model.safetensors"
    }

    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let length = check_range(self.name(), self.len, &range)?;
        let mut bytes = vec![0; length];
        let start = range.start.min(self.header.len() as u64) as usize;
        let known = &self.header[start..self.header.len().min(range.end as usize)];
        bytes[..known.len()].copy_from_slice(known);
        Ok(bytes)
    }
}

/// The model's files.
#[derive(Clone)]
pub struct ShapeFolder {
    files: MemoryFolder,
    weights: Rc<Header>,
}

#[async_trait(?Send)]
impl Folder for ShapeFolder {
    fn id(&self) -> &str {
        self.files.id()
    }

    fn share(&self) -> Rc<dyn Folder> {
        Rc::new(self.clone())
    }

    async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
        match name {
            "model.safetensors" => Ok(Some(self.weights.clone())),
            _ => self.files.open(name).await,
        }
    }
}
