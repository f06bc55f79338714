//! `POST /completions`: goes on with a text, without a chat template.

use minke::engine::{GenerateOptions, GenerateResult, Input, Logprobs, StreamPart, TokenLogprob};
use serde_json::{Value, json};

use super::chat::{Head, choices, sampling};
use super::fields::Fields;
use super::job::Ask;
use super::reply::{self, Refusal};

/// A request that was read.
pub struct Request {
    pub model: String,
    pub ask: Ask,
    pub stream: bool,
    /// Whether answers begin with the prompt, whose text it is.
    pub echo: Option<String>,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// What the server would have to ignore, or cannot read.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of(body)?;
        let model = fields.need("model")?;
        let (input, text) = match fields.need("prompt")? {
            Value::String(text) => (Input::Text(text.clone()), Some(text)),
            ids => match serde_json::from_value(ids) {
                Ok(ids) => (Input::Ids(ids), None),
                Err(_) => return Err(Refusal::request(Some("prompt"), "prompt: expected one text, or the ids of one")),
            },
        };
        let echo = fields.take("echo")?.unwrap_or(false);
        if echo && text.is_none() {
            return Err(Refusal::request(Some("echo"), "echo: it needs a prompt that is a text"));
        }
        let options = GenerateOptions {
            // As OpenAI documents it.
            max_output_tokens: Some(fields.take("max_tokens")?.unwrap_or(16.0)),
            logprobs: fields.take("logprobs")?.map(Logprobs::Top),
            raw: text.is_some(),
            ..sampling(&mut fields)?
        };
        fields.only("suffix", &[json!("")])?;
        fields.only("best_of", &[json!(1)])?;
        let ask = Ask { input, options, n: choices(&mut fields)? };
        let stream = fields.take("stream")?.unwrap_or(false);
        fields.end(&["user", "stream_options"])?;
        Ok(Self { model, ask, stream, echo: text.filter(|_| echo) })
    }
}

/// A response with all answers.
pub fn whole(head: &Head, echo: &str, results: &[GenerateResult]) -> Value {
    let choice = |(index, result): (usize, &GenerateResult)| {
        let finish = reply::finish_reason(result.finish_reason);
        choice(index, format!("{echo}{}", result.text), result.logprobs.as_deref(), Some(finish))
    };
    let mut response = head.with("text_completion", results.iter().enumerate().map(choice).collect());
    let usages: Vec<_> = results.iter().map(|result| result.usage).collect();
    response["usage"] = reply::usage(&usages);
    response
}

/// The chunk of a part of an answer, if it has one.
pub fn chunk(head: &Head, index: usize, part: StreamPart) -> Option<Value> {
    let choice = match part {
        StreamPart::TextDelta { text, logprobs } => choice(index, text, logprobs.as_deref(), None),
        StreamPart::Finish { finish_reason, .. } => {
            choice(index, String::new(), None, Some(reply::finish_reason(finish_reason)))
        }
        _ => return None, // a text has neither reasoning nor calls
    };
    Some(head.with("text_completion", json!([choice])))
}

/// A choice, of which log-probabilities are in the form of this route: lists beside each other.
fn choice(index: usize, text: String, tokens: Option<&[TokenLogprob]>, finish_reason: Option<&str>) -> Value {
    let logprobs = tokens.map(|tokens| {
        let ranked = |token: &TokenLogprob| -> Value {
            token.top.iter().flatten().map(|top| (top.token.clone(), json!(top.logprob))).collect()
        };
        json!({
            "tokens": tokens.iter().map(|token| &token.token).collect::<Vec<_>>(),
            "token_logprobs": tokens.iter().map(|token| token.logprob).collect::<Vec<_>>(),
            "top_logprobs": tokens.iter().map(ranked).collect::<Vec<_>>(),
        })
    });
    json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason })
}
