//! Generation options: parsing, range checks, and the defaults that a model's own files declare.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kernels::{History, MAX_TOP, SamplerOptions};
use crate::model::config::GenerationDefaults;
use crate::{Error, Result};

/// `GenerateOptions` of the JavaScript API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub struct GenerateOptions {
    pub max_output_tokens: Option<f64>,
    pub stop_sequences: Vec<String>,
    pub seed: Option<f64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<f64>,
    pub min_p: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub logit_bias: BTreeMap<String, f64>,
    pub logprobs: Option<Logprobs>,
    pub reasoning: Reasoning,
    pub raw: bool,
    pub template_args: Map<String, Value>,
}

/// `true` for the sampled tokens' log-probabilities; a number to include that many of the most probable tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)] // see the enum's documentation
pub enum Logprobs {
    Chosen(bool),
    Top(f64),
}

/// Whether a reasoning model reasons before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Reasoning {
    /// `"auto"` or `"none"`.
    Named(ReasoningMode),
    /// A budget: the reasoning is closed once it has this many tokens.
    #[serde(rename_all = "camelCase")]
    Budget {
        /// The budget in tokens, at least 0.
        max_tokens: f64,
    },
}

impl Default for Reasoning {
    fn default() -> Self {
        Self::Named(ReasoningMode::Auto)
    }
}

/// See [`Reasoning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningMode {
    /// The model's default behaviour.
    Auto,
    /// The model answers without reasoning.
    None,
}

/// Logit biases by token id; empty if no option sets one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Bias(Vec<(u32, f32)>);

impl Bias {
    /// The sampler's table of biases and token counts, after `prompt` and the tokens generated so far.
    pub(super) fn history(&self, vocabulary: usize, prompt: &[u32], generated: &[u32]) -> Vec<History> {
        let mut history = vec![History::default(); vocabulary];
        for &(id, bias) in &self.0 {
            history[id as usize].bias = bias;
        }
        for &id in prompt {
            history[id as usize].times = History::IN_PROMPT;
        }
        for &id in generated {
            history[id as usize].times += 1;
        }
        history
    }
}

fn whole(name: &str, value: f64, least: f64, most: f64) -> Result<f64> {
    if value.fract() == 0.0 && (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid(name, format!("{value} is not a whole number from {least} to {most}")))
}

impl GenerateOptions {
    /// The maximum number of tokens to generate, below `room`.
    pub(super) fn limit(&self, defaults: &GenerationDefaults, room: usize) -> Result<usize> {
        let asked = match self.max_output_tokens {
            Some(n) => Some(whole("maxOutputTokens", n, 1.0, 9_007_199_254_740_991.0)? as usize),
            None => defaults.max_new_tokens,
        };
        Ok(asked.unwrap_or(usize::MAX).min(room))
    }

    /// The maximum length of the reasoning in tokens, if it is limited.
    pub(super) fn reasoning_budget(&self) -> Result<Option<usize>> {
        match self.reasoning {
            Reasoning::Named(ReasoningMode::Auto) => Ok(None),
            Reasoning::Named(ReasoningMode::None) => Ok(Some(0)),
            Reasoning::Budget { max_tokens } => {
                whole("reasoning.maxTokens", max_tokens, 0.0, 9_007_199_254_740_991.0).map(|n| Some(n as usize))
            }
        }
    }

    /// The validated logit biases.
    pub(super) fn bias(&self, vocabulary: usize) -> Result<Bias> {
        let one = |(id, &bias): (&String, &f64)| {
            let known = id.parse::<u32>().ok().filter(|&id| (id as usize) < vocabulary);
            let Some(known) = known else {
                let message = format!("{id:?} is not an id in the vocabulary of {vocabulary} tokens");
                return Err(Error::invalid("logitBias", message));
            };
            if !bias.is_finite() {
                return Err(Error::invalid("logitBias", format!("{bias} for token {id} is not a finite number")));
            }
            Ok((known, bias.clamp(-1e30, 1e30) as f32))
        };
        self.logit_bias.iter().map(one).collect::<Result<_>>().map(Bias)
    }

