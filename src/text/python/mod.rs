//! What Python does inside chat templates, on top of minijinja: the methods of its strings, lists and dicts, its filters
//! where Jinja2's differ, `%`, `format`, `repr`, `json.dumps`, `strftime`, and how values are written.
//!
//! [`rewritten`] turns what minijinja parses differently into calls of functions of these: the operators `%` and `~`,
//! attributes that are methods, macros with more arguments than they name, escapes in strings. Templates are untrusted:
//! work is bounded by fuel, and nesting by `bounded.rs`.

pub(super) mod bounded;
mod collections;
mod escapes;
mod filters;
mod format;
mod json;
mod layout;
mod markup;
mod names;
mod percent;
mod pretty;
mod repr;
mod rewrite;
mod strings;
mod time;
mod views;

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

pub(crate) use json::tojson;
pub(crate) use rewrite::rewritten;
pub(crate) use time::strftime;

/// Maximum bytes that one operation may create, independent of fuel.
const MAX_MADE: usize = 16 << 20;

/// Configures an environment to behave like Python's Jinja.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(write);
    environment.add_filter("tojson", tojson);
    environment.add_filter(rewrite::PERCENT, percent::percent);
    environment.add_filter(rewrite::STRING, filters::string);
    environment.add_filter(rewrite::ATTRIBUTE, |value: &Value, name: &str| views::attribute(value, name));
    filters::add(environment);
    bounded::add(environment);
}

/// Writes a value to the output as Python would.
fn write(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str().filter(|_| value.kind() == ValueKind::String) {
        Some(text) => out.write_str(text),
        None => out.write_str(&repr::str(value)),
    }
    .map_err(Error::from)
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// The error for an exceeded limit, recognised by its prefix.
fn limit(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("limit: {what}"))
}

/// Charges fuel for text that is read or created.
fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / 64)
}

/// Positional arguments followed by named ones, as methods receive them.
fn together(rest: Rest<Value>, named: Kwargs) -> Vec<Value> {
    let mut all = rest.0;
    if named.args().next().is_some() {
        all.push(Value::from(named));
    }
    all
}

/// The arguments of a method, by position or by name.
struct Arguments<'a> {
    method: &'a str,
    positional: &'a [Value],
    named: Option<&'a Value>,
}

impl<'a> Arguments<'a> {
    fn new(method: &'a str, all: &'a [Value]) -> Result<Self, Error> {
        let (positional, named) = match all.split_last() {
            Some((last, rest)) if last.is_kwargs() => (rest, Some(last)),
            _ => (all, None),
        };
        Ok(Self { method, positional, named })
    }

    /// Checks that there are at most `count` arguments.
    fn most(&self, count: usize) -> Result<(), Error> {
        let named = self.named.and_then(|named| named.len()).unwrap_or(0);
        let given = self.positional.len() + named;
        if given <= count {
            return Ok(());
        }
        let message = format!("{}() takes at most {count} arguments ({given} given)", self.method);
        Err(Error::new(ErrorKind::TooManyArguments, message))
    }

    /// The argument at a position or with a name.
    fn get(&self, place: usize, name: &str) -> Result<Option<Value>, Error> {
        if let Some(value) = self.positional.get(place) {
            return Ok(Some(value.clone()));
        }
        let named = self.named.map(|named| named.get_attr(name)).transpose()?;
        Ok(named.filter(|value| !value.is_undefined()))
    }

    /// A string argument; `none` counts as absent.
    fn text(&self, place: usize, name: &str) -> Result<Option<String>, Error> {
        match self.get(place, name)? {
            Some(value) if !value.is_none() => {
                value.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| wrong("a string is expected"))
            }
            _ => Ok(None),
        }
    }

    /// An integer argument; `none` counts as absent.
    fn int(&self, place: usize, name: &str) -> Result<Option<i64>, Error> {
        match self.get(place, name)? {
            Some(value) if !value.is_none() => {
                value.as_i64().map(Some).ok_or_else(|| wrong("a whole number is expected"))
            }
            _ => Ok(None),
        }
    }
}

/// The list methods that do not modify the list; others are rejected, as in transformers' sandbox.
const LIST: &[&str] =
    &["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"];

/// Calls a Python method of a string, list or dict.
pub(super) fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let result = match value.kind() {
        ValueKind::String => strings::method(state, value.as_str().unwrap_or_default(), name, args),
        ValueKind::Map => dict_method(value, name, args),
        ValueKind::Seq => list_method(state, value, name, args),
        _ => None,
    };
    result.unwrap_or_else(|| Err(Error::from(ErrorKind::UnknownMethod)))
}

fn dict_method(dict: &Value, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let arguments = Arguments::new(name, args);
    let none = |then: &dyn Fn() -> Result<Value, Error>| {
        arguments.as_ref().map_err(copied).and_then(|a| a.most(0)).and_then(|()| then())
    };
    Some(match name {
        "get" => {
            let got: Result<(Value, Option<Value>), Error> = from_args(args);
            got.and_then(|(key, default)| {
                let found = dict.get_item(&key)?;
                Ok(if found.is_undefined() { default.unwrap_or_else(|| Value::from(())) } else { found })
            })
        }
        "copy" => none(&|| Ok(dict.clone())),
        "keys" | "values" | "items" => none(&|| views::DictView::of(dict, name).expect("it is one of them")),
        "clear" | "pop" | "popitem" | "setdefault" | "update" => Err(changes(name)),
        _ => return None,
    })
}

fn list_method(state: &State<'_, '_>, list: &Value, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    Some(match name {
        "copy" if !list.is_tuple() => from_args::<()>(args).map(|()| list.clone()),
        "count" => from_args::<(Value,)>(args).and_then(|(wanted,)| {
            charge(state, 64 * list.len().unwrap_or(0))?;
            Ok(Value::from(list.try_iter()?.filter(|item| *item == wanted).count()))
        }),
        "index" => from_args::<(Value, Option<i64>, Option<i64>)>(args).and_then(|(wanted, start, end)| {
            let length = list.len().unwrap_or(0);
            charge(state, 64 * length)?;
            let place = |at: i64| usize::try_from(if at < 0 { at + length as i64 } else { at }).unwrap_or(0);
            let (start, end) = (start.map_or(0, place), end.map_or(length, place));
            let found = list.try_iter()?.enumerate().find(|(i, item)| (start..end).contains(i) && *item == wanted);
            found.map(|(i, _)| Value::from(i)).ok_or_else(|| wrong("the value is not in the list"))
        }),
        _ if LIST.contains(&name) => Err(changes(name)),
        _ => return None,
    })
}

fn copied(error: &Error) -> Error {
    Error::new(error.kind(), error.detail().unwrap_or_default().to_owned())
}

/// The error for a method that modifies its object.
fn changes(name: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{name}() changes what it is called on, which templates must not"))
}
