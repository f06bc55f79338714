//! What a generation starts from, the parts it streams and the result it ends with.

use serde::Serialize;

use crate::text::Message;

/// The input of a generation.
#[derive(Debug, Clone)]
pub enum Input {
    /// One user turn, or with `raw` the text to continue.
    Text(String),
    /// A conversation.
    Messages(Vec<Message>),
    /// Token ids to continue, without a chat template.
    Ids(Vec<u32>),
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop sequence was met.
    Stop,
    /// `maxOutputTokens` or the end of the context was reached.
    Length,
    /// The caller stopped it.
    Abort,
}

/// Token counts and timings of a generation.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub struct Usage {
    pub input_tokens: usize,
    pub cached_tokens: usize,
    pub output_tokens: usize,
    pub reasoning_tokens: usize,
    pub prefill_ms: f64,
    pub decode_ms: f64,
    pub time_to_first_token_ms: f64,
    pub tokens_per_second: f64,
}

impl Usage {
    /// Sets the times of a generation that began at `start`, sampled its first token at `first` and ended at `end`, in ms.
    pub(super) fn time(&mut self, start: f64, first: Option<f64>, end: f64) {
        let first = first.unwrap_or(end);
        self.prefill_ms = first - start;
        self.time_to_first_token_ms = first - start;
        self.decode_ms = end - first;
        if self.output_tokens > 1 && self.decode_ms > 0.0 {
            self.tokens_per_second = (self.output_tokens - 1) as f64 / self.decode_ms * 1000.0;
        }
    }
}

/// A piece of a running generation.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub enum StreamPart {
    Prefill {
        done: usize,
        total: usize,
    },
    ReasoningDelta {
        text: String,
    },
    TextDelta {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<TokenLogprob>>,
    },
    Finish {
        finish_reason: FinishReason,
        usage: Usage,
    },
}

/// A finished generation.
#[derive(Debug, Clone)]
pub struct GenerateResult {
    /// The answer's text.
    pub text: String,
    /// The reasoning before the answer.
    pub reasoning: String,
    /// Why the generation ended.
    pub finish_reason: FinishReason,
    /// Token counts and timings.
    pub usage: Usage,
    /// The conversation with this turn added.
    pub messages: Vec<Message>,
    /// The generated tokens, including the end-of-sequence token if there is one.
    pub ids: Vec<u32>,
    /// Log-probabilities of the generated tokens, if they were requested.
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// A token with the natural logarithm of its probability (`TokenLogprob` of the JavaScript API).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub struct TokenLogprob {
    pub id: u32,
    pub token: String,
    pub bytes: Vec<u8>,
    pub logprob: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Vec<TokenLogprob>>,
}
