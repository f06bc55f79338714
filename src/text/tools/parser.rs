//! Separates tool calls from the answer's text.

use super::super::ToolSpec;
use super::super::reasoning::Kind;
use super::super::stop::partial_suffix;
use super::format::Section;
use super::forms::Form;
use super::{Draft, END_OF_CALL, End, Read, ToolFormat};

/// A piece of an answer, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolEvent {
    /// Text of the answer.
    Text(String),
    /// A call begins: its name, and its id if the model writes one.
    Begin {
        /// The tool's name, which may not be one of the tools.
        name: String,
        /// The id.
        id: Option<String>,
    },
    /// A piece of the call's arguments: JSON text.
    Input(String),
    /// The call is complete.
    End,
    /// What began as a call is not one: what was given of it is void, and its text follows.
    Void,
}

/// A call that was cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncompleteCall {
    /// The tool's name, if it was complete.
    pub name: Option<String>,
    /// The arguments so far.
    pub input: String,
}

/// Calls that an answer has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Their text so far.
    pub text: String,
    /// Whether that is a marker and nothing else.
    pub is_marker: bool,
}

/// Finds tool calls in a stream of text. No part of a marker is ever given as text, unless what follows it is not a call.
#[derive(Debug)]
pub struct ToolParser {
    form: &'static Form,
    tools: Vec<ToolSpec>,
    section: Option<Section>,
    /// Text that is not decided.
    held: String,
    /// How much was given of the input of the call under way.
    given: Option<usize>,
    lines: Lines,
    /// Whether a message of harmony's is text after all, up to its end.
    broken: bool,
    /// White space after the last text, which belongs to it only if text follows.
    gap: String,
    /// Whether text was given, and whether calls were found.
    said: bool,
    called: bool,
    out: Vec<ToolEvent>,
}

impl ToolParser {
    /// Starts an answer. The tools' schemas give the types of arguments in forms that have none.
    pub fn new(format: ToolFormat, tools: &[ToolSpec]) -> Self {
        Self {
            form: format.form(),
            tools: tools.to_vec(),
            section: None,
            held: String::new(),
            given: None,
            lines: Lines::default(),
            broken: false,
            gap: String::new(),
            said: false,
            called: false,
            out: Vec::new(),
        }
    }

    /// Processes the next piece of the answer, and returns what is certain.
    pub fn push(&mut self, kind: Kind, text: &str) -> Vec<ToolEvent> {
        if kind == Kind::Call {
            let ends = text == END_OF_CALL;
            if self.broken {
                self.broken = !ends;
                if !ends {
                    self.text(text);
                }
                return std::mem::take(&mut self.out);
            }
            if self.section.is_none() && !ends {
                self.section = Some(Section::default());
            }
        }
        self.held.push_str(text);
        while self.step(End::Open) {}
        self.broken = kind == Kind::Call && self.section.is_none() && text != END_OF_CALL;
        std::mem::take(&mut self.out)
    }

    /// The calls that the answer has just begun; `None` if there are none, or the first is complete. What begins without a marker of its
    /// own counts once it has the name of a tool.
    pub fn beginning(&self) -> Option<Beginning> {
        let section = self.section.as_ref()?;
        if section.bare || section.begun {
            let mut section = Section { opener: String::new(), ..*section };
            let Read::Partial(draft) = self.form.read(&self.held, &mut section, &self.tools, End::Open) else {
                return None;
            };
            draft.name.filter(|name| self.tools.iter().any(|tool| tool.name == *name))?;
        }
        let is_marker = !section.bare && !section.begun && !section.opener.is_empty() && self.held.trim().is_empty();
        Some(Beginning { text: format!("{}{}", section.opener, self.held), is_marker })
    }

    /// Ends the answer, which may have been `cut`: returns what was held back, and the call that is incomplete.
    pub fn finish(&mut self, cut: bool) -> (Vec<ToolEvent>, Option<IncompleteCall>) {
        let end = if cut { End::Cut } else { End::Turn };
        let mut incomplete = None;
        loop {
            while self.step(end) {}
            let Some(section) = &mut self.section else { break };
            let Read::Partial(draft) = self.form.read(&self.held, section, &self.tools, end) else { break };
            if draft.between {
                self.held.clear();
            } else if cut && !draft.doubtful {
                incomplete = Some(IncompleteCall { name: draft.name, input: draft.input });
                self.held.clear();
            } else {
                self.not_a_call();
                continue;
            }
            self.section = None;
        }
        let rest = std::mem::take(&mut self.held);
        // What is held is the beginning of a marker; one character is more likely text.
        if cut && rest.chars().count() > 1 {
            incomplete.get_or_insert_default();
        } else {
            self.text(&rest);
        }
        if !self.called && incomplete.is_none() && !self.gap.is_empty() {
            self.out.push(ToolEvent::Text(std::mem::take(&mut self.gap)));
        }
        (std::mem::take(&mut self.out), incomplete)
    }

