//! Facts from GGUF metadata, whose keys are prefixed with the architecture's name.

use super::family::{Family, GgufFamily, SharedWidth};
use super::gguf_keys::Keys;
use super::gguf_rope::{local_rope, reach, rope};
use super::gguf_unread;
use super::limits::{
    MAX_EXPERTS, MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS, MAX_VOCAB, positions, size,
};
use super::model_config::{ExpertGroups, MlaConfig, ModelConfig, MoeConfig, head_share, latent_scale};
use crate::kernels::Scoring;
use crate::weights::GgufMetadata;
use crate::{Error, FormatKind, Result};

/// The facts; `has` tells whether the checkpoint has a tensor of that name.
pub(super) fn facts(metadata: &GgufMetadata, family: &Family, has: &dyn Fn(&str) -> bool) -> Result<ModelConfig> {
    let keys = Keys::of(metadata)?;
    let gguf = family.gguf.as_ref().expect("a GGUF file's family is found by its name in GGUF");
    let file = keys.file();
    gguf_unread::refuse(metadata, gguf)?;
    let hidden_size = keys.required("embedding_length", MAX_HIDDEN)?;
    let num_heads = keys.required("attention.head_count", MAX_HEADS)?;
    // Layers that predict further tokens stand at the end and take no part.
    let blocks = keys.required("block_count", MAX_LAYERS)?;
    let further = keys.unsigned("nextn_predict_layers")?.unwrap_or(0);
    let num_layers = (blocks as u64).checked_sub(further).filter(|&n| n > 0).ok_or_else(|| {
        keys.bad(FormatKind::BadConfig, format!("{further} of {blocks} blocks predict further tokens"))
    })? as usize;
    let latent = gguf.latent;
    let head_dim =
        match keys.size(if latent { "rope.dimension_count" } else { "attention.key_length" }, MAX_HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if latent => return Err(keys.missing("rope.dimension_count")),
            None => head_share(file, hidden_size, num_heads)?,
        };
    if !latent && keys.size("attention.value_length", MAX_HEAD_DIM)?.is_some_and(|value| value != head_dim) {
        return Err(keys.bad(FormatKind::UnsupportedFeature, "keys and values of different widths".to_owned()));
    }
    let mla = if latent { Some(latent_widths(&keys, head_dim)?) } else { None };
    let epsilon = keys.float("attention.layer_norm_rms_epsilon")?;
    let context_length = keys.unsigned("context_length")?.ok_or_else(|| keys.missing("context_length"))?;
    let max_position_embeddings = positions(file, &keys.key("context_length"), context_length)?;
    let intermediate_size = keys.required("feed_forward_length", MAX_INTERMEDIATE)?;
    let moe = mixture(&keys, gguf, intermediate_size, num_layers, has)?;
    let rope = rope(&keys, gguf, head_dim, max_position_embeddings, has)?;
    let reach = reach(&keys, gguf, num_layers)?;
    let attention_scale = match (keys.factor("attention.scale")?, mla) {
        (None, Some(mla)) => Some(latent_scale(mla.qk_nope_head_dim + head_dim, &rope.scaling)),
        // No key says it.
        (None, None) if gguf.share_scaled_layers == Some(num_layers) => {
            Some(1.0 / (hidden_size as f64 / num_heads as f64).sqrt())
        }
        (given, _) => given,
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
        num_kv_heads: match keys.size("attention.head_count_kv", MAX_HEADS)? {
            Some(heads) if !latent => heads, // a latent is one head for all, or was not counted so
            _ => num_heads,
        },
        head_dim,
        vocab_size: vocab_size(metadata, keys.size("vocab_size", MAX_VOCAB)?)?,
        max_position_embeddings,
        rms_norm_eps: epsilon.ok_or_else(|| keys.missing("attention.layer_norm_rms_epsilon"))?,
        local_rope: local_rope(&keys, gguf, &rope)?,
        rope,
        tie_word_embeddings: !has("output.weight"),
        attention_bias: has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias"),
        mlp_bias: has("blk.0.ffn_down.bias"),
        sliding_window: reach.window,
        sliding_layers: reach.sliding_layers,
        chunked_layers: match reach.chunk {
            None => Vec::new(),
            Some(_) => (0..num_layers).map(|i| reach.no_rope_layers.get(i) != Some(&true)).collect(),
        },
        no_rope_layers: reach.no_rope_layers,
        attention_scale,
        attention_chunk: reach.chunk,
        temperature: reach.temperature,
        use_qk_norm: match (gguf.no_qk_norm_experts, &moe) {
            (Some(without), Some(moe)) => moe.experts != without,
            _ => false,
        },
        swiglu_limit: keys.factor("swiglu_clamp_exp")?,
        embedding_scale: match keys.factor("embedding_scale")? {
            None if family.scaled_embeddings => (hidden_size as f64).sqrt(),
            scale => scale.unwrap_or(1.0),
        },
        norm_offset: 0.0, // llama.cpp's converter adds it
        residual_scale: keys.factor("residual_scale")?.unwrap_or(1.0),
        logits_scale: keys.factor("logit_scale")?.unwrap_or(1.0),
        moe,
        mla,
        hidden_act: gguf.hidden_act.into(), // nowhere stated
        bos_token_id: metadata.u32("tokenizer.ggml.bos_token_id")?,
        eos_token_ids,
        license: metadata.string("general.license")?.map(Into::into),
        warnings: Vec::new(),
        architecture: family.name.into(),
    }
    .check(file, FormatKind::BadTokenizer)
}

