//! Generation options: parsing, checks against the table of options, and the defaults that a model's own files declare.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::constraint::Constraint;
use super::rules::RULES;
use super::tool_choice::ToolChoice;
use crate::kernels::{History, SamplerOptions};
use crate::model::config::GenerationDefaults;
use crate::text::{ToolSpec, tools_by_name};
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
    #[serde(deserialize_with = "tools_by_name")]
    pub tools: Vec<ToolSpec>,
    pub tool_choice: ToolChoice,
    pub response_constraint: Option<Constraint>,
}

/// Options of `score` in the JavaScript API.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub struct ScoreOptions {
    pub top: Option<f64>,
    pub raw: bool,
}

impl ScoreOptions {
    /// The number of most probable tokens at each position.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]
    pub fn top(&self) -> Result<usize> {
        let top = self.top.unwrap_or_else(|| RULES.score.default("top"));
        RULES.score.number("top", top).map(|()| top as usize)
    }
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
#[serde(untagged, deny_unknown_fields)]
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

impl GenerateOptions {
    /// Checks every option against the table. Whether the ids of `logitBias` are in the vocabulary, the model knows.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]
    pub fn check(&self) -> Result<()> {
        let rules = &RULES.generate;
        let top = match self.logprobs {
            Some(Logprobs::Top(n)) => Some(n),
            _ => None,
        };
        let budget = match self.reasoning {
            Reasoning::Budget { max_tokens } => Some(max_tokens),
            Reasoning::Named(_) => None,
        };
        for (name, value) in [
            ("maxOutputTokens", self.max_output_tokens),
            ("seed", self.seed),
            ("temperature", self.temperature),
            ("topP", self.top_p),
            ("topK", self.top_k),
            ("minP", self.min_p),
            ("repetitionPenalty", self.repetition_penalty),
            ("presencePenalty", self.presence_penalty),
            ("frequencyPenalty", self.frequency_penalty),
            ("logprobs", top),
            ("reasoning.maxTokens", budget),
        ] {
            if let Some(value) = value {
                rules.number(name, value)?;
            }
        }
        if self.stop_sequences.iter().any(String::is_empty) {
            return Err(rules.refused("stopSequences", &self.stop_sequences));
        }
        for (id, &bias) in &self.logit_bias {
            if id.is_empty() || !id.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(rules.refused("logitBias", id));
            }
            rules.rule("logitBias").items().number(&format!("logitBias[{id}]"), bias)?;
        }
        super::tool_choice::check(&self.tools, &self.tool_choice)
    }

    /// The maximum number of tokens to generate, below `room`.
    pub(super) fn limit(&self, defaults: &GenerationDefaults, room: usize) -> usize {
        let asked = self.max_output_tokens.map(|n| n as usize).or(defaults.max_new_tokens);
        asked.unwrap_or(usize::MAX).min(room)
    }

    /// The maximum length of the reasoning in tokens, if it is limited.
    pub(super) fn reasoning_budget(&self) -> Option<usize> {
        match self.reasoning {
            Reasoning::Named(ReasoningMode::Auto) => None,
            Reasoning::Named(ReasoningMode::None) => Some(0),
            Reasoning::Budget { max_tokens } => Some(max_tokens as usize),
        }
    }

    /// The logit biases, whose ids must be in the vocabulary.
    pub(super) fn bias(&self, vocabulary: usize) -> Result<Bias> {
        let one = |(id, &bias): (&String, &f64)| {
            let known = id.parse::<u32>().ok().filter(|&id| (id as usize) < vocabulary);
            let message = || format!("{id} is not an id in the vocabulary of {vocabulary} tokens");
            let known = known.ok_or_else(|| Error::invalid("logitBias", message()))?;
            Ok((known, bias.clamp(-1e30, 1e30) as f32))
        };
        self.logit_bias.iter().map(one).collect::<Result<_>>().map(Bias)
    }

    /// The options of the GPU sampler. Without any sampling option the model's `generation_config.json` decides, with
    /// greedy decoding if that sets nothing; with one, unset options come from there too, and the temperature defaults
    /// to 1.
    pub(super) fn sampler(&self, defaults: &GenerationDefaults, fresh_seed: fn() -> u64) -> SamplerOptions {
        let logprobs = match self.logprobs {
            None | Some(Logprobs::Chosen(false)) => 0,
            Some(Logprobs::Chosen(true)) => 1,
            Some(Logprobs::Top(n)) => 1 + n as u32,
        };
        let seed = self.seed.map_or_else(fresh_seed, |seed| seed as u64);
        let asked = self.temperature.is_some() || self.top_p.is_some() || self.min_p.is_some() || self.top_k.is_some();
        let own = if defaults.do_sample || asked { defaults.temperature.unwrap_or(1.0) } else { 0.0 };
        let temperature = self.temperature.unwrap_or(own) as f32;
        // The caller's value, else the model's, else the table's.
        let value = |name: &str, given: Option<f64>, own: Option<f64>| {
            given.or(own).unwrap_or_else(|| RULES.generate.default(name))
        };
        let repetition = value("repetitionPenalty", self.repetition_penalty, defaults.repetition_penalty) as f32;
        let presence = value("presencePenalty", self.presence_penalty, None) as f32;
        let frequency = value("frequencyPenalty", self.frequency_penalty, None) as f32;
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
            return penalties;
        }
        SamplerOptions {
            // Below this value, dividing a difference of logits by the temperature overflows; greedy decoding is
            // equivalent.
            temperature: temperature.max(1e-4),
            top_p: value("topP", self.top_p, defaults.top_p) as f32,
            min_p: value("minP", self.min_p, defaults.min_p) as f32,
            top_k: value("topK", self.top_k, defaults.top_k.map(|k| k as f64)) as u32,
            seed: [seed as u32, (seed >> 32) as u32],
            ..penalties
        }
    }
}

#[cfg(test)]
mod tests;
