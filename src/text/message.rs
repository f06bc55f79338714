//! Messages and tools in the form of this API, and their conversion to the form that chat templates expect.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A message of a conversation (`Message` of the JavaScript API).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// "system", "developer", "user", "assistant" or "tool".
    pub role: String,
    /// The speaker's name, for templates that distinguish speakers of the same role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text.
    #[serde(default)]
    pub content: String,
    /// The model's reasoning before `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The tool calls of an assistant turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// On a tool turn: the id of the call that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// On the last assistant turn: continue its text instead of starting a new answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefix: bool,
}

/// A tool call of an assistant turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    /// The call's id.
    pub tool_call_id: String,
    /// The tool's name.
    pub tool_name: String,
    /// The arguments, as JSON text.
    pub input: String,
}

/// A tool offered to the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    /// The tool's name.
    pub name: String,
    /// A description of what the tool does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the tool's arguments.
    pub input_schema: Value,
}

/// Deserialises tools from an object of `{ description?, inputSchema }` by name, in its order.
///
/// # Errors
/// The deserializer's, for anything else.
pub fn tools_by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ToolSpec>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Unnamed {
        description: Option<String>,
        input_schema: Value,
    }
    struct ByName;
    impl<'de> Visitor<'de> for ByName {
        type Value = Vec<ToolSpec>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("tools by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<ToolSpec>, A::Error> {
            let mut tools = Vec::new();
            while let Some((name, Unnamed { description, input_schema })) = map.next_entry()? {
                tools.push(ToolSpec { name, description, input_schema });
            }
            Ok(tools)
        }
    }
    deserializer.deserialize_map(ByName)
}

/// The form in which a template expects messages, which differs between templates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MessageStyle {
    /// Content is a list of typed parts instead of a string.
    pub(crate) parts: bool,
    /// So is the content of a tool's result.
    pub(crate) result_parts: bool,
    /// The template has no role "developer": such messages become system messages.
    pub(crate) no_developer: bool,
    /// Empty content is null instead of "".
    pub(crate) null_content: bool,
    /// Arguments are JSON text instead of an object.
    pub(crate) text_arguments: bool,
}

/// The fields from which templates read reasoning: most use the first, gpt-oss the second.
pub(crate) const REASONING_FIELDS: &[&str] = &["reasoning_content", "thinking"];

impl Message {
    /// A message with a role and a text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), ..Self::default() }
    }

    /// The message in the form that chat templates expect (as documented by Hugging Face).
    pub(crate) fn to_template(&self, style: MessageStyle) -> Value {
        let mut message = serde_json::Map::new();
        let system = style.no_developer && self.role == "developer";
        message.insert("role".into(), json!(if system { "system" } else { &self.role }));
        let null = style.null_content && self.content.is_empty() && !self.tool_calls.is_empty();
        let parts = if self.role == "tool" { style.result_parts } else { style.parts };
        let content = match (null, parts) {
            (true, _) => Value::Null,
            (false, true) => json!([{ "type": "text", "text": self.content }]),
            (false, false) => json!(self.content),
        };
        message.insert("content".into(), content);
        if let Some(name) = &self.name {
            message.insert("name".into(), json!(name));
        }
        if let Some(reasoning) = &self.reasoning {
            message.extend(REASONING_FIELDS.iter().map(|field| ((*field).into(), json!(reasoning))));
        }
        if !self.tool_calls.is_empty() {
            let calls = self.tool_calls.iter().map(|call| {
                let object = serde_json::from_str::<Value>(&call.input).ok().filter(Value::is_object);
                let arguments = match object {
                    Some(object) if !style.text_arguments => object,
                    _ => json!(call.input),
                };
                json!({
                    "type": "function",
                    "id": call.tool_call_id,
                    "function": { "name": call.tool_name, "arguments": arguments },
                })
            });
            message.insert("tool_calls".into(), calls.collect());
        }
        if let Some(id) = &self.tool_call_id {
            message.insert("tool_call_id".into(), json!(id));
        }
        Value::Object(message)
    }
}

impl ToolSpec {
    /// The tool in the form that chat templates expect.
    pub(crate) fn to_template(&self) -> Value {
        let mut function = serde_json::Map::new();
        function.insert("name".into(), json!(self.name));
        if let Some(description) = &self.description {
            function.insert("description".into(), json!(description));
        }
        function.insert("parameters".into(), self.input_schema.clone());
        json!({ "type": "function", "function": function })
    }
}
