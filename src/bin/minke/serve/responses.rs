//! `POST /responses`: responses of typed items, which later ones continue as long as the server runs.

use std::collections::HashMap;

use minke::engine::{
    Constraint, FinishReason, GenerateOptions, Input, Logprobs, Reasoning, ReasoningMode, StreamPart, ToolChoice,
    ToolChoiceMode, Usage,
};
use minke::text::{Message, ToolCall, ToolSpec};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::chat::{Content, sampling};
use super::fields::Fields;
use super::job::Ask;
use super::reply::{self, Refusal};

/// A request that was read.
pub struct Request {
    pub model: String,
    pub ask: Ask,
    pub stream: bool,
    pub store: bool,
    /// Items of the whole conversation, without the instructions.
    items: Vec<Value>,
    /// Those of this request.
    input: Vec<Value>,
    /// Fields of the response that repeat the request.
    settings: Map<String, Value>,
}

/// Responses that can be continued, by id.
#[derive(Default)]
pub struct Stored(HashMap<String, Kept>);

struct Kept {
    response: Value,
    items: Vec<Value>,
    input: Vec<Value>,
}

impl Stored {
    fn known(&self, id: &str) -> Result<&Kept, Refusal> {
        self.0.get(id).ok_or_else(|| Refusal::missing("not_found", format!("there is no response {id:?}")))
    }

    /// A response.
    pub fn get(&self, id: &str) -> Result<Value, Refusal> {
        self.known(id).map(|kept| kept.response.clone())
    }

    /// The input of a response, the latest item first.
    pub fn input(&self, id: &str) -> Result<Value, Refusal> {
        let Kept { input, .. } = self.known(id)?;
        let data: Vec<&Value> = input.iter().rev().collect();
        let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
        Ok(json!({
            "object": "list", "data": data, "first_id": id(input.last()), "last_id": id(input.first()), "has_more": false,
        }))
    }

    /// Forgets a response.
    pub fn delete(&mut self, id: &str) -> Result<Value, Refusal> {
        self.known(id)?;
        self.0.remove(id);
        Ok(json!({ "id": id, "object": "response", "deleted": true }))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Text(String),
    Items(Vec<Map<String, Value>>),
}

impl Given {
    /// The items, with types and ids.
    fn items(self) -> Vec<Value> {
        let with = |mut item: Map<String, Value>| {
            item.entry("type").or_insert_with(|| json!("message"));
            item.entry("id").or_insert_with(|| json!(reply::id("item_")));
            Value::Object(item)
        };
        match self {
            Self::Text(text) => vec![json!({
                "id": reply::id("msg_"), "type": "message", "role": "user", "status": "completed",
                "content": [{ "type": "input_text", "text": text }],
            })],
            Self::Items(items) => items.into_iter().map(with).collect(),
        }
    }
}

/// A tool, which has its fields beside its type.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Offered {
    Function { name: String, description: Option<String>, parameters: Option<Value> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Mode(ToolChoiceMode),
    Function { name: String },
}

/// What the answer must be.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    Text,
    JsonObject,
    JsonSchema { schema: Value },
}

#[derive(Deserialize, Default)]
struct TextOptions {
    format: Option<Format>,
}

