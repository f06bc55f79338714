//! Facts from config.json, in the older form (`rope_theta`, `rope_scaling`) and the newer (`rope_parameters`).

use serde_json::Value;

use super::family::Family;
use super::fields::{FILE, Fields, bad, unsupported};
use super::hugging_face_rope::Ropes;
use super::layer_kinds::LayerKinds;
use super::limits::{
    MAX_EXPERTS, MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS, MAX_VOCAB, positions, size,
};
use super::model_config::{ExpertGroups, MlaConfig, ModelConfig, MoeConfig, head_share, latent_scale};
use super::{classes, quantised};
use crate::kernels::Temperature;
use crate::{FormatKind, Result};

fn fields(config: &Value) -> Result<Fields<'_>> {
    let object = config.as_object().ok_or_else(|| bad("an object is expected".into()))?;
    Ok(Fields { file: FILE, object })
}

/// What a config.json names.
pub(in crate::model) struct Named<'a> {
    /// `model_type`, of the text model where it is stated; empty where the list of architectures is.
    pub model_type: &'a str,
    /// Whether the config is of a multimodal model, with a part for its text model.
    pub multimodal: bool,
}

pub(in crate::model) fn named(config: &Value) -> Result<Named<'_>> {
    let fields = fields(config)?;
    let multimodal = classes::text_part(fields.object).is_some();
    if fields.get("architectures").is_some_and(|list| list.as_array().is_some_and(Vec::is_empty)) {
        return Ok(Named { model_type: "", multimodal }); // which no table of architectures has
    }
    let name = classes::model_type(fields.object).filter(|name| !name.is_null());
    let name = name.ok_or_else(|| fields.missing("model_type"))?;
    let name = name.as_str().ok_or_else(|| fields.wrong("model_type", "a string"))?;
    Ok(Named { model_type: name, multimodal })
}

