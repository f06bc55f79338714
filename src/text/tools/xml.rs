//! Calls that are written as elements, with an element for each argument.

use super::super::ToolSpec;
use super::super::stop::partial_suffix;
use super::cursor::{Cursor, in_name};
use super::literal::{push_escaped, push_string};
use super::schema::Types;
use super::{Draft, End, Read, Stop, stopped};

/// The tags of a form.
#[derive(Debug)]
pub(super) struct Xml {
    /// What stands before a call's name; "" if the opening marker does.
    pub(super) call: &'static str,
    /// What follows the name; "" if a line break or the next tag does.
    pub(super) named: &'static str,
    /// What stands before an argument's name.
    pub(super) key: &'static str,
    /// What follows it. Attributes may stand before it, after a quotation mark.
    pub(super) keyed: &'static str,
    /// What stands before a value, if it does not begin there.
    pub(super) value: &'static str,
    /// What ends a value.
    pub(super) valued: &'static str,
    /// What ends a call.
    pub(super) called: &'static str,
    /// What ends the calls.
    pub(super) close: &'static [&'static str],
    /// Whether a value stands on lines of its own: the line break at each end does not belong to it.
    pub(super) lines: bool,
}

/// The next call after an opening marker (`first`), or after another call.
pub(super) fn next(text: &str, first: bool, xml: &Xml, tools: &[ToolSpec], end: End) -> Read {
    let mut cursor = Cursor::new(text);
    let mut draft = Draft { between: !first, ..Draft::default() };
    let mut read = || -> Result<Read, Stop> {
        let before = cursor.at;
        cursor.space();
        if !first {
            if cursor.eat_any(xml.close)? {
                return Ok(Read::End(cursor.at));
            }
            if xml.call.is_empty() || !cursor.clone().eat(xml.call)? {
                return Ok(Read::End(before));
            }
        }
        draft.between = false;
        cursor.expect(xml.call)?;
        let name = match xml.named {
            "" => cursor.run(in_name)?,
            named => cursor.label(named)?.trim(),
        };
        if name.is_empty() {
            return Err(Stop::Bad);
        }
        if xml.named.is_empty() && !matches!(cursor.peek()?, '<' | '\n' | ' ' | '\r') {
            return Err(Stop::Bad);
        }
        draft.name = Some(name.to_owned());
        draft.input.push('{');
        arguments(&mut cursor, xml, tools, name, &mut draft.input, end)?;
        draft.input.push('}');
        Ok(Read::Call(std::mem::take(&mut draft), cursor.at))
    };
    read().unwrap_or_else(|stop| stopped(stop, draft))
}

/// Reads the elements of arguments up to the end of the call, and appends the members of an object to `out`.
fn arguments(
    cursor: &mut Cursor<'_>,
    xml: &Xml,
    tools: &[ToolSpec],
    tool: &str,
    out: &mut String,
    end: End,
) -> Result<(), Stop> {
    let mut first = true;
    loop {
        cursor.space();
        if cursor.rest().is_empty() && end == End::Turn {
            return Ok(()); // without the tag that ends the call
        }
        if cursor.eat(xml.called)? || cursor.eat_any(xml.close)? {
            return Ok(());
        }
        cursor.expect(xml.key)?;
        let head = cursor.label(xml.keyed)?;
        let (key, attributes) = head.split_once('"').unwrap_or((head, ""));
        if !xml.value.is_empty() {
            cursor.space();
            cursor.expect(xml.value)?;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        push_string(out, key.trim());
        out.push(':');
        // Attributes tell whether the value is a text; schemas decide where there are none.
        let types = match Types::of(tools, tool, key.trim()) {
            _ if attributes.contains("string=\"true\"") => Types::default(),
            types if attributes.contains("string=\"false\"") => types.or_any(),
            types => types,
        };
        let begun = cursor.rest();
        match cursor.until(xml.valued) {
            Ok(text) => out.push_str(&types.read(xml.inner(text))),
            Err(stop) => {
                if types.is_text() {
                    out.push('"');
                    push_escaped(out, xml.inner(&begun[..begun.len() - partial_suffix(begun, xml.valued)]));
                }
                return Err(stop);
            }
        }
    }
}

impl Xml {
    /// A value without the line breaks around it.
    fn inner<'a>(&self, text: &'a str) -> &'a str {
        if !self.lines {
            return text;
        }
        let text = text.strip_prefix('\n').unwrap_or(text);
        text.strip_suffix('\n').unwrap_or(text)
    }
}
