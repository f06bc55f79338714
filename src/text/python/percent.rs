//! Python's `%` operator: the remainder of numbers, and printf-style formatting of strings.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::{charge, limit, repr, wrong};

/// Maximum digits of a width or precision.
const MAX_DIGITS: usize = 4;

/// `left % right`
pub(super) fn percent(state: &State<'_, '_>, left: &Value, right: &Value) -> Result<Value, Error> {
    match left.as_str() {
        Some(text) => {
            charge(state, text.len())?;
            let made = printf(text, right)?;
            charge(state, made.len())?;
            Ok(Value::from(made))
        }
        None => remainder(left, right),
    }
}

/// The remainder, with the sign of the divisor.
fn remainder(left: &Value, right: &Value) -> Result<Value, Error> {
    let number = |value: &Value| match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    };
    if let (Some(a), Some(b)) = (number(left), number(right)) {
        let rest = a.checked_rem(b).ok_or_else(|| wrong("integer modulo by zero"))?;
        return Ok(Value::from(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }));
    }
    let float = |value: &Value| number(value).map(|n| n as f64).or_else(|| f64::try_from(value.clone()).ok());
    let (Some(a), Some(b)) = (float(left), float(right)) else {
        let message = format!("% of {} and {}", left.kind(), right.kind());
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    };
    if b == 0.0 {
        return Err(wrong("float modulo by zero"));
    }
    let rest = a % b;
    Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }))
}

/// A conversion specifier such as `%(key)-08.3f`.
struct Conversion<'a> {
    key: Option<&'a str>,
    /// Flags, width and precision, including `*`.
    flags: &'a str,
    kind: char,
}

/// Formats as Python does. Strings are converted here; minijinja formats numbers and applies widths.
pub(super) fn printf(text: &str, values: &Value) -> Result<String, Error> {
    let mapping = values.kind() == ValueKind::Map;
    let mut given: Vec<Value> = match values.is_tuple() {
        true => values.try_iter()?.collect(),
        false => vec![values.clone()],
    };
    given.reverse();
    let mut take = || given.pop().ok_or_else(|| wrong("not enough arguments for format string"));
    let (mut out, mut rest) = (String::new(), text);
    let mut keyed = false;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (conversion, after) = conversion(&rest[at + 1..])?;
        rest = after;
        if conversion.kind == '%' {
            out.push('%');
            continue;
        }
        let mut flags = conversion.flags.to_owned();
        while flags.contains('*') {
            let width = take()?.as_i64().ok_or_else(|| wrong("* wants int"))?;
            if width.abs() > 9999 {
                return Err(limit("a format with a number of more than four digits"));
            }
            flags = flags.replacen('*', &width.to_string(), 1);
        }
        let value = match conversion.key {
            Some(key) if mapping => {
                keyed = true;
                let value = values.get_item(&Value::from(key))?;
                if value.is_undefined() {
                    return Err(Error::new(
                        ErrorKind::InvalidOperation,
                        format!("a format string refers to the missing key {key:?}"),
                    ));
                }
                value
            }
            Some(_) => return Err(wrong("a format with keys requires a mapping")),
            None => take()?,
        };
        let (value, kind) = match conversion.kind {
            's' => (Value::from(repr::str(&value)), 's'),
            'r' => (Value::from(repr::repr(&value)), 's'),
            'a' => (Value::from(repr::ascii(&value)), 's'),
            'i' | 'u' => (whole(&value)?, 'd'),
            'd' => (whole(&value)?, 'd'),
            kind => (value, kind),
        };
        out.push_str(&format(FormatStyle::Printf, &format!("%{flags}{kind}"), &[value])?);
        if out.len() > super::MAX_MADE {
            return Err(limit("the result of a format is too long"));
        }
    }
    out.push_str(rest);
    if !given.is_empty() && !mapping && !keyed {
        return Err(wrong("not all arguments converted during string formatting"));
    }
    Ok(out)
}

/// The argument of `%d`, which truncates floats.
fn whole(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Bool => Ok(Value::from(i64::from(value.is_true()))),
        ValueKind::Number if value.is_integer() => Ok(value.clone()),
        ValueKind::Number => f64::try_from(value.clone()).map(|f| Value::from(f.trunc() as i128)),
        _ => Err(wrong("%d format: a number is required")),
    }
}

/// Parses the conversion after a percent sign, and returns the text after it.
fn conversion(text: &str) -> Result<(Conversion<'_>, &str), Error> {
    let incomplete = || wrong("incomplete format");
    let (key, rest) = match text.strip_prefix('(') {
        Some(inner) => {
            let end = inner.find(')').ok_or_else(incomplete)?;
            (Some(&inner[..end]), &inner[end + 1..])
        }
        None => (None, text),
    };
    let end = rest.find(|c: char| !(c.is_ascii_digit() || "#-+ .*".contains(c))).ok_or_else(incomplete)?;
    let flags = &rest[..end];
    if flags.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > MAX_DIGITS) {
        return Err(limit("a format with a number of more than four digits"));
    }
    // Python accepts C's length modifiers and ignores them.
    let rest = rest[end..].trim_start_matches(['h', 'l', 'L']);
    let kind = rest.chars().next().ok_or_else(incomplete)?;
    Ok((Conversion { key, flags, kind }, &rest[kind.len_utf8()..]))
}