#[derive(Deserialize, Default)]
struct Thoughts {
    effort: Option<String>,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// What the server would have to ignore, or cannot read.
    pub fn read(body: &[u8], stored: &Stored) -> Result<Self, Refusal> {
        let mut fields = Fields::of(body)?;
        let given = |name: &str, or: Value| fields.peek(name).cloned().unwrap_or(or);
        let mut settings: Map<String, Value> = [
            ("metadata", json!({})),
            ("temperature", Value::Null),
            ("top_p", Value::Null),
            ("max_output_tokens", Value::Null),
            ("instructions", Value::Null),
            ("previous_response_id", Value::Null),
            ("tools", json!([])),
            ("tool_choice", json!("auto")),
            ("parallel_tool_calls", json!(true)),
            ("text", json!({ "format": { "type": "text" } })),
            ("reasoning", json!({ "effort": null, "summary": null })),
            ("store", json!(true)),
        ]
        .into_iter()
        .map(|(name, or)| (name.to_owned(), given(name, or)))
        .collect();
        settings.insert("truncation".into(), json!("disabled"));
        settings.insert("background".into(), json!(false));
        let model: String = fields.need("model")?;
        settings.insert("model".into(), json!(model));
        let mut options =
            GenerateOptions { max_output_tokens: fields.take("max_output_tokens")?, ..sampling(&mut fields)? };
        fields.only("truncation", &[json!("disabled")])?;
        fields.only("background", &[json!(false)])?;
        let include: Vec<String> = fields.take("include")?.unwrap_or_default();
        if let Some(what) = include.iter().find(|what| *what != "message.output_text.logprobs") {
            return Err(Refusal::request(Some("include"), format!("include: {what:?} is not available here")));
        }
        options.logprobs = match fields.take("top_logprobs")? {
            Some(top) => Some(Logprobs::Top(top)),
            None => (!include.is_empty()).then_some(Logprobs::Chosen(true)),
        };
        if fields.take::<Thoughts>("reasoning")?.unwrap_or_default().effort.is_some_and(|effort| effort == "none") {
            options.reasoning = Reasoning::Named(ReasoningMode::None);
        }
        options.response_constraint = match fields.take::<TextOptions>("text")?.unwrap_or_default().format {
            None | Some(Format::Text) => None,
            Some(Format::JsonObject) => Some(Constraint::Json { json: json!({ "type": "object" }) }),
            Some(Format::JsonSchema { schema }) => Some(Constraint::Json { json: schema }),
        };
        let tool = |Offered::Function { name, description, parameters }| {
            let input_schema = parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
            ToolSpec { name, description, input_schema }
        };
        options.tools = fields.take::<Vec<Offered>>("tools")?.unwrap_or_default().into_iter().map(tool).collect();
        options.tool_choice = match fields.take("tool_choice")? {
            None => ToolChoice::default(),
            Some(Choice::Mode(mode)) => ToolChoice::Named(mode),
            Some(Choice::Function { name }) => ToolChoice::Tool { tool_name: name },
        };
        let input = fields.need::<Given>("input")?.items();
        let mut items = match fields.take::<String>("previous_response_id")? {
            None => Vec::new(),
            Some(id) => match stored.0.get(&id) {
                Some(kept) => kept.items.clone(),
                None => {
                    return Err(Refusal::request(Some("previous_response_id"), format!("there is no response {id:?}")));
                }
            },
        };
        items.extend(input.iter().cloned());
        let mut messages: Vec<Message> = Vec::new();
        messages.extend(fields.take::<String>("instructions")?.map(|text| Message::new("system", text)));
        messages.extend(messages_of(&items)?);
        let stream = fields.take("stream")?.unwrap_or(false);
        let store = fields.take("store")?.unwrap_or(true);
        fields.end(&[
            "metadata",
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "stream_options",
            "user",
        ])?;
        let ask = Ask { input: Input::Messages(messages), options, n: 1 };
        Ok(Self { model, ask, stream, store, items, input, settings })
    }
}

/// An item of an input, without what has no effect.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    Message { role: String, content: Content },
    Reasoning { content: Option<Content>, summary: Option<Content> },
    FunctionCall { call_id: String, name: String, arguments: String },
    FunctionCallOutput { call_id: String, output: Content },
}

/// The messages that items stand for. Those of one answer (thoughts, text, calls) become one message.
fn messages_of(items: &[Value]) -> Result<Vec<Message>, Refusal> {
    let mut messages: Vec<Message> = Vec::new();
    /// The answer that an item belongs to: the last message, if that is one and `goes_on`, or else a new one.
    fn open(messages: &mut Vec<Message>, goes_on: impl Fn(&Message) -> bool) -> &mut Message {
        if !messages.last().is_some_and(|last| last.role == "assistant" && goes_on(last)) {
            messages.push(Message::new("assistant", ""));
        }
        messages.last_mut().expect("it was pushed")
    }
    for (i, item) in items.iter().enumerate() {
        let refused = |error| Refusal::request(Some(&format!("input[{i}]")), format!("input[{i}]: {error}"));
        let begun = |message: &Message| !message.content.is_empty() || !message.tool_calls.is_empty();
        match Item::deserialize(item).map_err(refused)? {
            Item::Message { role, content } if role == "assistant" => {
                open(&mut messages, |last| !begun(last)).content = content.text();
            }
            Item::Message { role, content } => messages.push(Message::new(role, content.text())),
            Item::Reasoning { content, summary } => {
                let text = content.or(summary).map(Content::text).unwrap_or_default();
                *open(&mut messages, |last| !begun(last)).reasoning.get_or_insert_default() += &text;
            }
            Item::FunctionCall { call_id, name, arguments } => {
                let call = ToolCall { tool_call_id: call_id, tool_name: name, input: arguments };
                open(&mut messages, |_| true).tool_calls.push(call);
            }
            Item::FunctionCallOutput { call_id, output } => {
                let mut result = Message::new("tool", output.text());
                result.tool_call_id = Some(call_id);
                messages.push(result);
            }
        }
    }
    Ok(messages)
}

