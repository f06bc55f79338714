//! Detects how a model writes tool calls, from its chat template or else from its vocabulary.

use super::super::ToolSpec;
use super::forms::{Body, FORMS, Form, HARMONY, HERMES, INDEX, Shape};
use super::{Draft, End, Read, braces, json, named, python, xml};

/// How a model writes tool calls.
#[derive(Debug, Clone, Copy)]
pub struct ToolFormat(&'static Form);

impl Default for ToolFormat {
    /// JSON between `<tool_call>` and `</tool_call>`.
    fn default() -> Self {
        Self(&HERMES)
    }
}

impl PartialEq for ToolFormat {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl ToolFormat {
    /// Detects the format of a model from its chat template's source and its added tokens.
    pub fn of(template: Option<&str>, tokens: &[String]) -> Self {
        let token = |text: &str| tokens.iter().any(|t| t == text);
        if ["<|start|>", "<|channel|>", "<|message|>", "<|call|>"].into_iter().all(token) {
            return Self(&HARMONY);
        }
        let written = |text: &str| template.is_some_and(|source| source.contains(text));
        let forms = || FORMS.iter().chain([&HERMES]);
        let by_template = forms().find(|form| form.signs.iter().any(|sign| written(sign)) && written(form.also));
        let by_tokens = || forms().find(|form| form.signs.iter().any(|sign| token(sign)) && form.also.is_empty());
        Self(by_template.or_else(by_tokens).unwrap_or(&HERMES))
    }

    /// Whether ids of calls must have nine letters and digits.
    pub fn has_short_ids(&self) -> bool {
        self.0.opens.contains(&"[TOOL_CALLS]")
    }

    /// Whether a token belongs to a call's form, and so is processed even if it is special.
    pub fn is_mark(&self, token: &str) -> bool {
        token.len() > 1 && self.0.marks().iter().any(|mark| mark.contains(token))
    }

    /// Whether calls are messages in harmony's channels.
    pub fn is_harmony(&self) -> bool {
        std::ptr::eq(self.0, &raw const HARMONY)
    }

    /// The text with which a call begins: up to the name, or with a name up to the arguments.
    pub fn beginning(&self, name: Option<&str>) -> String {
        let Shape { open, name: before, arguments, .. } = self.0.shape;
        let named = name.map(|name| format!("{name}{arguments}")).unwrap_or_default();
        format!("{open}{before}{named}").replace(INDEX, "0")
    }

    pub(super) fn form(&self) -> &'static Form {
        self.0
    }
}

/// A section of calls, after an opening marker or where one was left out.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The marker, until the first call was read.
    pub(super) opener: String,
    /// Whether a call was read.
    pub(super) begun: bool,
    /// Whether it began without a marker, on a line of its own.
    pub(super) bare: bool,
    /// Whether its calls are JSON objects, once the first is there.
    pub(super) json: Option<bool>,
}

impl Form {
    /// The markers of calls and of their parts.
    pub(super) fn marks(&self) -> Vec<&'static str> {
        let Shape { open, name, arguments, end, close, .. } = self.shape;
        let lists = [self.opens, self.starts, self.close, self.silent, &[open, name, arguments, end, close]];
        let mut marks: Vec<&str> = lists.into_iter().flatten().copied().collect();
        match &self.body {
            Body::Named(named) => {
                marks.extend([named.after, named.close].into_iter().flatten());
                marks.push("[CALL_ID]");
            }
            Body::Xml(xml) => {
                marks.extend([xml.call, xml.key, xml.keyed, xml.value, xml.valued, xml.called]);
                marks.extend(xml.close);
            }
            Body::Braces(quote) => marks.push(quote),
            Body::Json | Body::Keyed | Body::Python(_) => {}
        }
        marks
    }

    /// Reads what stands at the beginning of `text` in a section.
    pub(super) fn read(&self, text: &str, section: &mut Section, tools: &[ToolSpec], end: End) -> Read {
        let first = !section.begun;
        if section.json.is_none() {
            let sign = text.trim_start_matches(|c: char| c.is_whitespace() || c == '[').chars().next();
            section.json = sign.map(|c| c == '{');
        }
        let close = match &self.body {
            Body::Named(form) => form.close,
            Body::Xml(form) => form.close,
            _ => self.close,
        };
        let json = section.json == Some(true) || matches!(self.body, Body::Json | Body::Keyed);
        let kind = match self.body {
            _ if section.bare => json::Kind::Bare,
            Body::Keyed => json::Kind::Keyed,
            _ => json::Kind::Marked,
        };
        match &self.body {
            _ if json => json::next(text, first, close, kind, end),
            Body::Json | Body::Keyed => Read::Not,
            Body::Python(_) if section.bare && first => python::on_a_line(text, tools),
            Body::Python(method) => python::next(text, first, close, method),
            Body::Named(form) => named::next(text, first, form),
            Body::Xml(form) => xml::next(text, first, form, tools, end),
            Body::Braces(quote) => braces::next(text, first, close, quote),
        }
    }

    /// Whether a call must not be given yet: its id may follow, or it may be something else.
    pub(super) fn withholds(&self, section: &Section, draft: &Draft) -> bool {
        let json = section.json == Some(true);
        json && (self.late_id || section.bare && draft.input.is_empty())
    }
}
