//! Rope, windows and positions from GGUF metadata, with what llama.cpp's architectures take for granted.

use super::family::GgufFamily;
use super::gguf_keys::Keys;
use super::limits::{MAX_HEAD_DIM, size};
use super::rope::{RopeConfig, RopeScaling};
use crate::kernels::Temperature;
use crate::weights::metadata::{GgufArray, GgufValue};
use crate::{Error, FormatKind, Result};

/// Where positions count, and how far a query sees.
#[derive(Default)]
pub(super) struct Reach {
    pub window: Option<usize>,
    pub sliding_layers: Vec<bool>,
    pub chunk: Option<usize>,
    pub no_rope_layers: Vec<bool>,
    pub temperature: Option<Temperature>,
}

pub(super) fn reach(keys: &Keys<'_>, gguf: &GgufFamily, num_layers: usize) -> Result<Reach> {
    const WINDOW: &str = "attention.sliding_window";
    let window = keys.unsigned(WINDOW)?;
    let inner = inner_layers(keys, gguf, num_layers)?;
    let no_rope_layers = match gguf.no_rope_last {
        true => inner.iter().map(|inner| !inner).collect(),
        false => Vec::new(),
    };
    let window = match window {
        None | Some(0) => None,
        Some(window) => Some(size(keys.file(), WINDOW, window, u64::MAX >> 32)?),
    };
    if !gguf.chunked {
        let sliding_layers = if window.is_some() { inner } else { Vec::new() };
        return Ok(Reach { window, sliding_layers, no_rope_layers, ..Reach::default() });
    }
    if keys.unsigned(WINDOW)? == Some(0) {
        let message = format!("{:?} is 0: a {} without chunks", keys.key(WINDOW), keys.prefix);
        return Err(Error::format(FormatKind::UnsupportedFeature, keys.file(), message));
    }
    // What the models that there are have, where the file does not say.
    let floor = keys.float("attention.temperature_length")?.unwrap_or(8192.0);
    let growth = keys.float("attention.temperature_scale")?.unwrap_or(0.1);
    if !(floor > 0.0 && floor.is_finite() && growth.is_finite()) {
        let message = format!("queries grow by {growth} each {floor} tokens");
        return Err(Error::format(FormatKind::BadConfig, keys.file(), message));
    }
    let temperature = (growth != 0.0).then_some(Temperature { growth: growth as f32, floor: floor as f32 });
    Ok(Reach { chunk: Some(window.unwrap_or(8192)), no_rope_layers, temperature, ..Reach::default() })
}

/// For each layer whether it is not the last of its period: published as the period's length, or as a list.
fn inner_layers(keys: &Keys<'_>, gguf: &GgufFamily, num_layers: usize) -> Result<Vec<bool>> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let key = keys.key(PATTERN);
    let listed = match keys.metadata.get(&key) {
        Some(GgufValue::Array(GgufArray::Bool(list))) => Some(list.clone()),
        Some(GgufValue::Array(GgufArray::U32(list))) => Some(list.iter().map(|&n| n != 0).collect()),
        Some(GgufValue::Array(GgufArray::I32(list))) => Some(list.iter().map(|&n| n != 0).collect()),
        _ => None,
    };
    if let Some(list) = listed {
        if list.len() < num_layers {
            let message = format!("metadata key {key:?} has {} elements for {num_layers} layers", list.len());
            return Err(Error::format(FormatKind::BadValue, keys.file(), message));
        }
        return Ok(list[..num_layers].to_vec());
    }
    let period = keys.metadata.unsigned(&key)?.unwrap_or(gguf.period);
    Ok((1..=num_layers as u64).map(|n| period == 0 || !n.is_multiple_of(period)).collect())
}

/// The rope of layers with a window, where it is another.
pub(super) fn local_rope(keys: &Keys<'_>, gguf: &GgufFamily, rope: &RopeConfig) -> Result<Option<RopeConfig>> {
    let theta = keys.float("rope.freq_base_swa")?;
    Ok(match (gguf.local_rope_base, theta) {
        (Some(base), theta) => {
            Some(RopeConfig { theta: theta.unwrap_or(base), scaling: RopeScaling::None, ..rope.clone() })
        }
        (None, Some(theta)) if theta != rope.theta => Some(RopeConfig { theta, ..rope.clone() }),
        _ => None,
    })
}

