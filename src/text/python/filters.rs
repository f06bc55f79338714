//! Registers Jinja's filters, tests and functions that minijinja lacks or implements differently from Python, and has those of single
//! values.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::strings::is_space;
use super::{Arguments, charge, collections, layout, markup, percent, pretty, repr, together, views, wrong};

/// Registers the filters and tests of Python's Jinja.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("callable", is_callable);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("string", string);
    environment.add_filter("join", collections::join);
    environment.add_filter("format", formatted);
    environment.add_filter("float", float);
    environment.add_filter("attr", attr);
    environment.add_filter("center", layout::center);
    environment.add_filter("truncate", layout::truncate);
    environment.add_filter("wordcount", |text: &Value| layout::words_in(&repr::str(text)));
    environment.add_filter("wordwrap", layout::wordwrap);
    environment.add_filter("indent", layout::indent);
    environment.add_filter("striptags", markup::striptags);
    environment.add_filter("urlencode", markup::urlencode);
    environment.add_filter("filesizeformat", filesizeformat);
    environment.add_filter("xmlattr", markup::xmlattr);
    environment.add_filter("pprint", |value: &Value| pretty::pretty(value, 0, 0));
    environment.add_filter("random", collections::random);
    environment.add_filter("dictsort", collections::dictsort);
    for name in ["escape", "e", "forceescape"] {
        environment.add_filter(name, |value: &Value| markup::escaped(&repr::str(value)));
    }
    environment.add_filter("unique", collections::unique);
    environment.add_function("dict", collections::dict);
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
}

/// The test `sequence`: in Python also true for strings, dicts and undefined values.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
}

/// The test `iterable`: false for `none`, true for undefined values.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && (value.is_undefined() || value.as_str().is_some() || value.try_iter().is_ok())
}

/// The test `callable`: functions, macros and, as in Python, undefined values.
fn is_callable(value: &Value) -> bool {
    let is_macro = value.as_object().is_some_and(|object| object.type_name().ends_with("::Macro"));
    is_macro || matches!(value.kind(), ValueKind::Plain | ValueKind::Undefined)
}

/// `default(other, boolean)`, whose arguments may be named.
fn default(value: &Value, other: Option<Value>, boolean: Option<bool>, named: Kwargs) -> Result<Value, Error> {
    let other = other.or(named.get("default_value")?).unwrap_or_else(|| Value::from(""));
    let boolean = boolean.or(named.get("boolean")?).unwrap_or(false);
    named.assert_all_used()?;
    Ok(if value.is_undefined() || boolean && !value.is_true() { other } else { value.clone() })
}

/// `string`: Python's `str()`.
pub(super) fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value.clone());
    }
    let text = repr::str(value);
    charge(state, text.len())?;
    Ok(Value::from(text))
}

/// `format(*values)` or `format(**values)`
fn formatted(state: &State<'_, '_>, text: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("format", &all)?;
    let values = match args.named {
        Some(named) if !args.positional.is_empty() => {
            let _ = named;
            return Err(wrong("format takes values by position or by name, not both"));
        }
        Some(named) => named.clone(),
        None => Value::from_object(minijinja::value::Tuple::from(args.positional.to_vec())),
    };
    let made = percent::printf(&repr::str(text), &values)?;
    charge(state, made.len())?;
    Ok(Value::from(made))
}

/// `float(default)`
fn float(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = together(rest, named);
    let args = Arguments::new("float", &all)?;
    let default = || args.get(0, "default").map(|default| default.unwrap_or_else(|| Value::from(0.0)));
    let number = match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok().or_else(|| value.to_string().parse().ok()),
        ValueKind::String => value.as_str().and_then(|text| text.trim_matches(is_space).replace('_', "").parse().ok()),
        _ => None,
    };
    number.map_or_else(default, |number| Ok(Value::from(number)))
}

/// `attr(name)`: an attribute, never an item.
fn attr(value: &Value, name: &str) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Map if !repr::is_namespace(value) => {
            let found = views::attribute(value, name)?;
            let is_item = value.get_item(&Value::from(name)).is_ok_and(|item| item == found);
            Ok(if is_item { Value::UNDEFINED } else { found })
        }
        _ => views::attribute(value, name),
    }
}

/// `filesizeformat(binary)`
fn filesizeformat(value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let all = together(rest, named);
    let args = Arguments::new("filesizeformat", &all)?;
    let binary = args.get(0, "binary")?.is_some_and(|value| value.is_true());
    let bytes = value.as_str().and_then(|text| text.parse().ok()).or_else(|| f64::try_from(value.clone()).ok());
    let bytes: f64 = bytes.ok_or_else(|| wrong("a number of bytes is expected"))?;
    let (base, names) = match binary {
        true => (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]),
        false => (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]),
    };
    if bytes == 1.0 {
        return Ok("1 Byte".into());
    }
    if bytes < base {
        return Ok(format!("{} Bytes", bytes.trunc()));
    }
    let fits = (0..names.len()).find(|i| bytes < f64::powi(base, *i as i32 + 2)).unwrap_or(names.len() - 1);
    Ok(format!("{:.1} {}", base * bytes / f64::powi(base, fits as i32 + 2), names[fits]))
}
