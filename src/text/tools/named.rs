//! Calls whose name stands before JSON arguments: `name SEPARATOR {…}`.

use super::cursor::{Cursor, in_name};
use super::json;
use super::{Draft, Read, Stop, stopped};

/// What stands around names and arguments.
#[derive(Debug)]
pub(super) struct Named {
    /// The marker of each call; "" if a call begins where its section does.
    pub(super) call: &'static str,
    pub(super) head: Head,
    /// What may follow the arguments.
    pub(super) after: &'static [&'static str],
    /// What ends the calls.
    pub(super) close: &'static [&'static str],
}

/// What stands between the marker and the arguments.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head {
    /// DeepSeek: `name SEPARATOR`, or `function SEPARATOR name`, a line break and the beginning of a code block.
    DeepSeek,
    /// Kimi: `functions.name:index SEPARATOR`, which as a whole is the id.
    Kimi,
    /// Mistral: `name[ARGS]` or `name[CALL_ID]id[ARGS]`; some leave `[ARGS]` out.
    Mistral,
    /// The header of a harmony message, with the recipient `functions.name`.
    Harmony,
}

/// The next call after an opening marker (`first`), or after another call.
pub(super) fn next(text: &str, first: bool, named: &Named) -> Read {
    let mut cursor = Cursor::new(text);
    let mut draft = Draft { between: !first, ..Draft::default() };
    let mut read = || -> Result<Read, Stop> {
        if !first {
            loop {
                let before = cursor.at;
                cursor.space();
                if cursor.eat_any(named.close)? {
                    return Ok(Read::End(cursor.at));
                }
                let call = !named.call.is_empty() && cursor.clone().eat(named.call)?;
                if call {
                    break;
                }
                if !cursor.eat_any(named.after)? {
                    return Ok(Read::End(before));
                }
            }
        }
        draft.between = false;
        cursor.space();
        cursor.expect(named.call)?;
        head(&mut cursor, named.head, &mut draft)?;
        json::arguments_only(&mut cursor, &mut draft)?;
        Ok(Read::Call(std::mem::take(&mut draft), cursor.at))
    };
    read().unwrap_or_else(|stop| stopped(stop, draft))
}

/// Reads the name, and the id if there is one, up to the arguments.
fn head(cursor: &mut Cursor<'_>, head: Head, draft: &mut Draft) -> Result<(), Stop> {
    match head {
        Head::DeepSeek => {
            let before = cursor.label("<｜tool▁sep｜>")?;
            cursor.space();
            let mut name = before.trim();
            if cursor.peek()? != '{' {
                name = cursor.until("\n")?.trim();
            }
            set_name(draft, name)?;
            cursor.space();
            if cursor.eat("```")? {
                cursor.eat("json")?;
            }
        }
        Head::Kimi => {
            let id = cursor.label("<|tool_call_argument_begin|>")?.trim();
            let name = id.strip_prefix("functions.").unwrap_or(id);
            let indexed = |at: &usize| name[at + 1..].bytes().all(|byte| byte.is_ascii_digit());
            let end = name.rfind(':').filter(indexed).unwrap_or(name.len());
            set_name(draft, &name[..end])?;
            draft.id = Some(id.to_owned());
        }
        Head::Mistral => {
            let name = cursor.run(in_name)?.to_owned();
            cursor.space();
            if cursor.eat("[CALL_ID]")? {
                draft.id = Some(cursor.run(in_name)?.to_owned());
                cursor.space();
            }
            cursor.eat("[ARGS]")?;
            set_name(draft, &name)?;
        }
        Head::Harmony => {
            cursor.label(RECIPIENT)?;
            let name = cursor.run(in_name)?;
            set_name(draft, name)?;
            cursor.label("<|message|>")?;
        }
    }
    cursor.space();
    Ok(())
}

/// What ends a harmony message that is a call, whatever token the model wrote.
pub(crate) const END_OF_CALL: &str = "<|call|>";
/// The recipient of a harmony message that is a call, before the function's name.
pub(crate) const RECIPIENT: &str = "to=functions.";

fn set_name(draft: &mut Draft, name: &str) -> Result<(), Stop> {
    draft.name = Some(name.to_owned());
    if name.is_empty() { Err(Stop::Bad) } else { Ok(()) }
}
