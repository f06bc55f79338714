//! Tools in a generation: what the prompt says of them, which calls the output has, and how one is forced.

use std::borrow::Cow;

use super::tool_choice::{ToolChoice, ToolChoiceMode};
use super::{Engine, GenerateOptions, IncompleteToolCall, StreamPart};
use crate::Result;
use crate::text::{
    Beginning, ChatTemplate, Kind, Message, ToolCall, ToolEvent, ToolFormat, ToolParser, ToolSpec, described,
    spelled_out,
};

/// A conversation as a template is given it.
pub(super) struct Told<'a> {
    pub template: &'a ChatTemplate,
    pub messages: Cow<'a, [Message]>,
    pub tools: &'a [ToolSpec],
}

impl Engine {
    /// What the chat template is given: if it has no place for tools, they are in a system message; if it has none for
    /// calls and results, these are text.
    pub(super) fn told<'a>(&'a self, messages: &'a [Message], tools: &'a [ToolSpec]) -> Result<Told<'a>> {
        let calls = messages.iter().any(|message| message.role == "tool" || !message.tool_calls.is_empty());
        let template = match &self.tool_template {
            Some(template) if calls || !tools.is_empty() => template,
            _ => self.template()?,
        };
        let can = template.capabilities();
        if !tools.is_empty() && !can.tools {
            let messages = described(spelled_out(messages), tools);
            return Ok(Told { template, messages: messages.into(), tools: &[] });
        }
        let text = calls && !can.calls;
        let messages = if text { spelled_out(messages).into() } else { messages.into() };
        Ok(Told { template, messages, tools })
    }

    /// The text that a forced call begins with, where calls are messages in channels of their own.
    pub(super) fn forced_call(&self, options: &GenerateOptions) -> Option<String> {
        if !self.tool_format.is_harmony() {
            return None;
        }
        let tools = forced_tools(options)?;
        let name = match tools.as_slice() {
            [only] => Some(only.name.as_str()),
            _ => None,
        };
        Some(self.tool_format.beginning(name))
    }

    /// What finds the calls in an output; `None` if none may be there.
    pub(super) fn calls(&self, options: &GenerateOptions, messages: &[Message]) -> Option<Calls> {
        let none = options.tools.is_empty() || options.tool_choice.is_none();
        (!none).then(|| Calls::new(self.tool_format, &options.tools, messages))
    }
}

/// The tools of which one must be called; `None` if none must.
pub(super) fn forced_tools(options: &GenerateOptions) -> Option<Vec<ToolSpec>> {
    match &options.tool_choice {
        ToolChoice::Tool { tool_name } => {
            Some(options.tools.iter().filter(|tool| tool.name == *tool_name).cloned().collect())
        }
        ToolChoice::Named(ToolChoiceMode::Required) => Some(options.tools.clone()),
        ToolChoice::Named(_) => None,
    }
}

/// The calls of a running generation.
pub(super) struct Calls {
    format: ToolFormat,
    parser: ToolParser,
    /// Ids that the conversation has.
    taken: Vec<String>,
    under_way: Option<ToolCall>,
    done: Vec<ToolCall>,
    incomplete: Option<IncompleteToolCall>,
}

impl Calls {
    fn new(format: ToolFormat, tools: &[ToolSpec], messages: &[Message]) -> Self {
        let calls = messages.iter().flat_map(|message| &message.tool_calls);
        Self {
            format,
            parser: ToolParser::new(format, tools),
            taken: calls.map(|call| call.tool_call_id.clone()).collect(),
            under_way: None,
            done: Vec::new(),
            incomplete: None,
        }
    }

    /// Whether a special token belongs to a call.
    pub fn is_mark(&self, token: &str) -> bool {
        self.format.is_mark(token)
    }

    /// The text so far of calls that the answer has begun; see [`ToolParser::beginning`].
    pub fn beginning(&self) -> Option<Beginning> {
        self.parser.beginning()
    }

    /// Whether there are calls.
    pub fn any(&self) -> bool {
        !self.done.is_empty()
    }

    /// The calls, and the one that was cut.
    pub fn found(self) -> (Vec<ToolCall>, Option<IncompleteToolCall>) {
        (self.done, self.incomplete)
    }

    /// The parts that a piece of the answer makes.
    pub fn push(&mut self, kind: Kind, text: &str) -> Vec<StreamPart> {
        let events = self.parser.push(kind, text);
        self.parts(events)
    }

    /// Ends the answer, which may have been `cut`.
    pub fn finish(&mut self, cut: bool) -> Vec<StreamPart> {
        let (events, incomplete) = self.parser.finish(cut);
        let parts = self.parts(events);
        self.incomplete = incomplete.map(|call| IncompleteToolCall { tool_name: call.name, input: call.input });
        parts
    }

    fn parts(&mut self, events: Vec<ToolEvent>) -> Vec<StreamPart> {
        let mut parts = Vec::new();
        for event in events {
            match (event, &mut self.under_way) {
                (ToolEvent::Text(text), _) => parts.push(StreamPart::TextDelta { text, logprobs: None }),
                (ToolEvent::Begin { name, id }, _) => {
                    let id = id.filter(|id| !self.taken.contains(id)).unwrap_or_else(|| self.free_id());
                    self.taken.push(id.clone());
                    self.under_way = Some(ToolCall { tool_call_id: id, tool_name: name, input: String::new() });
                }
                (ToolEvent::Input(delta), Some(call)) => {
                    call.input += &delta;
                    let (tool_call_id, tool_name) = (call.tool_call_id.clone(), call.tool_name.clone());
                    parts.push(StreamPart::ToolInputDelta { tool_call_id, tool_name, delta });
                }
                (ToolEvent::End, call) => {
                    self.done.extend(call.clone());
                    parts.extend(call.take().map(StreamPart::ToolCall));
                }
                (ToolEvent::Void, call) => *call = None,
                (ToolEvent::Input(_), None) => {}
            }
        }
        parts
    }

    /// An id that the conversation does not have.
    fn free_id(&self) -> String {
        let id = |n: usize| if self.format.has_short_ids() { format!("call{n:05}") } else { format!("call_{n}") };
        let unused = |id: &String| !self.taken.contains(id);
        (self.taken.len() + 1..).map(id).find(unused).expect("numbers do not end")
    }
}
