//! Calls of the form `call:name{key:value,…}`, with a model's own quotation marks around strings.

use super::cursor::{Cursor, in_name};
use super::literal::Literals;
use super::{Draft, Read, Stop, stopped};

/// The next call after an opening marker (`first`), or after another call.
pub(super) fn next(text: &str, first: bool, close: &[&str], quote: &str) -> Read {
    let mut cursor = Cursor::new(text);
    let mut draft = if first { Draft::default() } else { Draft::between() };
    let mut read = || -> Result<Read, Stop> {
        let before = cursor.at;
        cursor.space();
        if !first {
            return Ok(Read::End(if cursor.eat_any(close)? { cursor.at } else { before }));
        }
        cursor.expect("call:")?;
        let name = cursor.run(in_name)?;
        cursor.expect("{")?;
        draft.name = Some(name.to_owned());
        let mut literals = Literals { cursor: cursor.clone(), out: &mut draft.input, quote };
        literals.pairs('}', ':', Literals::value)?;
        let end = literals.cursor.at;
        Ok(Read::Call(std::mem::take(&mut draft), end))
    };
    read().unwrap_or_else(|stop| stopped(stop, draft))
}