/// The facts; `has` tells whether the checkpoint has a tensor of that name.
pub(super) fn facts(config: &Value, family: &Family, has: &dyn Fn(&str) -> bool) -> Result<ModelConfig> {
    let keys = classes::read(fields(config)?.object, family.name);
    let fields = Fields { file: FILE, object: &keys };
    let required = |key: &str, most: u64| fields.size(key, most)?.ok_or_else(|| fields.missing(key));
    quantised::check(fields)?;
    refuse_others(fields)?;
    let hidden_size = required("hidden_size", MAX_HIDDEN)?;
    let num_layers = required("num_hidden_layers", MAX_LAYERS)?;
    let num_heads = required("num_attention_heads", MAX_HEADS)?;
    let mla = latent(fields)?;
    let head_dim = match fields.size(if mla.is_some() { "qk_rope_head_dim" } else { "head_dim" }, MAX_HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None if mla.is_some() => return Err(fields.missing("qk_rope_head_dim")),
        None => head_share(FILE, hidden_size, num_heads)?,
    };
    let context =
        fields.unsigned("max_position_embeddings")?.ok_or_else(|| fields.missing("max_position_embeddings"))?;
    let max_position_embeddings = positions(FILE, "max_position_embeddings", context)?;
    let kinds = LayerKinds::of(fields, family, num_layers)?;
    let Ropes { mut rope, local_rope, warnings } = Ropes::read(fields, family, head_dim, max_position_embeddings)?;
    if mla.is_some() {
        rope.interleaved = fields.bool("rope_interleave")?.unwrap_or(true);
    }
    let attention_scale = match fields.number("query_pre_attn_scalar")? {
        Some(scalar) => Some(1.0 / scalar.sqrt()),
        None => match mla {
            Some(mla) => Some(latent_scale(mla.qk_nope_head_dim + head_dim, &rope.scaling)),
            None => fields.number("attention_multiplier")?,
        },
    };
    let moe = mixture(fields, num_layers)?;
    let tied = fields.bool("tie_word_embeddings")?;
    ModelConfig {
        architecture: family.name.into(),
        name: fields.string("_name_or_path")?.unwrap_or_default().rsplit('/').next().unwrap_or_default().into(),
        hidden_size,
        intermediate_size: match fields.size("intermediate_size_mlp", MAX_INTERMEDIATE)? {
            Some(dense) => dense, // Llama 4: intermediate_size is an expert's
            None => required("intermediate_size", MAX_INTERMEDIATE)?,
        },
        num_layers,
        num_heads,
        // Multi-head attention is what configs without this key mean.
        num_kv_heads: fields.size("num_key_value_heads", MAX_HEADS)?.unwrap_or(num_heads),
        head_dim,
        vocab_size: required("vocab_size", MAX_VOCAB)?,
        max_position_embeddings,
        rms_norm_eps: fields.number("rms_norm_eps")?.ok_or_else(|| fields.missing("rms_norm_eps"))?,
        rope,
        local_rope,
        no_rope_layers: kinds.no_rope,
        attention_scale,
        attention_chunk: kinds.chunk.0,
        chunked_layers: kinds.chunk.1,
        temperature: temperature(fields)?,
        use_qk_norm: fields.bool("use_qk_norm")?.unwrap_or(false),
        swiglu_limit: fields.number("swiglu_limit")?,
        embedding_scale: if family.scaled_embeddings {
            (hidden_size as f64).sqrt()
        } else {
            fields.number("embedding_multiplier")?.unwrap_or(1.0)
        },
        norm_offset: family.norm_offset,
        residual_scale: fields.number("residual_multiplier")?.unwrap_or(1.0),
        logits_scale: fields.number("logits_scaling")?.unwrap_or(1.0),
        moe,
        mla,
        // Left out by writers that leave out defaults, which differ between architectures; the tensors know.
        tie_word_embeddings: tied.unwrap_or_else(|| !HEADS.iter().any(|name| has(name))),
        attention_bias: match fields.bool("qkv_bias")? {
            Some(bias) => bias, // Qwen2-MoE's, of all but the output
            None => fields.bool("attention_bias")?.unwrap_or(false),
        },
        mlp_bias: fields.bool("mlp_bias")?.unwrap_or(false),
        sliding_window: kinds.window.0,
        sliding_layers: kinds.window.1,
        hidden_act: match fields.string("hidden_activation")? {
            Some(name) => name,
            None => fields.string("hidden_act")?.ok_or_else(|| fields.missing("hidden_act"))?,
        }
        .into(),
        bos_token_id: fields.token_ids("bos_token_id")?.first().copied(),
        eos_token_ids: fields.token_ids("eos_token_id")?,
        license: fields.string("license")?.map(Into::into),
        warnings,
    }
    .check(FILE, FormatKind::BadConfig)
}

/// Refuses what changes a model's results and is not computed here.
fn refuse_others(fields: Fields<'_>) -> Result<()> {
    for cap in ["attn_logit_softcapping", "final_logit_softcapping", "clip_qkv"] {
        if let Some(value) = fields.get(cap) {
            return Err(unsupported(format!("{cap} is {value}")));
        }
    }
    if fields.bool("use_bidirectional_attention")? == Some(true) {
        return Err(unsupported("attention to later tokens (use_bidirectional_attention)".into()));
    }
    if let Some(alpha) = fields.number("swiglu_alpha")?.filter(|&alpha| alpha != 1.702) {
        return Err(unsupported(format!("swiglu_alpha is {alpha}; only 1.702 is supported")));
    }
    Ok(())
}

/// Llama 4's factor of queries, which grows with the position in layers without RoPE.
fn temperature(fields: Fields<'_>) -> Result<Option<Temperature>> {
    let is_on = fields.switch("attn_temperature_tuning")? == Some(true);
    match (fields.number("attn_scale")?, fields.number("floor_scale")?) {
        _ if !is_on => Ok(None),
        (Some(growth), Some(floor)) if floor > 0.0 => {
            Ok(Some(Temperature { growth: growth as f32, floor: floor as f32 }))
        }
        _ => Err(bad("attn_temperature_tuning without attn_scale and floor_scale".into())),
    }
}

/// Where checkpoints keep a head of its own.
const HEADS: [&str; 2] = ["lm_head.weight", "language_model.lm_head.weight"];

