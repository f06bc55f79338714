//! Tools in a generation: what the prompt says of them, which calls the output has, and how one is forced.

use std::borrow::Cow;
use std::rc::Rc;

use super::bound::Binding;
use super::constraint::{Constraint, Either, Grammars, Matcher, has_meaning};
use super::output::Output;
use super::tool_choice::{ToolChoice, ToolChoiceMode};
use super::{Engine, GenerateOptions, IncompleteToolCall, StreamPart};
use crate::text::{
    Beginning, CallRules, ChatTemplate, Kind, Message, ToolCall, ToolEvent, ToolFormat, ToolParser, ToolSpec,
    described, spelled_out,
};
use crate::{Error, Result};

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

    /// What binds the answer of a generation with tools, of which `constraint` binds what is no call.
    ///
    /// # Errors
    /// [`Error::Constraint`], for a tool's schema too.
    pub(super) async fn binding(&self, options: &GenerateOptions) -> Result<Option<Binding>> {
        let constraint = options.response_constraint.as_ref();
        let none = options.tools.is_empty() || options.tool_choice.is_none() || options.raw;
        if none && constraint.is_none() {
            return Ok(None);
        }
        let grammars = self.grammars().await?;
        let answer = constraint.map(|constraint| grammars.compile(constraint)).transpose()?;
        if none {
            return Ok(Some(Binding { answer, calls: None }));
        }
        let forced = forced_tools(options);
        let is_forced = forced.is_some();
        let calls = BoundCalls {
            grammars,
            format: self.tool_format,
            tools: forced.unwrap_or_else(|| options.tools.clone()),
            // A tool that is named is called once.
            parallel: !matches!(options.tool_choice, ToolChoice::Tool { .. }),
            special: self.tokens_with_meaning(),
            tried: false,
        };
        // Compiled ahead, so that a schema that cannot be honoured is refused before anything is generated.
        let harmony = self.tool_format.is_harmony();
        let whole = is_forced && !harmony;
        let by_themselves = harmony || answer.is_none() && !is_forced;
        let matcher = calls.compile(by_themselves.then_some(""))?;
        Ok(Some(match answer {
            // Nothing is left for the constraint to bind.
            _ if whole => Binding { answer: Some(matcher), calls: None },
            Some(answer) if !harmony => {
                Binding { answer: Some(Box::new(Either::new(vec![answer, matcher]))), calls: None }
            }
            answer => Binding { answer, calls: Some(calls) },
        }))
    }

    /// The tokens that are no text in grammars.
    fn tokens_with_meaning(&self) -> Vec<(String, u32)> {
        let meant = |token: String| {
            let id = self.tokenizer.id(&token).filter(|&id| has_meaning(&self.tokenizer, id))?;
            Some((token, id))
        };
        self.tokenizer.added_tokens().into_iter().filter_map(meant).collect()
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

/// What binds calls from where the model begins them.
pub(super) struct BoundCalls {
    grammars: Rc<dyn Grammars>,
    format: ToolFormat,
    tools: Vec<ToolSpec>,
    parallel: bool,
    special: Vec<(String, u32)>,
    /// Whether what the output has begun was looked at.
    tried: bool,
}

impl BoundCalls {
    /// The match of calls that the output has just begun. `None` if there are none, or if they are not of the model's own form.
    pub fn begun(&mut self, output: &Output<'_>) -> Result<Option<Box<dyn Matcher>>> {
        let Some(Beginning { text, is_marker }) = output.beginning_of_calls() else {
            self.tried = false;
            return Ok(None);
        };
        let is_special = |id: &u32| self.special.iter().any(|(_, special)| special == id);
        // A marker that is no token of its own may also be spoken of: what follows it decides.
        if self.tried || is_marker && !output.ids.last().is_some_and(is_special) {
            return Ok(None);
        }
        let Some((before, ids)) = output.tokens_of(&text) else { return Ok(None) };
        self.tried = true;
        let mut matcher = self.compile(Some(&before))?;
        let fits = ids.iter().all(|&id| matcher.consume(id).is_ok());
        Ok(fits.then_some(matcher))
    }

    /// Whether an answer ends with the calls that have begun; otherwise it goes on.
    pub fn end_the_answer(&self) -> bool {
        self.format.is_harmony()
    }

    /// Begins a match of calls; see [`CallRules::after`].
    fn compile(&self, after: Option<&str>) -> Result<Box<dyn Matcher>> {
        let compiled = self.compiled(&self.tools, after);
        let Err(Error::Constraint { .. }) = compiled else { return compiled };
        // Which of the tools it is.
        for tool in &self.tools {
            if let Err(Error::Constraint { message, keyword, path }) = self.compiled(std::slice::from_ref(tool), after)
            {
                let message = format!("the input schema of the tool {}: {message}", tool.name);
                return Err(Error::Constraint { message, keyword, path });
            }
        }
        compiled
    }

    fn compiled(&self, tools: &[ToolSpec], after: Option<&str>) -> Result<Box<dyn Matcher>> {
        let rules = CallRules { tools, parallel: self.parallel, after, special: &self.special };
        self.grammars.compile(&Constraint::Grammar { grammar: self.format.grammar(&rules) })
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
