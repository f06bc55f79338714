//! Calls that are JSON objects: `{"name": …, "arguments": {…}}`, in an array or one after another.

use super::cursor::Cursor;
use super::{Draft, End, Read, Stop, stopped};

/// Levels of nesting that are read, as many as serde_json reads.
const DEPTH: usize = 128;

/// Where calls are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// After a marker.
    Marked,
    /// After a marker, with the name as the only key.
    Keyed,
    /// On a line of its own, without a marker.
    Bare,
}

/// The next call at the beginning of a section (`first`), or after another call.
pub(super) fn next(text: &str, first: bool, close: &[&str], kind: Kind, end: End) -> Read {
    let mut cursor = Cursor::new(text);
    if kind != Kind::Bare || !first {
        match between(&mut cursor, first, close, |c| c == '{') {
            Ok(None) => {}
            Ok(Some(read)) => return read,
            Err(stop) => return stopped(stop, if first { Draft::default() } else { Draft::between() }),
        }
    }
    match object(cursor, kind == Kind::Keyed) {
        Read::Call(draft, length) if kind == Kind::Bare => on_a_line(draft, length, text, end),
        Read::Call(draft, length) => Read::Call(Draft { doubtful: false, ..draft }, length),
        read => read,
    }
}

/// A call without a marker must have arguments, and the rest of its line.
fn on_a_line(draft: Draft, length: usize, text: &str, end: End) -> Read {
    let after = text[length..].trim_start_matches([' ', '\t', '\r']);
    match after.chars().next() {
        _ if draft.doubtful => Read::Not,
        None if end == End::Open => Read::Partial(draft),
        None | Some('\n' | ';' | ',' | '<') => Read::Call(draft, length),
        Some(_) => Read::Not,
    }
}

/// Passes what separates calls: white space, commas and semicolons, the brackets of an array, and the closing marker, which
/// ends them. `None` where a call `starts`.
pub(super) fn between(
    cursor: &mut Cursor<'_>,
    first: bool,
    close: &[&str],
    starts: impl Fn(char) -> bool,
) -> Result<Option<Read>, Stop> {
    let (mut opened, mut closed) = (false, false);
    loop {
        let before = cursor.at;
        cursor.space();
        if !first && cursor.eat_any(close)? {
            return Ok(Some(Read::End(cursor.at)));
        }
        match cursor.peek()? {
            '[' if first && !opened => opened = true,
            ']' if !first && !closed => closed = true,
            ',' | ';' if !first && !closed => {}
            c if starts(c) && !closed => {
                let separators = !first && cursor.at > 0;
                return Ok(separators.then_some(Read::Separators(cursor.at)));
            }
            _ if first => return Err(Stop::Bad),
            _ => return Ok(Some(Read::End(before))),
        }
        cursor.next()?;
    }
}

/// A call from its brace on.
fn object(mut cursor: Cursor<'_>, keyed: bool) -> Read {
    let mut draft = Draft::default();
    match members(&mut cursor, keyed, &mut draft) {
        Ok(()) if draft.name.is_some() => {
            if draft.input.is_empty() {
                draft.input = "{}".into();
                draft.doubtful = true;
            }
            Read::Call(draft, cursor.at)
        }
        Ok(()) => Read::Not,
        Err(stop) => stopped(stop, draft),
    }
}

fn members(cursor: &mut Cursor<'_>, keyed: bool, draft: &mut Draft) -> Result<(), Stop> {
    cursor.expect("{")?;
    cursor.space();
    if cursor.peek()? == '}' {
        cursor.next()?;
        return Ok(());
    }
    loop {
        cursor.space();
        let key = string(cursor)?;
        cursor.space();
        cursor.expect(":")?;
        cursor.space();
        match key.as_str() {
            _ if keyed => {
                draft.name = Some(key);
                arguments(cursor, draft)?;
            }
            "name" | "tool_name" => draft.name = Some(string(cursor)?),
            "id" if cursor.peek()? == '"' => draft.id = Some(string(cursor)?),
            "arguments" | "parameters" => arguments(cursor, draft)?,
            other => {
                draft.doubtful |= !matches!(other, "type" | "tool_call_id" | "id") && draft.input.is_empty();
                value(cursor, DEPTH)?;
            }
        }
        cursor.space();
        match cursor.next()? {
            ',' => {}
            '}' => break,
            _ => return Err(Stop::Bad),
        }
    }
    if !draft.input.is_empty() {
        draft.doubtful = false;
    }
    Ok(())
}

