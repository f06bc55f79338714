//! What a caller asks of a generation, checked, and the model's own defaults.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kernels::SamplerOptions;
use crate::model::config::GenerationDefaults;
use crate::{Error, Result};

/// `GenerateOptions` of the JavaScript API, as far as it is built.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[allow(missing_docs)] // api.d.ts says it
pub struct GenerateOptions {
    pub max_output_tokens: Option<f64>,
    pub stop_sequences: Vec<String>,
    pub seed: Option<f64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<f64>,
    pub min_p: Option<f64>,
    pub raw: bool,
    pub template_args: Map<String, Value>,
}

fn whole(name: &str, value: f64, least: f64, most: f64) -> Result<f64> {
    if value.fract() == 0.0 && (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid(name, format!("{value} is not a whole number from {least} to {most}")))
}

impl GenerateOptions {
    /// Tokens to generate at most, below `room`.
    pub(super) fn limit(&self, defaults: &GenerationDefaults, room: usize) -> Result<usize> {
        let asked = match self.max_output_tokens {
            Some(n) => Some(whole("maxOutputTokens", n, 1.0, 9_007_199_254_740_991.0)? as usize),
            None => defaults.max_new_tokens,
        };
        Ok(asked.unwrap_or(usize::MAX).min(room))
    }

    /// What the GPU sampler is to do. Without any sampling option the model's `generation_config.json` decides, greedy
    /// where it says nothing; with one, what is left open comes from there too, and the temperature is 1 if it has none.
    pub(super) fn sampler(&self, defaults: &GenerationDefaults, fresh_seed: fn() -> u64) -> Result<SamplerOptions> {
        let range = |name: &str, value: Option<f64>, ok: fn(f64) -> bool, what: &str| match value {
            Some(v) if !(v.is_finite() && ok(v)) => Err(Error::invalid(name, format!("{v} is not {what}"))),
            _ => Ok(()),
        };
        range("temperature", self.temperature, |v| v >= 0.0, "a number of at least 0")?;
        range("topP", self.top_p, |v| v > 0.0 && v <= 1.0, "above 0 and at most 1")?;
        range("minP", self.min_p, |v| (0.0..1.0).contains(&v), "at least 0 and below 1")?;
        let top_k = self.top_k.map(|k| whole("topK", k, 0.0, 4_294_967_295.0)).transpose()?;
        let seed = match self.seed {
            Some(seed) => whole("seed", seed, 0.0, 9_007_199_254_740_991.0)? as u64,
            None => fresh_seed(),
        };
        let asked = self.temperature.is_some() || self.top_p.is_some() || self.min_p.is_some() || top_k.is_some();
        let own = if defaults.do_sample || asked { defaults.temperature.unwrap_or(1.0) } else { 0.0 };
        let temperature = self.temperature.unwrap_or(own) as f32;
        if temperature == 0.0 {
            return Ok(SamplerOptions::GREEDY);
        }
        Ok(SamplerOptions {
            // Below this the difference of two logits over it overflows; it is greedy all the same.
            temperature: temperature.max(1e-4),
            top_p: self.top_p.or(defaults.top_p).unwrap_or(1.0) as f32,
            min_p: self.min_p.or(defaults.min_p).unwrap_or(0.0) as f32,
            top_k: top_k.map(|k| k as u32).or(defaults.top_k.map(|k| k as u32)).unwrap_or(0),
            seed: [seed as u32, (seed >> 32) as u32],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> GenerateOptions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn defaults_come_from_the_generation_config() {
        let r1 = GenerationDefaults {
            do_sample: true,
            temperature: Some(0.6),
            top_p: Some(0.95),
            ..GenerationDefaults::default()
        };
        let s = options("{}").sampler(&r1, || 1).unwrap();
        assert_eq!((s.temperature, s.top_p, s.top_k, s.seed), (0.6, 0.95, 0, [1, 0]));
        let s = options(r#"{"temperature": 0, "seed": 3}"#).sampler(&r1, || 1).unwrap();
        assert_eq!(s, SamplerOptions::GREEDY);
        let none = GenerationDefaults::default();
        assert_eq!(options("{}").sampler(&none, || 1).unwrap(), SamplerOptions::GREEDY);
        let s = options(r#"{"topK": 5, "seed": 4294967297}"#).sampler(&none, || 1).unwrap();
        assert_eq!((s.temperature, s.top_k, s.seed), (1.0, 5, [1, 1]));
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let none = GenerationDefaults::default();
        for (json, name) in [
            (r#"{"temperature": -1}"#, "temperature"),
            (r#"{"topP": 0}"#, "topP"),
            (r#"{"topP": 1.5}"#, "topP"),
            (r#"{"minP": 1}"#, "minP"),
            (r#"{"topK": 2.5}"#, "topK"),
            (r#"{"seed": -1}"#, "seed"),
        ] {
            match options(json).sampler(&none, || 1) {
                Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, name),
                other => panic!("{json}: {other:?}"),
            }
        }
        assert!(options(r#"{"maxOutputTokens": 0}"#).limit(&none, 10).is_err());
        assert_eq!(options(r#"{"maxOutputTokens": 20}"#).limit(&none, 10), Ok(10));
    }
}