/// What kind an item of the output is.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Reasoning,
    Message,
    /// With the call's id.
    Call(String),
}

/// The item that is being written, the last of the output.
struct Open {
    kind: Kind,
    text: String,
    logprobs: Vec<Value>,
}

/// Turns the parts of a generation into the events of a response, in their order.
pub struct Writer {
    response: Value,
    items: Vec<Value>,
    input: Vec<Value>,
    store: bool,
    sequence: usize,
    open: Option<Open>,
}

impl Writer {
    /// The writer of the response to a request.
    pub fn new(request: &mut Request) -> Self {
        let mut response = json!({
            "id": reply::id("resp_"), "object": "response", "created_at": reply::now(), "status": "in_progress", "error": null,
            "incomplete_details": null, "output": [], "usage": null,
        });
        let fields = response.as_object_mut().expect("it is an object");
        fields.append(&mut request.settings);
        let (items, input) = (std::mem::take(&mut request.items), std::mem::take(&mut request.input));
        Self { response, items, input, store: request.store, sequence: 0, open: None }
    }

    /// The response so far.
    pub fn response(&self) -> &Value {
        &self.response
    }

    /// Keeps the response for later ones.
    pub fn keep(&mut self, stored: &mut Stored) {
        if !self.store {
            return;
        }
        let output = self.response["output"].as_array().cloned().unwrap_or_default();
        let items = self.items.drain(..).chain(output).collect();
        let id = self.response["id"].as_str().unwrap_or_default().to_owned();
        let kept = Kept { response: self.response.clone(), items, input: std::mem::take(&mut self.input) };
        stored.0.insert(id, kept);
    }

    /// The first events.
    pub fn begin(&mut self) -> Vec<Value> {
        vec![self.whole("response.created"), self.whole("response.in_progress")]
    }

    /// The event of a failure.
    pub fn failed(&mut self, refusal: &Refusal) -> Value {
        let mut error = refusal.body()["error"].take();
        error["type"] = Value::Null; // that of the event
        self.event("error", error)
    }

    /// The events that a part stands for.
    pub fn add(&mut self, part: StreamPart) -> Vec<Value> {
        let mut events = Vec::new();
        match part {
            StreamPart::Prefill { .. } => {}
            StreamPart::ReasoningDelta { text } => {
                self.into(Kind::Reasoning, "", &mut events);
                events.push(self.delta("response.reasoning_text.delta", text, json!({ "content_index": 0 })));
            }
            StreamPart::TextDelta { text, logprobs } => {
                self.into(Kind::Message, "", &mut events);
                let logprobs = reply::logprobs(&logprobs.unwrap_or_default());
                if let Some(open) = &mut self.open {
                    open.logprobs.extend(logprobs.iter().cloned());
                }
                let fields = json!({ "content_index": 0, "logprobs": logprobs });
                events.push(self.delta("response.output_text.delta", text, fields));
            }
            StreamPart::ToolInputDelta { tool_call_id, tool_name, delta } => {
                self.into(Kind::Call(tool_call_id), &tool_name, &mut events);
                events.push(self.delta("response.function_call_arguments.delta", delta, json!({})));
            }
            StreamPart::ToolCall(ToolCall { tool_call_id, tool_name, input }) => {
                self.into(Kind::Call(tool_call_id), &tool_name, &mut events);
                // A whole call says nothing that its pieces did not, if there were any.
                if self.open.as_ref().is_some_and(|open| open.text.is_empty()) {
                    events.push(self.delta("response.function_call_arguments.delta", input, json!({})));
                }
                self.close("completed", &mut events);
            }
            StreamPart::Finish { finish_reason, usage } => self.end(finish_reason, &usage, &mut events),
        }
        events
    }

