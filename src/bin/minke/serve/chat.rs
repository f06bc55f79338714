//! `POST /chat/completions`.

use std::collections::BTreeMap;

use minke::engine::{
    Constraint, GenerateOptions, GenerateResult, Input, Logprobs, Reasoning, ReasoningMode, StreamPart, ToolChoice,
    ToolChoiceMode,
};
use minke::text::{Message, ToolCall, ToolSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fields::Fields;
use super::job::Ask;
use super::reply::{self, Refusal};

/// Fields without effect on what a local model answers.
const WITHOUT_EFFECT: &[&str] = &[
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
];

/// A request that was read.
pub struct Request {
    pub model: String,
    pub ask: Ask,
    pub stream: bool,
    /// Whether a stream ends with a chunk that has the usage.
    pub include_usage: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// What the server would have to ignore, or cannot read.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of(body)?;
        let model = fields.need("model")?;
        let messages: Vec<Value> = fields.need("messages")?;
        let messages =
            messages.into_iter().enumerate().map(|(i, value)| message(i, value)).collect::<Result<_, _>>()?;
        let mut options = GenerateOptions {
            max_output_tokens: match fields.take("max_completion_tokens")? {
                Some(most) => Some(most),
                None => fields.take("max_tokens")?,
            },
            ..sampling(&mut fields)?
        };
        let wanted = fields.take("logprobs")?.unwrap_or(false);
        options.logprobs = match fields.take::<f64>("top_logprobs")? {
            Some(_) if !wanted => return Err(Refusal::request(Some("top_logprobs"), "top_logprobs needs logprobs")),
            Some(top) => Some(Logprobs::Top(top)),
            None => wanted.then_some(Logprobs::Chosen(true)),
        };
        if fields.take::<String>("reasoning_effort")?.is_some_and(|effort| effort == "none") {
            options.reasoning = Reasoning::Named(ReasoningMode::None);
        }
        options.tools =
            fields.take::<Vec<Offered>>("tools")?.unwrap_or_default().into_iter().map(Offered::tool).collect();
        options.tool_choice = fields.take::<Choice>("tool_choice")?.map(Choice::of_engine).unwrap_or_default();
        options.response_constraint = fields.take::<Format>("response_format")?.and_then(Format::constraint);
        fields.only("modalities", &[json!(["text"])])?;
        let request = Self {
            model,
            ask: Ask { input: Input::Messages(messages), options, n: choices(&mut fields)? },
            stream: fields.take("stream")?.unwrap_or(false),
            include_usage: fields.take::<StreamOptions>("stream_options")?.unwrap_or_default().include_usage,
        };
        fields.end(WITHOUT_EFFECT)?;
        Ok(request)
    }
}

/// A tool that is offered.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Offered {
    Function { function: Described },
}

#[derive(Deserialize)]
struct Described {
    name: String,
    description: Option<String>,
    /// A JSON Schema; without one, the function has no arguments.
    parameters: Option<Value>,
}

impl Offered {
    fn tool(self) -> ToolSpec {
        let Self::Function { function: Described { name, description, parameters } } = self;
        let input_schema = parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        ToolSpec { name, description, input_schema }
    }
}

/// Which tools are called.
#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Mode(ToolChoiceMode),
    Function { function: Named },
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Choice {
    fn of_engine(self) -> ToolChoice {
        match self {
            Self::Mode(mode) => ToolChoice::Named(mode),
            Self::Function { function } => ToolChoice::Tool { tool_name: function.name },
        }
    }
}

/// What the answer must be.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    Text,
    JsonObject,
    JsonSchema { json_schema: Schema },
}

#[derive(Deserialize)]
struct Schema {
    schema: Value,
}

impl Format {
    fn constraint(self) -> Option<Constraint> {
        match self {
            Self::Text => None,
            Self::JsonObject => Some(Constraint::Json { json: json!({ "type": "object" }) }),
            Self::JsonSchema { json_schema } => Some(Constraint::Json { json: json_schema.schema }),
        }
    }
}

/// The number of choices.
pub fn choices(fields: &mut Fields) -> Result<usize, Refusal> {
    match fields.take("n")?.unwrap_or(1) {
        n @ 1..=128 => Ok(n),
        n => Err(Refusal::request(Some("n"), format!("n: {n} is not between 1 and 128"))),
    }
}

/// The sampling options, which all routes have.
pub fn sampling(fields: &mut Fields) -> Result<GenerateOptions, Refusal> {
    let stop_sequences = match fields.take("stop")? {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Many(texts)) => texts,
    };
    Ok(GenerateOptions {
        stop_sequences,
        seed: fields.take("seed")?,
        temperature: fields.take("temperature")?,
        top_p: fields.take("top_p")?,
        presence_penalty: fields.take("presence_penalty")?,
        frequency_penalty: fields.take("frequency_penalty")?,
        logit_bias: fields.take::<BTreeMap<String, f64>>("logit_bias")?.unwrap_or_default(),
        ..GenerateOptions::default()
    })
}

/// A text, or a list of parts that are texts.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // as the API names them
pub enum Part {
    Text { text: String },
    InputText { text: String },
    OutputText { text: String },
    ReasoningText { text: String },
    SummaryText { text: String },
    Refusal { refusal: String },
}