    /// Advances by one step; `false` if more input is needed.
    fn step(&mut self, end: End) -> bool {
        let Some(section) = &mut self.section else { return self.search() };
        match self.form.read(&self.held, section, &self.tools, end) {
            Read::Partial(draft) => {
                if !self.form.withholds(section, &draft) {
                    self.give(draft);
                }
                return false;
            }
            Read::Call(draft, length) => {
                section.begun = true;
                section.opener.clear();
                self.held.drain(..length);
                self.give(draft);
                self.given = None;
                self.called = true;
                self.out.push(ToolEvent::End);
            }
            Read::Separators(length) => {
                let separators = self.held.drain(..length);
                self.gap.extend(separators.filter(|c| c.is_whitespace()));
            }
            Read::End(length) => {
                self.held.drain(..length);
                self.section = None;
            }
            Read::Not => self.not_a_call(),
        }
        true
    }

    /// Gives what is new of a call.
    fn give(&mut self, draft: Draft) {
        let Some(name) = draft.name else { return };
        if self.given.is_none() {
            if draft.doubtful {
                return;
            }
            self.out.push(ToolEvent::Begin { name, id: draft.id });
        }
        let given = self.given.get_or_insert(0);
        if draft.input.len() > *given {
            self.out.push(ToolEvent::Input(draft.input[*given..].to_owned()));
            *given = draft.input.len();
        }
    }

    /// The marker, or what stands in its place, is text, and so is what follows until the next marker.
    fn not_a_call(&mut self) {
        if self.given.take().is_some() {
            self.out.push(ToolEvent::Void);
        }
        let mut text = self.section.take().unwrap_or_default().opener;
        if text.is_empty() {
            let first = self.held.chars().next().map_or(0, char::len_utf8);
            text = self.held.drain(..first).collect();
        }
        self.text(&text);
    }

    /// Looks for the next section, and gives the text before it.
    fn search(&mut self) -> bool {
        let (mut at, mut marker, mut starts, mut silent) = (self.held.len(), "", false, false);
        let form = self.form;
        for (markers, start, quiet) in
            [(form.opens, false, false), (form.starts, true, false), (form.silent, false, true)]
        {
            for &one in markers {
                if let Some(found) = self.held.find(one).filter(|&found| found < at) {
                    (at, marker, starts, silent) = (found, one, start, quiet);
                }
            }
        }
        let bare = self.form.bare.and_then(|sign| self.lines.clone().find(&self.held[..at], sign));
        let found = bare.is_some() || !marker.is_empty();
        let markers = [form.opens, form.starts, form.silent].into_iter().flatten();
        let keep = markers.map(|one| partial_suffix(&self.held, one)).max().unwrap_or(0);
        let certain = bare.unwrap_or(if found { at } else { self.held.len() - keep });
        let text: String = self.held.drain(..certain).collect();
        self.text(&text);
        if bare.is_some() || starts {
            self.section = Some(Section { bare: bare.is_some(), ..Section::default() });
        } else if found {
            self.held.drain(..marker.len());
            if !silent {
                self.section = Some(Section { opener: marker.to_owned(), ..Section::default() });
            }
        }
        found
    }

    /// Gives text; white space at its end is held back, since a call may follow.
    fn text(&mut self, text: &str) {
        text.chars().for_each(|c| self.lines.pass(c));
        let end = text.trim_end().len();
        if end == 0 {
            self.gap.push_str(text);
            return;
        }
        let mut piece = std::mem::take(&mut self.gap) + &text[..end];
        if self.called && !self.said {
            piece = piece.trim_start().to_owned();
        }
        self.gap = text[end..].to_owned();
        self.said = true;
        self.out.push(ToolEvent::Text(piece));
    }
}

/// Follows the lines of a text, for calls that need to stand on their own, outside a block of code.
#[derive(Debug, Clone, Default)]
struct Lines {
    /// The first characters of the line.
    head: String,
    /// Whether the line is in a block of code.
    code: bool,
}

impl Lines {
    const FENCE: &'static str = "```";

    fn pass(&mut self, c: char) {
        if c == '\n' {
            self.head.clear();
        } else if self.head.len() < Self::FENCE.len() && !(self.head.is_empty() && c.is_whitespace()) {
            self.head.push(c);
            self.code ^= self.head == Self::FENCE;
        }
    }

