//! Renders chat templates: Hugging Face's Jinja dialect, with bounds on time, depth and output.

use std::fmt;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, State, Value as Jinja};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::message::MessageStyle;
use super::python::bounded;
use super::{DeclaredBy, Message, ReasoningFormat, TokenizerConfig, ToolCall, ToolSpec, chat_scan, python};
use crate::{Error, Result, TemplateKind};

/// Work that a rendering may do in addition to that for its input: a unit is an instruction or 64 bytes of data
/// created, which the engine briefly holds twice: 58 MB.
const FUEL: u64 = 450_000;
/// Maximum number of messages whose square is added to the work.
const MAX_SQUARED: usize = 2000;
/// Maximum bytes of a rendering's output.
const MAX_OUTPUT: usize = 16 << 20;
/// Maximum bytes of a message in an error.
const MAX_MESSAGE: usize = 1024;
/// Maximum recursion depth of the engine (a macro counts as several levels).
const MAX_RECURSION: usize = 100;
/// The context variable that holds the clock; its name cannot occur in a template.
const CLOCK: &str = "clock\u{0}";

/// A model's chat template, checked and ready to render.
///
/// It behaves like `apply_chat_template` of Hugging Face's transformers: `trim_blocks`, `lstrip_blocks`, loop controls,
/// Python's string methods, `raise_exception`, `strftime_now`, and `tojson` that writes what `json.dumps` writes. Source,
/// nesting, work and output are bounded, and nothing can be included.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// The source that is rendered, rewritten for the engine and with bounds.
    rendered: String,
    special: Map<String, Value>,
    style: MessageStyle,
    capabilities: TemplateCapabilities,
    reasoning: ReasoningFormat,
}

/// Capabilities of a chat template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TemplateCapabilities {
    /// The template renders tool definitions.
    pub tools: bool,
    /// The template renders calls and their results.
    pub calls: bool,
    /// The template belongs to a reasoning model.
    pub reasoning: bool,
}

/// The input of a rendering, in the form that Hugging Face documents.
#[derive(Debug, Clone, Default)]
pub struct ChatInput {
    /// Messages with `role`, `content`, and optionally `reasoning_content`, `tool_calls`, `tool_call_id`.
    pub messages: Vec<Value>,
    /// Tools as `{"type": "function", "function": {…}}`.
    pub tools: Vec<Value>,
    /// Whether the prompt ends with the header of the assistant's answer.
    pub add_generation_prompt: bool,
    /// Further variables, such as `enable_thinking`.
    pub args: Map<String, Value>,
    /// The local clock for `strftime_now`, in seconds since 1970-01-01; calling it without one is an error.
    pub now: Option<i64>,
}

impl ChatTemplate {
    /// Checks a template; `config` defines the special tokens that it may use.
    ///
    /// # Errors
    /// [`Error::Template`] if it does not parse, exceeds a limit, or omits the user's message.
    pub fn new(source: &str, config: &TokenizerConfig) -> Result<Self> {
        chat_scan::check(source)?;
        let named = [
            ("bos_token", &config.bos_token),
            ("eos_token", &config.eos_token),
            ("pad_token", &config.pad_token),
            ("unk_token", &config.unk_token),
        ];
        let special = named.into_iter().filter_map(|(k, v)| Some((k.to_owned(), json!(v.as_ref()?)))).collect();
        let style = MessageStyle { no_developer: !source.contains("developer"), ..MessageStyle::default() };
        // Jinja normalises line breaks.
        let lines = source.replace("\r\n", "\n").replace('\r', "\n");
        let rendered = chat_scan::without_idle_blocks(&lines);
        let rendered = python::rewritten(&rendered)?;
        let rendered = chat_scan::with_checked_sets(&rendered, bounded::VARIABLE, bounded::ATTRIBUTE);
        let source = source.to_owned();
        let (reasoning, declared_by) = ReasoningFormat::of(Some(&source), &[]);
        let capabilities =
            TemplateCapabilities { reasoning: declared_by == DeclaredBy::Template, ..TemplateCapabilities::default() };
        let mut template = Self { source, rendered, special, style, capabilities, reasoning };
        template.probe()?;
        Ok(template)
    }