impl Content {
    /// The texts, in lines.
    pub fn text(self) -> String {
        let part = |part| match part {
            Part::Text { text }
            | Part::InputText { text }
            | Part::OutputText { text }
            | Part::ReasoningText { text }
            | Part::SummaryText { text }
            | Part::Refusal { refusal: text } => text,
        };
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(part).collect::<Vec<_>>().join("\n"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    role: String,
    content: Option<Content>,
    name: Option<String>,
    reasoning_content: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
    tool_call_id: Option<String>,
    /// Of answers that are sent back.
    #[allow(dead_code)]
    refusal: Option<String>,
    #[allow(dead_code)]
    annotations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// A message of the API.
fn message(i: usize, value: Value) -> Result<Message, Refusal> {
    let turn: Turn = serde_json::from_value(value)
        .map_err(|error| Refusal::request(Some(&format!("messages[{i}]")), format!("messages[{i}]: {error}")))?;
    let mut message = Message::new(turn.role, turn.content.map(Content::text).unwrap_or_default());
    message.name = turn.name;
    message.reasoning = turn.reasoning_content;
    message.tool_call_id = turn.tool_call_id;
    let call =
        |Call { id, function }| ToolCall { tool_call_id: id, tool_name: function.name, input: function.arguments };
    message.tool_calls = turn.tool_calls.unwrap_or_default().into_iter().map(call).collect();
    Ok(message)
}

/// What the responses to a request have in common.
pub struct Head {
    pub id: String,
    pub created: u64,
    pub model: String,
}

impl Head {
    /// The head of the responses to a request.
    pub fn new(prefix: &str, model: &str) -> Self {
        Self { id: reply::id(prefix), created: reply::now(), model: model.to_owned() }
    }

    /// A response of a kind with its choices.
    pub fn with(&self, object: &str, choices: Value) -> Value {
        let Self { id, created, model } = self;
        json!({ "id": id, "object": object, "created": created, "model": model, "choices": choices })
    }
}

/// A response with all answers.
pub fn whole(head: &Head, results: &[GenerateResult]) -> Value {
    let choice = |(index, result): (usize, &GenerateResult)| {
        let calls: Vec<Value> = result.tool_calls.iter().map(|call| function(call, None)).collect();
        let content = if result.text.is_empty() && !calls.is_empty() { Value::Null } else { json!(result.text) };
        let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        if !result.reasoning.is_empty() {
            message["reasoning_content"] = json!(result.reasoning);
        }
        let logprobs =
            result.logprobs.as_deref().map(|tokens| json!({ "content": reply::logprobs(tokens), "refusal": null }));
        let finish_reason = reply::finish_reason(result.finish_reason);
        json!({ "index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason })
    };
    let mut response = head.with("chat.completion", results.iter().enumerate().map(choice).collect());
    let usages: Vec<_> = results.iter().map(|result| result.usage).collect();
    response["usage"] = reply::usage(&usages);
    response
}

/// A call of a message, or with its `index` of a chunk.
fn function(call: &ToolCall, index: Option<usize>) -> Value {
    let ToolCall { tool_call_id, tool_name, input } = call;
    let mut value =
        json!({ "id": tool_call_id, "type": "function", "function": { "name": tool_name, "arguments": input } });
    if let Some(index) = index {
        value["index"] = json!(index);
    }
    value
}

/// Makes the chunks of a stream.
pub struct Chunks {
    pub head: Head,
    /// Ids of the calls that the answer has begun.
    begun: Vec<String>,
}

impl Chunks {
    /// The chunks of a response.
    pub fn new(head: Head) -> Self {
        Self { head, begun: Vec::new() }
    }

    /// The first chunk of an answer, which has the role.
    pub fn first(&mut self, index: usize) -> Value {
        self.begun.clear();
        self.chunk(index, json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null, None)
    }

    /// The chunk of a part of an answer, if it has one.
    pub fn part(&mut self, index: usize, part: StreamPart) -> Option<Value> {
        let (delta, logprobs, finish_reason) = match part {
            StreamPart::ReasoningDelta { text } => (json!({ "reasoning_content": text }), None, None),
            StreamPart::TextDelta { text, logprobs } => (json!({ "content": text }), logprobs, None),
            StreamPart::ToolInputDelta { tool_call_id, tool_name, delta } => {
                (json!({ "tool_calls": [self.input(tool_call_id, tool_name, delta)] }), None, None)
            }
            // All of its input has been sent.
            StreamPart::ToolCall(call) if self.begun.contains(&call.tool_call_id) => return None,
            StreamPart::ToolCall(ToolCall { tool_call_id, tool_name, input }) => {
                (json!({ "tool_calls": [self.input(tool_call_id, tool_name, input)] }), None, None)
            }
            StreamPart::Finish { finish_reason, .. } => (json!({}), None, Some(reply::finish_reason(finish_reason))),
            StreamPart::Prefill { .. } => return None,
        };
        let logprobs = logprobs.map(|tokens| json!({ "content": reply::logprobs(&tokens), "refusal": null }));
        Some(self.chunk(index, delta, json!(logprobs), finish_reason))
    }

    /// A piece of a call's input; the first has id and name, too.
    fn input(&mut self, id: String, name: String, delta: String) -> Value {
        match self.begun.iter().position(|begun| *begun == id) {
            Some(index) => json!({ "index": index, "function": { "arguments": delta } }),
            None => {
                self.begun.push(id.clone());
                let call = ToolCall { tool_call_id: id, tool_name: name, input: delta };
                function(&call, Some(self.begun.len() - 1))
            }
        }
    }

    fn chunk(&self, index: usize, delta: Value, logprobs: Value, finish_reason: Option<&str>) -> Value {
        let choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason });
        self.head.with("chat.completion.chunk", json!([choice]))
    }
}