/// Latent attention.
fn latent(fields: Fields<'_>) -> Result<Option<MlaConfig>> {
    let Some(kv_lora_rank) = fields.size("kv_lora_rank", MAX_HIDDEN)? else { return Ok(None) };
    let required = |key: &str| fields.size(key, MAX_HEAD_DIM)?.ok_or_else(|| fields.missing(key));
    Ok(Some(MlaConfig {
        q_lora_rank: fields.size("q_lora_rank", MAX_HIDDEN)?,
        kv_lora_rank,
        qk_nope_head_dim: required("qk_nope_head_dim")?,
        v_head_dim: required("v_head_dim")?,
    }))
}

/// The mixture of experts, under the names that families have for its facts.
fn mixture(fields: Fields<'_>, num_layers: usize) -> Result<Option<MoeConfig>> {
    let first = |keys: &[&str], most: u64| {
        let found = keys.iter().find(|key| fields.get(key).is_some());
        found.map_or(Ok(None), |key| fields.size(key, most))
    };
    let Some(experts) = first(&["num_experts", "num_local_experts", "n_routed_experts"], MAX_EXPERTS)? else {
        return Ok(None);
    };
    let own = fields.size("moe_intermediate_size", MAX_INTERMEDIATE)?;
    let inner = match own {
        Some(inner) => inner,
        None => {
            fields.size("intermediate_size", MAX_INTERMEDIATE)?.ok_or_else(|| fields.missing("intermediate_size"))?
        }
    };
    let shared_inner = match fields.unsigned("n_shared_experts")?.filter(|&n| n > 0) {
        Some(n) => Some(size(FILE, "n_shared_experts", n.saturating_mul(inner as u64), MAX_INTERMEDIATE)?),
        None => fields.size("shared_expert_intermediate_size", MAX_INTERMEDIATE)?,
    };
    let listed = |key: &str| match fields.get(key) {
        None => Ok(None),
        Some(Value::Array(layers)) => Ok(Some(layers.iter().filter_map(Value::as_u64).collect::<Vec<_>>())),
        Some(_) => Err(fields.wrong(key, "a list of layers")),
    };
    let (mixtures, dense) = (listed("moe_layers")?, listed("mlp_only_layers")?.unwrap_or_default());
    let shared_inner = match (shared_inner, fields.get("intermediate_size_mlp")) {
        (None, Some(_)) => Some(inner), // Llama 4 has such a part in every mixture, as wide as an expert
        (shared, _) => shared,
    };
    let step = match fields.unsigned("decoder_sparse_step")? {
        Some(step) => step,
        None => fields.unsigned("interleave_moe_layer_step")?.unwrap_or(1),
    };
    let step = step.max(1);
    let dense_before = fields.unsigned("first_k_dense_replace")?.unwrap_or(0);
    let groups = match (fields.string("topk_method")?, fields.unsigned("n_group")?, fields.unsigned("topk_group")?) {
        (Some("greedy"), ..) | (_, None | Some(0 | 1), _) => None,
        (method, Some(count), kept) => Some(ExpertGroups {
            count: size(FILE, "n_group", count, crate::kernels::MAX_GROUPS as u64)?,
            kept: size(FILE, "topk_group", kept.unwrap_or(count), count)?,
            top_two: method != Some("group_limited_greedy"),
        }),
    };
    let is_mixture = |layer: u64| match &mixtures {
        Some(layers) => layers.contains(&layer),
        None => layer >= dense_before && !dense.contains(&layer) && (layer + 1).is_multiple_of(step),
    };
    Ok(Some(MoeConfig {
        experts,
        top_k: first(&["num_experts_per_tok", "experts_per_token"], MAX_EXPERTS)?
            .ok_or_else(|| fields.missing("num_experts_per_tok"))?,
        inner,
        norm_topk_prob: fields.bool("norm_topk_prob")?,
        factor: fields.number("routed_scaling_factor")?.unwrap_or(1.0),
        scoring: None,
        groups,
        shared_inner,
        layers: (0..num_layers as u64).map(is_mixture).collect(),
    }))
}