    /// Sets how the model marks its reasoning, if only its vocabulary declares that.
    #[must_use]
    pub fn with_reasoning(mut self, format: ReasoningFormat) -> Self {
        self.reasoning = format;
        self
    }

    /// How the model marks its reasoning.
    pub fn reasoning(&self) -> &ReasoningFormat {
        &self.reasoning
    }

    /// The original source, for applications that show what a template adds to messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The source's SHA-256 in hexadecimal, by which an application can recognise a template that it has reviewed.
    pub fn hash(&self) -> String {
        Sha256::digest(&self.source).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The source that is rendered.
    pub(crate) fn rendered_source(&self) -> &str {
        &self.rendered
    }

    /// The template's capabilities.
    pub fn capabilities(&self) -> TemplateCapabilities {
        self.capabilities
    }

    /// The form in which the template expects messages.
    pub(crate) fn style(&self) -> MessageStyle {
        self.style
    }

    /// Renders a conversation.
    pub fn render(&self, input: &ChatInput) -> Result<String> {
        self.render_source(&self.rendered, input)
    }

    /// Renders `source`, a variant of this template, instead of the template itself.
    pub(crate) fn render_source(&self, source: &str, input: &ChatInput) -> Result<String> {
        let mut context = self.special.clone();
        context.insert("messages".into(), Value::Array(input.messages.clone()));
        let tools = if input.tools.is_empty() { Value::Null } else { Value::Array(input.tools.clone()) };
        context.insert("tools".into(), tools);
        context.insert("documents".into(), Value::Null);
        context.insert("add_generation_prompt".into(), json!(input.add_generation_prompt));
        context.extend(input.args.clone());
        if let Some(now) = input.now {
            context.insert(CLOCK.into(), json!(now));
        }
        let bytes = text_bytes(&Value::Object(context.clone()));
        // Templates that build their own list of messages iterate over all of them at every step.
        let messages = input.messages.len().min(MAX_SQUARED) as u64;
        let environment = environment(FUEL + bytes as u64 / 2 + messages * messages);
        let mut output = Capped { bytes: Vec::new(), full: false };
        chat_scan::check_lines(source)?;
        let template = environment.template_from_str(source).map_err(|e| template_error(&e))?;
        match template.render_captured_to(Jinja::from(Serde(&context)), &mut output) {
            Ok(_) => {}
            Err(_) if output.full => {
                let message = format!("the output is longer than {MAX_OUTPUT} bytes");
                return Err(Error::Template { kind: TemplateKind::Limit, message });
            }
            Err(error) => return Err(template_error(&error)),
        }
        String::from_utf8(output.bytes)
            .map_err(|_| Error::Internal { message: "a template wrote an incomplete character".into() })
    }

    /// Renders small conversations to detect the template's capabilities and message style.
    fn probe(&mut self) -> Result<()> {
        let render = |template: &Self, messages: Vec<Value>, tools: Vec<Value>| match template.render(&ChatInput {
            messages,
            tools,
            add_generation_prompt: true,
            now: Some(0),
            ..ChatInput::default()
        }) {
            // Templates that exceed limits or do not parse are rejected now; a conversation that a template does not
            // accept is not an error.
            Err(error @ Error::Template { kind: TemplateKind::Limit, .. }) => Err(error),
            other => Ok(other),
        };
        self.check_syntax()?;
        let turns = [("user", "first"), ("assistant", "second"), ("user", "probe3f7a")];
        let rendered = |style: MessageStyle| {
            let turns = turns.map(|(role, text)| Message::new(role, text).to_template(style));
            render(self, turns.to_vec(), Vec::new())
        };
        let shows = |text: &str| text.contains("probe3f7a");
        // One rendering is held at a time: each may be as long as the limit.
        let plain = rendered(self.style)?.map(|text| shows(&text));
        let parts = MessageStyle { parts: true, ..self.style };
        if !matches!(plain, Ok(true)) && rendered(parts)?.is_ok_and(|text| shows(&text)) {
            self.style = parts;
        } else if matches!(plain, Ok(false)) {
            let message = "the template omits the user's last message".to_owned();
            return Err(Error::Template { kind: TemplateKind::Suspicious, message });
        }
        let tool = ToolSpec {
            name: "probe_tool".into(),
            description: Some("probe_description".into()),
            input_schema: json!({ "type": "object", "properties": { "probe_key": { "type": "string" } } }),
        };
        let tools = vec![tool.to_template()];
        let user = |text: &str| Message::new("user", text).to_template(self.style);
        let shown = render(self, vec![user("x")], tools.clone())?;
        self.capabilities.tools = shown.is_ok_and(|t| t.contains("probe_tool"));

        let call = ToolCall {
            tool_call_id: "call00001".into(),
            tool_name: "probe_tool".into(),
            input: r#"{"probe_key":"probe_value"}"#.into(),
        };
        let asks = Message { tool_calls: vec![call], ..Message::new("assistant", "") };
        let answers = Message { tool_call_id: Some("call00001".into()), ..Message::new("tool", "done") };
        let flags = [(false, false), (true, false), (false, true), (true, true)];
        let results = if self.style.parts { &[false, true][..] } else { &[false] };
        let styles = results.iter().flat_map(|&parts| flags.map(|(null, text)| (parts, null, text)));
        for (result_parts, null_content, text_arguments) in styles {
            let style = MessageStyle { result_parts, null_content, text_arguments, ..self.style };
            let turns = vec![user("x"), asks.to_template(style), answers.to_template(style)];
            let shown = render(self, turns, tools.clone())?;
            if shown.is_ok_and(|t| t.contains("probe_tool") && t.contains("probe_value") && t.contains("done")) {
                self.style = style;
                self.capabilities.calls = true;
                break;
            }
        }
        Ok(())
    }

    fn check_syntax(&self) -> Result<()> {
        chat_scan::check_lines(&self.rendered)?;
        environment(FUEL).template_from_str(&self.rendered).map(|_| ()).map_err(|e| template_error(&e))
    }
}

/// The total bytes of all strings in a value.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(map) => map.iter().map(|(k, v)| k.len() + text_bytes(v)).sum(),
        _ => 8,
    }
}

