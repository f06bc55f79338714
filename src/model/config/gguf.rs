//! Facts from GGUF metadata, whose keys are prefixed with the architecture's name.

use super::rope::{RopeConfig, RopeScaling};
use super::{
    MAX_EXPERTS, MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS, MAX_VOCAB, ModelConfig, MoeConfig,
    head_share, positions, size,
};
use crate::weights::GgufMetadata;
use crate::{Error, FormatKind, Result};

/// Architectures whose queries and keys the converter permutes for rope on neighbouring pairs (llama.cpp's `NORM` rope).
const INTERLEAVED: &[&str] = &["llama", "llama4", "deepseek", "deepseek2", "granite", "granitemoe", "smollm3", "arcee"];

/// Architectures that are built, and whose GGUF files leave facts to the reader (layers without positions, rope factors as
/// tensors, fused matrices) that are not read here yet.
const UNREAD: &[&str] = &["phi3", "smollm3"];

pub(super) fn architecture(metadata: &GgufMetadata) -> Result<String> {
    const KEY: &str = "general.architecture";
    let name = metadata.string(KEY)?.ok_or_else(|| metadata.missing(KEY))?;
    if name.is_empty() {
        return Err(Error::format(FormatKind::BadConfig, &metadata.file, format!("{KEY} is empty")));
    }
    Ok(name.into())
}

/// The facts; `has` tells whether the checkpoint has a tensor of that name.
pub(super) fn facts(metadata: &GgufMetadata, has: &dyn Fn(&str) -> bool) -> Result<ModelConfig> {
    let file = metadata.file.as_str();
    let architecture = architecture(metadata)?;
    if UNREAD.contains(&architecture.as_str()) {
        let message = format!("GGUF files of {architecture:?}; its folders of safetensors are read");
        return Err(Error::format(FormatKind::UnsupportedFeature, file, message));
    }
    super::gguf_unread::refuse(metadata, &architecture)?;
    let key = |name: &str| format!("{architecture}.{name}");
    let optional = |name: &str, most: u64| {
        let key = key(name);
        metadata.unsigned_or_same(&key)?.map(|value| size(file, &key, value, most)).transpose()
    };
    let required = |name: &str, most: u64| optional(name, most)?.ok_or_else(|| metadata.missing(&key(name)));
    let hidden_size = required("embedding_length", MAX_HIDDEN)?;
    let num_layers = required("block_count", MAX_LAYERS)?;
    let num_heads = required("attention.head_count", MAX_HEADS)?;
    let head_dim = match optional("attention.key_length", MAX_HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None => head_share(file, hidden_size, num_heads)?,
    };
    if optional("attention.value_length", MAX_HEAD_DIM)?.is_some_and(|value| value != head_dim) {
        let message = "keys and values of different widths".to_owned();
        return Err(Error::format(FormatKind::UnsupportedFeature, file, message));
    }
    let epsilon = key("attention.layer_norm_rms_epsilon");
    let context = key("context_length");
    let context_length = metadata.unsigned(&context)?.ok_or_else(|| metadata.missing(&context))?;
    let max_position_embeddings = positions(file, &context, context_length)?;
    let window = match metadata.unsigned_or_same(&key("attention.sliding_window"))? {
        None | Some(0) => None,
        Some(window) => Some(size(file, "attention.sliding_window", window, u64::MAX >> 32)?),
    };
    let intermediate_size = required("feed_forward_length", MAX_INTERMEDIATE)?;
    // 0 means that there are none.
    let moe = match metadata.unsigned(&key("expert_count"))?.filter(|&n| n > 0) {
        None => None,
        Some(_) => Some(MoeConfig {
            experts: required("expert_count", MAX_EXPERTS)?,
            top_k: required("expert_used_count", MAX_EXPERTS)?,
            inner: optional("expert_feed_forward_length", MAX_INTERMEDIATE)?.unwrap_or(intermediate_size),
            norm_topk_prob: metadata.bool(&key("expert_weights_norm"))?,
            factor: metadata.float(&key("expert_weights_scale"))?.unwrap_or(1.0),
            groups: None,
            shared_inner: optional("expert_shared_feed_forward_length", MAX_INTERMEDIATE)?,
            layers: (0..num_layers).map(|layer| has(&format!("blk.{layer}.ffn_gate_inp.weight"))).collect(),
        }),
    };
    let eos = metadata.u32("tokenizer.ggml.eos_token_id")?;
    let eot = metadata.u32("tokenizer.ggml.eot_token_id")?;
    let mut eos_token_ids: Vec<u32> = eos.into_iter().chain(eot).collect();
    eos_token_ids.dedup();
    ModelConfig {
        name: metadata.string("general.name")?.unwrap_or(file).into(),
        hidden_size,
        intermediate_size,
        num_layers,
        num_heads,
        num_kv_heads: optional("attention.head_count_kv", MAX_HEADS)?.unwrap_or(num_heads),
        head_dim,
        vocab_size: vocab_size(metadata, optional("vocab_size", MAX_VOCAB)?)?,
        max_position_embeddings,
        rms_norm_eps: metadata.float(&epsilon)?.ok_or_else(|| metadata.missing(&epsilon))?,
        rope: rope(metadata, &architecture, head_dim, max_position_embeddings, has)?,
        tie_word_embeddings: !has("output.weight"),
        attention_bias: has("blk.0.attn_q.bias"),
        mlp_bias: has("blk.0.ffn_down.bias"),
        sliding_window: window,
        sliding_layers: vec![true; window.map_or(0, |_| num_layers)],
        local_rope: None,
        no_rope_layers: Vec::new(),
        attention_scale: metadata.float(&key("attention.scale"))?,
        attention_chunk: None,
        chunked_layers: Vec::new(),
        temperature: None,
        use_qk_norm: false,
        swiglu_limit: None,
        embedding_scale: metadata.float(&key("embedding_scale"))?.unwrap_or(1.0),
        residual_scale: metadata.float(&key("residual_scale"))?.unwrap_or(1.0),
        logits_scale: metadata.float(&key("logit_scale"))?.unwrap_or(1.0),
        moe,
        mla: None,
        hidden_act: "silu".into(), // nowhere stated; what the architectures with gated MLPs here use
        bos_token_id: metadata.u32("tokenizer.ggml.bos_token_id")?,
        eos_token_ids,
        license: metadata.string("general.license")?.map(Into::into),
        architecture,
    }
    .check(file, FormatKind::BadTokenizer)
}