    /// The options of the GPU sampler. Without any sampling option the model's `generation_config.json` decides, with
    /// greedy decoding if that sets nothing; with one, unset options come from there too, and the temperature defaults
    /// to 1.
    pub(super) fn sampler(&self, defaults: &GenerationDefaults, fresh_seed: fn() -> u64) -> Result<SamplerOptions> {
        let range = |name: &str, value: Option<f64>, ok: fn(f64) -> bool, what: &str| match value {
            Some(v) if !(v.is_finite() && ok(v)) => Err(Error::invalid(name, format!("{v} is not {what}"))),
            _ => Ok(()),
        };
        range("temperature", self.temperature, |v| v >= 0.0, "a number of at least 0")?;
        range("topP", self.top_p, |v| v > 0.0 && v <= 1.0, "above 0 and at most 1")?;
        range("minP", self.min_p, |v| (0.0..1.0).contains(&v), "at least 0 and below 1")?;
        range("repetitionPenalty", self.repetition_penalty, |v| (1e-6..=1e6).contains(&v), "from 0.000001 to 1000000")?;
        range("presencePenalty", self.presence_penalty, |v| v.abs() <= 1e6, "from -1000000 to 1000000")?;
        range("frequencyPenalty", self.frequency_penalty, |v| v.abs() <= 1e6, "from -1000000 to 1000000")?;
        let logprobs = match self.logprobs {
            None | Some(Logprobs::Chosen(false)) => 0,
            Some(Logprobs::Chosen(true)) => 1,
            Some(Logprobs::Top(n)) => 1 + whole("logprobs", n, 0.0, f64::from(MAX_TOP))? as u32,
        };
        let top_k = self.top_k.map(|k| whole("topK", k, 0.0, 4_294_967_295.0)).transpose()?;
        let seed = match self.seed {
            Some(seed) => whole("seed", seed, 0.0, 9_007_199_254_740_991.0)? as u64,
            None => fresh_seed(),
        };
        let asked = self.temperature.is_some() || self.top_p.is_some() || self.min_p.is_some() || top_k.is_some();
        let own = if defaults.do_sample || asked { defaults.temperature.unwrap_or(1.0) } else { 0.0 };
        let temperature = self.temperature.unwrap_or(own) as f32;
        let repetition = self.repetition_penalty.or(defaults.repetition_penalty).unwrap_or(1.0) as f32;
        let presence = self.presence_penalty.unwrap_or(0.0) as f32;
        let frequency = self.frequency_penalty.unwrap_or(0.0) as f32;
        let adjust = repetition != 1.0 || presence != 0.0 || frequency != 0.0 || !self.logit_bias.is_empty();
        let penalties = SamplerOptions {
            adjust: u32::from(adjust),
            logprobs,
            repetition,
            repetition_inverse: 1.0 / repetition,
            presence,
            frequency,
            ..SamplerOptions::GREEDY
        };
        if temperature == 0.0 {
            return Ok(penalties);
        }
        Ok(SamplerOptions {
            // Below this value, dividing a difference of logits by the temperature overflows; greedy decoding is
            // equivalent.
            temperature: temperature.max(1e-4),
            top_p: self.top_p.or(defaults.top_p).unwrap_or(1.0) as f32,
            min_p: self.min_p.or(defaults.min_p).unwrap_or(0.0) as f32,
            top_k: top_k.map(|k| k as u32).or(defaults.top_k.map(|k| k as u32)).unwrap_or(0),
            seed: [seed as u32, (seed >> 32) as u32],
            ..penalties
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
    fn penalties_bias_and_reasoning_are_read() {
        let defaults = GenerationDefaults { repetition_penalty: Some(1.25), ..GenerationDefaults::default() };
        let s = options("{}").sampler(&defaults, || 1).unwrap();
        assert_eq!((s.temperature, s.adjust, s.repetition, s.repetition_inverse), (0.0, 1, 1.25, 0.8));
        let s = options(r#"{"repetitionPenalty": 1, "logprobs": 5}"#).sampler(&defaults, || 1).unwrap();
        assert_eq!((s.adjust, s.logprobs), (0, 6));
        let s = options(r#"{"presencePenalty": 0.5, "frequencyPenalty": -1, "logprobs": true}"#);
        let s = s.sampler(&GenerationDefaults::default(), || 1).unwrap();
        assert_eq!((s.adjust, s.presence, s.frequency, s.logprobs), (1, 0.5, -1.0, 1));
        let o = options(r#"{"logitBias": {"2": -100}, "reasoning": {"maxTokens": 7}}"#);
        let history = o.bias(4).unwrap().history(4, &[1, 2, 1], &[3, 3, 2]);
        assert_eq!(history.iter().map(|h| h.bias).collect::<Vec<_>>(), [0.0, 0.0, -100.0, 0.0]);
        let prompt = History::IN_PROMPT;
        assert_eq!(history.iter().map(|h| h.times).collect::<Vec<_>>(), [0, prompt, prompt + 1, 2]);
        assert_eq!(o.reasoning_budget(), Ok(Some(7)));
        assert_eq!(options(r#"{"reasoning": "none"}"#).reasoning_budget(), Ok(Some(0)));
        assert_eq!(options(r#"{"reasoning": "auto"}"#).reasoning_budget(), Ok(None));
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
            (r#"{"repetitionPenalty": 0}"#, "repetitionPenalty"),
            (r#"{"presencePenalty": 1e9}"#, "presencePenalty"),
            (r#"{"frequencyPenalty": -1e9}"#, "frequencyPenalty"),
            (r#"{"logprobs": 65}"#, "logprobs"),
            (r#"{"logprobs": 1.5}"#, "logprobs"),
        ] {
            match options(json).sampler(&none, || 1) {
                Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, name),
                other => panic!("{json}: {other:?}"),
            }
        }
        for json in [r#"{"logitBias": {"10": 1}}"#, r#"{"logitBias": {"x": 1}}"#, r#"{"logitBias": {"-1": 1}}"#] {
            let error = options(json).bias(10).unwrap_err();
            assert!(matches!(&error, Error::InvalidArgument { argument, .. } if argument == "logitBias"), "{error}");
        }
        assert!(options(r#"{"reasoning": {"maxTokens": -1}}"#).reasoning_budget().is_err());
        for json in [r#"{"reasoning": "some"}"#, r#"{"reasoning": {"tokens": 1}}"#] {
            assert!(serde_json::from_str::<GenerateOptions>(json).is_err(), "{json}");
        }
        assert!(options(r#"{"maxOutputTokens": 0}"#).limit(&none, 10).is_err());
        assert_eq!(options(r#"{"maxOutputTokens": 20}"#).limit(&none, 10), Ok(10));
    }
}
