//! Converts a GGUF Llama back to a Hugging Face folder: sharded bf16 safetensors, config.json,
//! tokenizer.json. `cargo xtask setup` makes one of SmolLM2, so that the tests have a real model of that form.
//!
//!     cargo run --example safetensors_of -- model.gguf folder
#![allow(missing_docs)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::rc::Rc;

use minke::engine::gguf_vocab;
use minke::model::ModelConfig;
use minke::weights::{Checkpoint, ConfigFacts, TensorEntry};
use minke::weights::{DiskFile, GgufMetadata, dequantize_rows};
use pollster::block_on;
use serde_json::{Map, Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SHARD: u64 = 64 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else { return Err("usage: safetensors_of model.gguf folder".into()) };
    let checkpoint = block_on(Checkpoint::open_gguf(Rc::new(DiskFile::open(from)?), None, &|_| Ok(())))?;
    let ConfigFacts::Gguf(metadata) = &checkpoint.config else { unreachable!("a GGUF has metadata") };
    let config = ModelConfig::from_checkpoint(&checkpoint)?;
    if config.architecture != "llama" {
        return Err(format!("{from} is a {}, not a llama", config.architecture).into());
    }
    // The folder is written under a temporary name first, so that a folder with the final name is complete.
    let partial = format!("{to}.partial");
    let folder = Path::new(&partial);
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let write = |name: &str, value: Value| {
        fs::write(folder.join(name), serde_json::to_vec_pretty(&value)?).map_err(Box::<dyn std::error::Error>::from)
    };
    write("config.json", config_json(&config))?;
    write(
        "generation_config.json",
        json!({ "bos_token_id": config.bos_token_id, "eos_token_id": config.eos_token_ids[0] }),
    )?;
    write("tokenizer.json", tokenizer_json(metadata)?)?;
    write("tokenizer_config.json", tokenizer_config(metadata)?)?;
    write("model.safetensors.index.json", weights(&checkpoint, &config, folder)?)?;
    fs::rename(folder, to)?;
    Ok(())
}

fn config_json(config: &ModelConfig) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope.theta,
        "rope_scaling": null,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids[0],
        "torch_dtype": "bfloat16",
    })
}

fn tokenizer_json(metadata: &GgufMetadata) -> Result<Value> {
    let vocab = gguf_vocab(metadata)?;
    if vocab.pre.as_deref() != Some("smollm") {
        return Err(format!("the pre-tokenizer {:?} is not written here", vocab.pre).into());
    }
    let special = |id: usize| vocab.token_types.get(id) == Some(&3);
    let added: Vec<Value> = (0..vocab.tokens.len())
        .filter(|&id| special(id))
        .map(|id| {
            json!({ "id": id, "content": vocab.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let ids: Map<String, Value> = vocab.tokens.iter().zip(0..).map(|(t, id)| (t.clone(), json!(id))).collect();
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{ "type": "Digits", "individual_digits": true }, byte_level],
        },
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": { "type": "BPE", "vocab": ids, "merges": vocab.merges },
    }))
}

fn tokenizer_config(metadata: &GgufMetadata) -> Result<Value> {
    let vocab = gguf_vocab(metadata)?;
    Ok(json!({
        "bos_token": vocab.token(vocab.bos),
        "eos_token": vocab.token(vocab.eos),
        "unk_token": vocab.token(vocab.unk),
        "pad_token": vocab.token(vocab.pad),
        "chat_template": metadata.string("tokenizer.chat_template")?,
    }))
}

/// Hugging Face's name of a GGUF tensor.
fn published(name: &str) -> Result<String> {
    let known = |parts: &[&str]| {
        Some(match parts {
            ["token_embd", "weight"] => "model.embed_tokens.weight".to_owned(),
            ["output_norm", "weight"] => "model.norm.weight".to_owned(),
            ["output", "weight"] => "lm_head.weight".to_owned(),
            ["blk", layer, role, "weight"] => {
                let role = match *role {
                    "attn_norm" => "input_layernorm",
                    "attn_q" => "self_attn.q_proj",
                    "attn_k" => "self_attn.k_proj",
                    "attn_v" => "self_attn.v_proj",
                    "attn_output" => "self_attn.o_proj",
                    "ffn_norm" => "post_attention_layernorm",
                    "ffn_gate" => "mlp.gate_proj",
                    "ffn_up" => "mlp.up_proj",
                    "ffn_down" => "mlp.down_proj",
                    _ => return None,
                };
                format!("model.layers.{layer}.{role}.weight")
            }
            _ => return None,
        })
    };
    known(&name.split('.').collect::<Vec<_>>()).ok_or_else(|| format!("no name for {name}").into())
}

/// Writes the shards and returns the index.
fn weights(checkpoint: &Checkpoint, config: &ModelConfig, folder: &Path) -> Result<Value> {
    let mut shards: Vec<Vec<&TensorEntry>> = vec![Vec::new()];
    let mut size = 0;
    for entry in checkpoint.tensors.values() {
        if size > 0 && size + 2 * entry.elements() > SHARD {
            shards.push(Vec::new());
            size = 0;
        }
        size += 2 * entry.elements();
        shards.last_mut().expect("there is one").push(entry);
    }
    let (mut map, mut total) = (Map::new(), 0);
    for (i, entries) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        let mut header = json!({ "__metadata__": { "format": "pt" } });
        let mut at = 0;
        for entry in entries {
            let (name, end) = (published(&entry.name)?, at + 2 * entry.elements());
            header[&name] = json!({ "dtype": "BF16", "shape": entry.shape, "data_offsets": [at, end] });
            map.insert(name, json!(file));
            at = end;
        }
        total += at;
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut out = BufWriter::new(File::create(folder.join(&file))?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for entry in entries {
            let bytes = block_on(checkpoint.read_rows(entry, 0..entry.rows()))?;
            let values = dequantize_rows(entry.dtype, entry.k() as usize, &bytes).ok_or("a format without values")?;
            for row in original_order(config, entry) {
                let row = &values[row * entry.k() as usize..][..entry.k() as usize];
                let halves: Vec<half::bf16> = row.iter().map(|&v| half::bf16::from_f32(v)).collect();
                out.write_all(bytemuck::cast_slice(&halves))?;
            }
        }
        out.flush()?;
    }
    Ok(json!({ "metadata": { "total_size": total }, "weight_map": map }))
}

/// A tensor's rows in their original order, before the converter interleaved the halves of each query and key head.
fn original_order(config: &ModelConfig, entry: &TensorEntry) -> Vec<usize> {
    let rows = entry.rows() as usize;
    if !(entry.name.ends_with("attn_q.weight") || entry.name.ends_with("attn_k.weight")) {
        return (0..rows).collect();
    }
    let (dim, half) = (config.head_dim, config.head_dim / 2);
    (0..rows).map(|row| row / dim * dim + 2 * (row % dim % half) + row % dim / half).collect()
}
