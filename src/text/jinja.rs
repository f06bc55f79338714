//! Where Jinja in Python and its engine here differ: tests, filters and methods of strings that templates use.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

/// Makes the environment's tests and filters those of Python's Jinja.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("callable", is_callable);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
}

/// What has a length and can be indexed: in Python strings, dicts and what is undefined have and can, too.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
}

/// `none` is not, what is undefined is.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && (value.is_undefined() || value.as_str().is_some() || value.try_iter().is_ok())
}

/// Functions and macros; in Python what is undefined can be called, too, though it fails.
fn is_callable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Plain | ValueKind::Undefined)
}

/// `default(other, boolean)`, whose arguments may be named.
fn default(value: &Value, other: Option<Value>, boolean: Option<bool>, named: Kwargs) -> Result<Value, Error> {
    let other = other.or(named.get("default_value")?).unwrap_or_else(|| Value::from(""));
    let boolean = boolean.or(named.get("boolean")?).unwrap_or(false);
    named.assert_all_used()?;
    Ok(if value.is_undefined() || boolean && !value.is_true() { other } else { value.clone() })
}

/// Methods of Python's strings that the engine's own set lacks; `None` where this is none of them.
pub(super) fn string_method(state: &State, text: &str, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let result = match method {
        "rsplit" => rsplit(text, args),
        "partition" => partition(text, args, false),
        "rpartition" => partition(text, args, true),
        "removeprefix" => affix(args).map(|it| Value::from(text.strip_prefix(it).unwrap_or(text))),
        "removesuffix" => affix(args).map(|it| Value::from(text.strip_suffix(it).unwrap_or(text))),
        _ => return None,
    };
    Some(state.consume_fuel(text.len() as u64 / 64).and(result))
}

fn text_argument(args: &[Value], i: usize) -> Result<Option<&str>, Error> {
    match args.get(i) {
        None => Ok(None),
        Some(value) if value.is_none() => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| wrong("a string is expected")),
    }
}

fn affix(args: &[Value]) -> Result<&str, Error> {
    text_argument(args, 0)?.ok_or_else(|| wrong("a string is expected"))
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// `rsplit(separator, most)`: at most so many cuts, from the end.
fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    if args.len() > 2 {
        return Err(wrong("rsplit takes a separator and a count"));
    }
    let most = args.get(1).map_or(Ok(-1), |n| i64::try_from(n.clone()))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
    let mut parts: Vec<&str> = match text_argument(args, 0)? {
        Some("") => return Err(wrong("rsplit: empty separator")),
        Some(separator) => text.rsplitn(most + 1, separator).collect(),
        None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end();
            while let Some((before, part)) = rest.rsplit_once(char::is_whitespace).filter(|_| parts.len() < most) {
                parts.push(part);
                rest = before.trim_end();
            }
            parts.extend(Some(rest).filter(|rest| !rest.is_empty()));
            parts
        }
    };
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

/// The text before the first (or last) separator, the separator, and the text after; all on one side where there is none.
fn partition(text: &str, args: &[Value], last: bool) -> Result<Value, Error> {
    let separator = text_argument(args, 0)?.filter(|by| !by.is_empty()).ok_or_else(|| wrong("an empty separator"))?;
    let found = if last { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match found {
        Some((before, after)) => [before, separator, after],
        None if last => ["", "", text],
        None => [text, "", ""],
    };
    Ok(parts.into_iter().map(Value::from).collect())
}
