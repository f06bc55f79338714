//! Calls that are written as in Python: `name(key=value, …)`, in a list or one after another.

use super::super::ToolSpec;
use super::cursor::{Cursor, in_name};
use super::json::between;
use super::literal::Literals;
use super::{Draft, Read, Stop, stopped};

/// The next call at the beginning of a section (`first`), or after another call. `method` follows the names of built-in
/// tools.
pub(super) fn next(text: &str, first: bool, close: &[&str], method: &str) -> Read {
    let mut cursor = Cursor::new(text);
    match between(&mut cursor, first, close, |c| c.is_alphabetic() || c == '_') {
        Ok(None) => call(cursor, method),
        Ok(Some(read)) => read,
        Err(stop) => stopped(stop, if first { Draft::default() } else { Draft::between() }),
    }
}

/// A list of calls that stands on a line of its own, without a marker.
pub(super) fn on_a_line(text: &str, tools: &[ToolSpec]) -> Read {
    let name = text.trim_start_matches(['[', ' ', '\n']);
    match next(text, true, &[], "") {
        Read::Partial(draft) => {
            let known = !name.is_empty() && tools.iter().any(|tool| tool.name.starts_with(name));
            Read::Partial(Draft { doubtful: draft.name.is_none() && !known, ..draft })
        }
        read => read,
    }
}

fn call(mut cursor: Cursor<'_>, method: &str) -> Read {
    let mut draft = Draft::default();
    let mut read = || -> Result<usize, Stop> {
        let name = cursor.run(in_name)?;
        let name = name.strip_suffix(method).unwrap_or(name);
        cursor.expect("(")?;
        if name.is_empty() {
            return Err(Stop::Bad);
        }
        draft.name = Some(name.to_owned());
        let mut literals = Literals { cursor: cursor.clone(), out: &mut draft.input, quote: "" };
        literals.pairs(')', '=', Literals::value)?;
        Ok(literals.cursor.at)
    };
    match read() {
        Ok(length) => Read::Call(draft, length),
        Err(stop) => stopped(stop, draft),
    }
}