    /// The first place of `sign` at the beginning of a line outside code.
    fn find(mut self, text: &str, sign: char) -> Option<usize> {
        text.char_indices().find_map(|(at, c)| {
            let found = c == sign && self.head.is_empty() && !self.code;
            self.pass(c);
            found.then_some(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an answer gives, in words: text, calls between brackets, `!` for what was void, and the incomplete call.
    fn read(template: &str, pieces: &[&str], cut: bool) -> String {
        let mut parser = ToolParser::new(ToolFormat::of(Some(template), &[]), &[]);
        let mut events: Vec<ToolEvent> = pieces.iter().flat_map(|piece| parser.push(Kind::Text, piece)).collect();
        let (rest, incomplete) = parser.finish(cut);
        events.extend(rest);
        let said = events.into_iter().map(|event| match event {
            ToolEvent::Text(text) => text,
            ToolEvent::Begin { name, id } => format!("[{name}{} ", id.map(|id| format!("#{id}")).unwrap_or_default()),
            ToolEvent::Input(delta) => format!("{delta}|"),
            ToolEvent::End => "]".into(),
            ToolEvent::Void => "!".into(),
        });
        said.collect::<String>()
            + &incomplete.map(|call| format!("?{:?} {}", call.name, call.input)).unwrap_or_default()
    }

    #[test]
    fn arguments_stream_as_they_are_written() {
        let json = &["<tool_call>{\"name\": \"f\", \"argu", "ments\": {\"a\": \"b", "c\"}", "}</tool", "_call>"];
        assert_eq!(read("<tool_call>", json, false), "[f {\"a\": \"b|c\"}|]");
        let xml =
            &["<tool_call>\n<function=f>\n<parameter=a>\nx", "\n", "y\n</para", "meter>\n</function>\n</tool_call>"];
        assert_eq!(read("<tool_call><parameter=", xml, false), "[f {\"a\":\"x|\\ny|\"}|]");
        let python = &["<|tool_call_start|>[f(a='x", "y', b=1", "2)]<|tool_call_end|>"];
        assert_eq!(read("<|tool_call_start|>", python, false), "[f {\"a\":\"x|y\",\"b\":|12}|]");
        // The id follows the arguments.
        let late = &["[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}, ", "\"id\": \"123456789\"}]"];
        assert_eq!(read("[TOOL_CALLS]", late, false), "[f#123456789 {}|]");
    }

    #[test]
    fn what_is_not_a_call_is_text() {
        for text in [
            "<tool_call>{\"name\": 5, \"arguments\": {}}</tool_call>",
            "<tool_call>{\"arguments\": {}}</tool_call>",
            "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
            "<tool_call>just words</tool_call> and more",
            "<tool_call>",
            "a < b <tool_cal",
        ] {
            assert_eq!(read("<tool_call>", &[text], false), text);
        }
        let broken = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": x}}</tool_call>";
        let whole = format!("{broken}<tool_call>{{\"name\": \"g\"}}</tool_call>");
        assert_eq!(read("<tool_call>", &[&whole], false), format!("{broken}[g {{}}|]"));
        // Deltas that were given become void.
        let (begun, rest) = broken.split_at(broken.find('x').expect("a letter"));
        assert_eq!(read("<tool_call>", &[begun, rest], false), format!("[f {{\"a\": |!{broken}"));
    }

    #[test]
    fn arguments_may_be_a_text_that_has_an_object() {
        let text = "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>";
        assert_eq!(read("<tool_call>", &[text], false), "[f {\"a\": 1}|]");
    }

    #[test]
    fn bare_calls_need_a_line_of_their_own_outside_code() {
        let llama = |text: &str| read("<|python_tag|>", &[text], false);
        assert_eq!(llama("{\"name\": \"f\", \"parameters\": {}}"), "[f {}|]");
        for text in [
            "So {\"name\": \"f\", \"parameters\": {}}",
            "{\"name\": \"f\", \"parameters\": {}} it is",
            "```json\n{\"name\": \"f\", \"parameters\": {}}\n```",
            "{\"parameters\": {}}",
            "{1: 2}",
        ] {
            assert_eq!(llama(text).replace('!', "").replacen("[f {}|", "", 1), text);
        }
        let python = |text: &str| read("<|python_start|>", &[text], false);
        assert_eq!(python("Now:\n[f(a=1), g()]"), "Now:[f {\"a\":1}|][g {}|]");
        for text in ["See [1] and [f](x).", "[1] is the source", "[f](x)", "[f(1)]"] {
            assert_eq!(python(text), text);
        }
        assert_eq!(read("<|python_start|>", &["[note"], true), "[note");
    }
}