fn environment(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.remove_global("debug");
    python::add(&mut environment);
    environment.add_function("raise_exception", |message: String| -> Result<Jinja, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |state: &State, format: String| -> Result<String, minijinja::Error> {
        let now = state.lookup(CLOCK).and_then(|v| i64::try_from(v).ok());
        let now = now.ok_or_else(|| minijinja::Error::new(ErrorKind::InvalidOperation, "strftime_now: no clock"))?;
        Ok(python::strftime(&format, now))
    });
    environment
}

/// The message that a template passed to `raise_exception`.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn template_error(error: &minijinja::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut message = error.to_string();
    let mut kind = TemplateKind::Invalid;
    while let Some(inner) = cause {
        if let Some(Raised(text)) = inner.downcast_ref() {
            message.clone_from(text);
            kind = TemplateKind::Raised;
        } else if let Some(inner) = inner.downcast_ref::<minijinja::Error>() {
            let detail = inner.detail().unwrap_or_default();
            let limits = ["recursion limit", "too many elements", "maximum recursion", "limit: "];
            if inner.kind() == ErrorKind::OutOfFuel || limits.iter().any(|l| detail.contains(l)) {
                kind = TemplateKind::Limit;
            }
        }
        cause = inner.source();
    }
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|&i| message.is_char_boundary(i)).unwrap_or(0);
        message.truncate(end);
    }
    Error::Template { kind, message }
}

/// A writer that fails before the output grows too long.
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for &mut Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_OUTPUT - self.bytes.len() {
            self.full = true;
            return Err(io::Error::other("too long"));
        }
        if bytes.len() > self.bytes.capacity() - self.bytes.len() {
            // Doubles as `Vec` does, but not beyond the limit.
            let target = (2 * self.bytes.capacity()).max(self.bytes.len() + bytes.len()).min(MAX_OUTPUT);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