/// The stated size, or the number of tokens; more tokens than the stated size would have no embedding.
fn vocab_size(metadata: &GgufMetadata, stated: Option<usize>) -> Result<usize> {
    const KEY: &str = "tokenizer.ggml.tokens";
    match (stated, metadata.strings(KEY)?) {
        (Some(stated), Some(tokens)) if tokens.len() > stated => {
            let message = format!("{} tokens in a vocabulary of {stated}", tokens.len());
            Err(Error::format(FormatKind::BadTokenizer, &metadata.file, message))
        }
        (Some(stated), _) => Ok(stated),
        (None, Some(tokens)) => size(&metadata.file, KEY, tokens.len() as u64, MAX_VOCAB),
        (None, None) => Err(metadata.missing(KEY)),
    }
}

fn rope(
    metadata: &GgufMetadata,
    architecture: &str,
    head_dim: usize,
    max_positions: usize,
    has: &dyn Fn(&str) -> bool,
) -> Result<RopeConfig> {
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let rotary_dim = metadata.unsigned(&key("dimension_count"))?.unwrap_or(head_dim as u64);
    let factor = match metadata.float(&key("scaling.factor"))? {
        Some(factor) => Some(factor),
        None => metadata.float(&key("scale_linear"))?, // the older key
    };
    let missing = |name: &str| metadata.missing(&key(name));
    let scaling = match (metadata.string(&key("scaling.type"))?, factor) {
        (Some("none"), _) | (None, None) => RopeScaling::None,
        (Some("linear") | None, factor) => {
            RopeScaling::Linear { factor: factor.ok_or_else(|| missing("scaling.factor"))? }
        }
        (Some("yarn"), factor) => {
            let number = |name: &str| metadata.float(&key(name));
            let factor = factor.ok_or_else(|| missing("scaling.factor"))?;
            // Here `attn_factor` multiplies what the paper derives from the factor.
            let derived = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
            RopeScaling::Yarn {
                factor,
                beta_fast: number("scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: number("scaling.yarn_beta_slow")?.unwrap_or(1.0),
                original_max_position: number("scaling.original_context_length")?.unwrap_or(max_positions as f64),
                attention_factor: Some(number("scaling.attn_factor")?.unwrap_or(1.0) * derived),
                mscale: None,
                mscale_all_dim: None,
                truncate: true,
            }
        }
        (Some(other), _) => {
            let message = format!("rope scaling of type {other:?}");
            return Err(Error::format(FormatKind::UnsupportedFeature, &metadata.file, message));
        }
    };
    let scaling = match (scaling, has("rope_freqs.weight")) {
        (scaling, false) => scaling,
        (RopeScaling::None, true) => RopeScaling::FreqFactors,
        (_, true) => {
            let message = "rope scaling by metadata and by rope_freqs.weight at once";
            return Err(Error::format(FormatKind::UnsupportedFeature, &metadata.file, message));
        }
    };
    Ok(RopeConfig {
        theta: metadata.float(&key("freq_base"))?.unwrap_or(10_000.0), // RoPE's own base: what its absence means
        rotary_dim: usize::try_from(rotary_dim).unwrap_or(usize::MAX), // checked against head_dim next
        interleaved: INTERLEAVED.contains(&architecture),
        scaling,
    })
}