/// Latent attention. Files with heads of their own count keys and values as such; older ones had no other lengths.
fn latent_widths(keys: &Keys<'_>, rotary: usize) -> Result<MlaConfig> {
    let head = |own: &str, older: &str| match keys.size(own, MAX_HEAD_DIM)? {
        Some(width) => Ok(width),
        None => keys.required(older, MAX_HEAD_DIM),
    };
    let key = head("attention.key_length_mla", "attention.key_length")?;
    let Some(nope) = key.checked_sub(rotary).filter(|&nope| nope > 0) else {
        return Err(
            keys.bad(FormatKind::BadConfig, format!("rope turns {rotary} of {key} dimensions of a latent head"))
        );
    };
    Ok(MlaConfig {
        q_lora_rank: keys.some("attention.q_lora_rank", MAX_HIDDEN)?,
        kv_lora_rank: keys.required("attention.kv_lora_rank", MAX_HIDDEN)?,
        qk_nope_head_dim: nope,
        v_head_dim: head("attention.value_length_mla", "attention.value_length")?,
    })
}

/// The mixture of experts: layers that have a router.
fn mixture(
    keys: &Keys<'_>,
    gguf: &GgufFamily,
    intermediate: usize,
    num_layers: usize,
    has: &dyn Fn(&str) -> bool,
) -> Result<Option<MoeConfig>> {
    let Some(experts) = keys.some("expert_count", MAX_EXPERTS)? else { return Ok(None) };
    let top_k = keys.required("expert_used_count", MAX_EXPERTS)?;
    let inner = match keys.some("expert_feed_forward_length", MAX_INTERMEDIATE)? {
        Some(inner) => inner,
        None if gguf.experts_share_width => (intermediate / top_k).max(1), // as files from before the key mean it
        None => intermediate,
    };
    let shared_inner = match keys.some("expert_shared_feed_forward_length", MAX_INTERMEDIATE)? {
        Some(shared) => Some(shared),
        None => match (gguf.shared_expert, keys.unsigned("expert_shared_count")?.unwrap_or(0)) {
            (SharedWidth::Expert, _) => Some(inner),
            (SharedWidth::FeedForward, _) => Some(intermediate),
            (SharedWidth::Counted, 0) => None,
            (SharedWidth::Counted, n) => {
                Some(size(keys.file(), "expert_shared_count", n.saturating_mul(inner as u64), MAX_INTERMEDIATE)?)
            }
        },
    };
    // Where the file does not say: a correction is V3's way, whose scores are sigmoids.
    let corrected = || (0..num_layers).any(|layer| has(&format!("blk.{layer}.exp_probs_b.bias")));
    let scoring = match keys.scoring()? {
        None if gguf.latent && corrected() => Some(Scoring::Sigmoid),
        stated => stated,
    };
    let groups = match keys.unsigned("expert_group_count")? {
        None | Some(0 | 1) => None,
        Some(count) => Some(ExpertGroups {
            count: size(keys.file(), "expert_group_count", count, crate::kernels::MAX_GROUPS as u64)?,
            kept: keys.size("expert_group_used_count", count)?.unwrap_or(count as usize),
            top_two: scoring == Some(Scoring::Sigmoid), // V3's way, and V2's is the other
        }),
    };
    let norm_topk_prob = keys.metadata.bool(&keys.key("expert_weights_norm"))?;
    Ok(Some(MoeConfig {
        experts,
        top_k,
        inner,
        norm_topk_prob: norm_topk_prob.or(gguf.latent.then_some(false)),
        factor: keys.factor("expert_weights_scale")?.unwrap_or(1.0),
        scoring,
        groups,
        shared_inner,
        layers: (0..num_layers).map(|layer| has(&format!("blk.{layer}.ffn_gate_inp.weight"))).collect(),
    }))
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