/// `has` tells whether the checkpoint has a tensor of that name.
pub(super) fn rope(
    keys: &Keys<'_>,
    gguf: &GgufFamily,
    head_dim: usize,
    max_positions: usize,
    has: &dyn Fn(&str) -> bool,
) -> Result<RopeConfig> {
    let number = |name: &str| keys.float(&format!("rope.{name}"));
    let factor = match number("scaling.factor")? {
        Some(factor) => Some(factor),
        None => number("scale_linear")?, // the older key
    };
    let factor_or_missing = || factor.ok_or_else(|| keys.missing("rope.scaling.factor"));
    let original = number("scaling.original_context_length")?.unwrap_or(max_positions as f64);
    let kind = keys.metadata.string(&keys.key("rope.scaling.type"))?;
    let long = has("rope_factors_long.weight") || has("rope_factors_short.weight");
    let scaling = match kind {
        Some("longrope") => long_rope(number("scaling.attn_factor")?, original, max_positions),
        None if long && factor.is_none() => long_rope(number("scaling.attn_factor")?, original, max_positions),
        Some("none") => RopeScaling::None,
        None if factor.is_none() => RopeScaling::None,
        Some("linear") | None => RopeScaling::Linear { factor: factor_or_missing()? },
        Some("yarn") => yarn(keys, gguf, factor_or_missing()?, original)?,
        Some(other) => {
            let message = format!("rope scaling of type {other:?}");
            return Err(Error::format(FormatKind::UnsupportedFeature, keys.file(), message));
        }
    };
    let by_metadata = !matches!(scaling, RopeScaling::None | RopeScaling::LongFactors { .. });
    let scaling = match (&scaling, has("rope_freqs.weight")) {
        (RopeScaling::None, true) => RopeScaling::FreqFactors,
        (_, freqs) if freqs || long && by_metadata => {
            let message = "rope scaling by metadata and by tensors at once";
            return Err(Error::format(FormatKind::UnsupportedFeature, keys.file(), message));
        }
        _ => scaling,
    };
    Ok(RopeConfig {
        theta: number("freq_base")?.unwrap_or(10_000.0), // RoPE's own base: what its absence means
        rotary_dim: match keys.unsigned("rope.dimension_count")? {
            Some(dim) => size(keys.file(), "rope.dimension_count", dim, MAX_HEAD_DIM)?,
            None => head_dim,
        },
        interleaved: gguf.interleaved_rope,
        scaling,
    })
}

fn long_rope(attention_factor: Option<f64>, original: f64, max_positions: usize) -> RopeScaling {
    let factor = max_positions as f64 / original;
    let derived = if factor > 1.0 { (1.0 + factor.ln() / original.ln()).sqrt() } else { 1.0 };
    RopeScaling::LongFactors { original_max_position: original, attention_factor: attention_factor.unwrap_or(derived) }
}

fn yarn(keys: &Keys<'_>, gguf: &GgufFamily, factor: f64, original_max_position: f64) -> Result<RopeScaling> {
    let number = |name: &str| keys.float(&format!("rope.scaling.{name}"));
    // DeepSeek's `mscale_all_dim`, a tenth of it; its `mscale` is the same, and so cos and sin keep their scale.
    let all_dim = number("yarn_log_multiplier")?.filter(|_| gguf.latent).map(|tenth| tenth / 0.1);
    let derived = if factor > 1.0 && all_dim.is_none() { 0.1 * factor.ln() + 1.0 } else { 1.0 };
    Ok(RopeScaling::Yarn {
        factor,
        beta_fast: number("yarn_beta_fast")?.unwrap_or(32.0),
        beta_slow: number("yarn_beta_slow")?.unwrap_or(1.0),
        original_max_position,
        // Here `attn_factor` multiplies what the paper derives from the factor.
        attention_factor: Some(number("attn_factor")?.unwrap_or(1.0) * derived),
        mscale: all_dim,
        mscale_all_dim: all_dim,
        truncate: gguf.yarn_truncate,
    })
}