/// The arguments: an object, as it is; or a text that has one, or null.
fn arguments(cursor: &mut Cursor<'_>, draft: &mut Draft) -> Result<(), Stop> {
    match cursor.peek()? {
        '{' => {
            let start = cursor.clone();
            let read = value(cursor, DEPTH);
            let begun = start.rest();
            let length = if read.is_ok() { cursor.at - start.at } else { begun.len() };
            draft.input = begun[..length].to_owned();
            read
        }
        '"' => {
            let text = string(cursor)?;
            let mut inner = Cursor::new(text.trim());
            let whole = inner.peek() == Ok('{') && value(&mut inner, DEPTH).is_ok() && inner.rest().is_empty();
            draft.input = text;
            if whole { Ok(()) } else { Err(Stop::Bad) }
        }
        'n' => {
            cursor.expect("null")?;
            draft.input = "{}".into();
            Ok(())
        }
        _ => Err(Stop::Bad),
    }
}

/// The arguments of a call whose name stands before them.
pub(super) fn arguments_only(cursor: &mut Cursor<'_>, draft: &mut Draft) -> Result<(), Stop> {
    if cursor.peek()? == '{' { arguments(cursor, draft) } else { Err(Stop::Bad) }
}

/// A string's value.
fn string(cursor: &mut Cursor<'_>) -> Result<String, Stop> {
    let start = cursor.at;
    if cursor.peek()? != '"' {
        return Err(Stop::Bad);
    }
    value(cursor, DEPTH)?;
    serde_json::from_str(cursor.since(start)).map_err(|_| Stop::Bad)
}

/// Passes a JSON value.
pub(super) fn value(cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Stop> {
    let depth = depth.checked_sub(1).ok_or(Stop::Bad)?;
    match cursor.next()? {
        '{' => items(cursor, '}', |cursor| {
            if cursor.peek()? != '"' {
                return Err(Stop::Bad);
            }
            value(cursor, depth)?;
            cursor.space();
            cursor.expect(":")?;
            cursor.space();
            value(cursor, depth)
        }),
        '[' => items(cursor, ']', |cursor| value(cursor, depth)),
        '"' => loop {
            match cursor.next()? {
                '"' => return Ok(()),
                '\\' => match cursor.next()? {
                    '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {}
                    'u' => {
                        for _ in 0..4 {
                            if !cursor.next()?.is_ascii_hexdigit() {
                                return Err(Stop::Bad);
                            }
                        }
                    }
                    _ => return Err(Stop::Bad),
                },
                c if c < ' ' => return Err(Stop::Bad),
                _ => {}
            }
        },
        't' => cursor.expect("rue"),
        'f' => cursor.expect("alse"),
        'n' => cursor.expect("ull"),
        c if c == '-' || c.is_ascii_digit() => {
            cursor.at -= 1;
            let text = cursor.run(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'))?;
            if serde_json::from_str::<serde_json::Number>(text).is_ok() { Ok(()) } else { Err(Stop::Bad) }
        }
        _ => Err(Stop::Bad),
    }
}

/// Passes what stands between brackets, with commas between items.
fn items<'a>(
    cursor: &mut Cursor<'a>,
    end: char,
    mut item: impl FnMut(&mut Cursor<'a>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    cursor.space();
    if cursor.peek()? == end {
        return cursor.next().map(drop);
    }
    loop {
        cursor.space();
        item(cursor)?;
        cursor.space();
        match cursor.next()? {
            ',' => {}
            c if c == end => return Ok(()),
            _ => return Err(Stop::Bad),
        }
    }
}

/// Whether a text is one JSON value.
pub(super) fn is_value(text: &str) -> bool {
    // A number ends at what follows it.
    let text = format!("{} ", text.trim());
    let mut cursor = Cursor::new(&text);
    value(&mut cursor, DEPTH).is_ok() && cursor.rest() == " "
}
