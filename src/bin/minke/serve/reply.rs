//! Errors in the form that OpenAI's clients expect, and parts that responses have in common.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use minke::Error;
use minke::engine::{FinishReason, TokenLogprob, Usage};
use serde_json::{Value, json};

/// Why a request was not carried out.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    kind: &'static str,
    code: Option<String>,
    param: Option<String>,
    message: String,
}

impl Refusal {
    /// A fault of the request, in one of its fields.
    pub fn request(param: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code: None,
            param: param.map(str::to_owned),
            message: message.into(),
        }
    }

    /// Something that is not there.
    pub fn missing(code: &str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: Some(code.to_owned()), ..Self::request(None, message) }
    }

    /// A failure of the server.
    pub fn server(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "server_error", ..Self::request(None, message) }
    }

    /// The object that describes it.
    pub fn body(&self) -> Value {
        let Self { kind, code, param, message, .. } = self;
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::InvalidArgument { argument, .. } => Self::request(Some(&argument), message),
            Error::ContextOverflow { .. } => {
                Self { code: Some("context_length_exceeded".into()), ..Self::request(None, message) }
            }
            Error::Constraint { .. } => {
                Self { code: Some("constraint".into()), ..Self::request(Some("response_format"), message) }
            }
            Error::Template { .. } => {
                Self { code: Some("template".into()), ..Self::request(Some("messages"), message) }
            }
            error => Self { code: Some(error.code().to_owned()), ..Self::server(message) },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // Nothing that fails here succeeds when it is tried again.
        (self.status, [("x-should-retry", "false")], Json(self.body())).into_response()
    }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// An id that nothing else of this process has.
pub fn id(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    format!("{prefix}{since:x}{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `finish_reason` of a choice.
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Stop | FinishReason::Abort => "stop",
    }
}

/// `usage` of a response with the usages of its choices, which have the prompt in common.
pub fn usage(of: &[Usage]) -> Value {
    let sum = |count: fn(&Usage) -> usize| of.iter().map(count).sum::<usize>();
    let prompt = of.first().map_or(0, |usage| usage.input_tokens);
    let completion = sum(|usage| usage.output_tokens);
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": of.first().map_or(0, |usage| usage.cached_tokens) },
        "completion_tokens_details": { "reasoning_tokens": sum(|usage| usage.reasoning_tokens) },
    })
}

/// `logprobs.content` of a choice.
pub fn logprobs(tokens: &[TokenLogprob]) -> Vec<Value> {
    let one = |token: &TokenLogprob| json!({ "token": token.token, "bytes": token.bytes, "logprob": token.logprob });
    let with_top = |token: &TokenLogprob| {
        let mut value = one(token);
        value["top_logprobs"] = token.top.iter().flatten().map(one).collect();
        value
    };
    tokens.iter().map(with_top).collect()
}