    fn end(&mut self, reason: FinishReason, usage: &Usage, events: &mut Vec<Value>) {
        let cut = reason == FinishReason::Length;
        let status = if cut { "incomplete" } else { "completed" };
        self.close(status, events);
        self.response["status"] = json!(status);
        if cut {
            self.response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        let mut of_chat = reply::usage(&[*usage]);
        self.response["usage"] = json!({
            "input_tokens": of_chat["prompt_tokens"].take(),
            "input_tokens_details": of_chat["prompt_tokens_details"].take(),
            "output_tokens": of_chat["completion_tokens"].take(),
            "output_tokens_details": of_chat["completion_tokens_details"].take(),
            "total_tokens": of_chat["total_tokens"].take(),
        });
        events.push(self.whole(&format!("response.{status}")));
    }

    fn output(&mut self) -> &mut Vec<Value> {
        self.response["output"].as_array_mut().expect("it is a list")
    }

    /// Closes the open item and opens one of a kind, unless the open one goes on.
    fn into(&mut self, kind: Kind, name: &str, events: &mut Vec<Value>) {
        if self.open.as_ref().is_some_and(|open| open.kind == kind) {
            return;
        }
        self.close("completed", events);
        let item = match &kind {
            Kind::Reasoning => json!({ "id": reply::id("rs_"), "type": "reasoning", "summary": [], "content": [] }),
            Kind::Message => json!({ "id": reply::id("msg_"), "type": "message", "role": "assistant", "content": [] }),
            Kind::Call(id) => {
                json!({ "id": reply::id("fc_"), "type": "function_call", "call_id": id, "name": name, "arguments": "" })
            }
        };
        self.output().push(item);
        self.set("status", json!("in_progress"));
        self.open = Some(Open { kind, text: String::new(), logprobs: Vec::new() });
        let added = self.of_item("response.output_item.added");
        events.push(added);
        if let Some(part) = self.part() {
            events.push(self.of("response.content_part.added", json!({ "content_index": 0, "part": part })));
        }
    }

    fn close(&mut self, status: &str, events: &mut Vec<Value>) {
        let Some(Open { kind, text, logprobs }) = &self.open else { return };
        let (kind, text, logprobs) = (kind.clone(), text.clone(), logprobs.clone());
        match self.part() {
            None => {
                let name = self.output().last().map(|item| item["name"].clone());
                let done = json!({ "arguments": text, "name": name });
                events.push(self.of("response.function_call_arguments.done", done));
                self.set("arguments", json!(text));
            }
            Some(part) => {
                events.push(match kind {
                    Kind::Reasoning => {
                        self.of("response.reasoning_text.done", json!({ "content_index": 0, "text": text }))
                    }
                    _ => {
                        let done = json!({ "content_index": 0, "text": text, "logprobs": logprobs });
                        self.of("response.output_text.done", done)
                    }
                });
                events.push(self.of("response.content_part.done", json!({ "content_index": 0, "part": part })));
                self.set("content", json!([part]));
            }
        }
        self.set("status", json!(status));
        let done = self.of_item("response.output_item.done");
        events.push(done);
        self.open = None;
    }

    /// The content of the open item so far; `None` for calls.
    fn part(&self) -> Option<Value> {
        let Open { kind, text, logprobs } = self.open.as_ref()?;
        match kind {
            Kind::Reasoning => Some(json!({ "type": "reasoning_text", "text": text })),
            Kind::Message => {
                Some(json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": logprobs }))
            }
            Kind::Call(_) => None,
        }
    }

    /// Sets a field of the last item.
    fn set(&mut self, name: &str, value: Value) {
        if let Some(item) = self.output().last_mut() {
            item[name] = value;
        }
    }

    fn delta(&mut self, kind: &str, delta: String, mut fields: Value) -> Value {
        if let Some(open) = &mut self.open {
            open.text += &delta;
        }
        fields["delta"] = json!(delta);
        self.of(kind, fields)
    }

    /// An event about a part of the last item.
    fn of(&mut self, kind: &str, mut fields: Value) -> Value {
        let index = self.output().len() - 1;
        fields["item_id"] = self.output()[index]["id"].clone();
        fields["output_index"] = json!(index);
        self.event(kind, fields)
    }

    /// An event about the last item.
    fn of_item(&mut self, kind: &str) -> Value {
        let index = self.output().len() - 1;
        let item = self.output()[index].clone();
        self.event(kind, json!({ "output_index": index, "item": item }))
    }

    fn whole(&mut self, kind: &str) -> Value {
        let response = self.response.clone();
        self.event(kind, json!({ "response": response }))
    }

    fn event(&mut self, kind: &str, mut fields: Value) -> Value {
        fields["type"] = json!(kind);
        fields["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        fields
    }
}
