//! Python's `str.format`: fields, conversions and nested specifications; minijinja formats single values.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::{Arguments, limit, repr, wrong};

/// Maximum digits of a width or precision.
const MAX_DIGITS: usize = 4;

/// `text.format(*args, **named)`
pub(super) fn formatted(text: &str, args: &Arguments<'_>) -> Result<String, Error> {
    let mut fields = Fields { args, next: 0, depth: 0 };
    fields.write(text)
}

struct Fields<'a> {
    args: &'a Arguments<'a>,
    /// The position of the next field without a number.
    next: usize,
    depth: usize,
}

impl Fields<'_> {
    fn write(&mut self, text: &str) -> Result<String, Error> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let (bracket, after) = rest[at..].split_at(1);
            if after.starts_with(bracket) {
                out.push_str(bracket);
                rest = &after[1..];
                continue;
            }
            if bracket == "}" {
                return Err(wrong("single '}' encountered in format string"));
            }
            let end = closing(after).ok_or_else(|| wrong("expected '}' before end of string"))?;
            out.push_str(&self.field(&after[..end])?);
            rest = &after[end + 1..];
            if out.len() > super::MAX_MADE {
                return Err(limit("the result of a format is too long"));
            }
        }
        Ok(out + rest)
    }

    /// `name!conversion:specification`
    fn field(&mut self, field: &str) -> Result<String, Error> {
        if self.depth > 1 {
            return Err(wrong("max string recursion exceeded"));
        }
        // Brackets may contain `!` and `:`.
        let end = name_end(field);
        let (name, rest) = field.split_at(end);
        let value = self.value(name)?;
        let (conversion, spec) = match rest.strip_prefix('!') {
            Some(rest) => {
                let (conversion, spec) = rest.split_at(rest.chars().next().map_or(0, char::len_utf8));
                (conversion, spec)
            }
            None => ("", rest),
        };
        let value = match conversion {
            "" => value,
            "r" => Value::from(repr::repr(&value)),
            "s" => Value::from(repr::str(&value)),
            "a" => Value::from(repr::ascii(&value)),
            _ => return Err(wrong("unknown conversion specifier")),
        };
        let spec = spec.strip_prefix(':').unwrap_or(spec);
        self.depth += 1;
        let spec = if spec.contains('{') { self.write(spec)? } else { spec.to_owned() };
        self.depth -= 1;
        one(&value, &spec)
    }

    /// `0`, `name`, `a.b[c]`; an empty name is the next position.
    fn value(&mut self, name: &str) -> Result<Value, Error> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut path) = name.split_at(end);
        let missing = || {
            Error::new(ErrorKind::InvalidOperation, format!("a format string refers to {first:?}, which was not given"))
        };
        let mut value = if first.is_empty() {
            self.next += 1;
            self.args
                .positional
                .get(self.next - 1)
                .cloned()
                .ok_or_else(|| wrong("a format string refers to more values than were given"))?
        } else if let Ok(place) = first.parse::<usize>() {
            self.args.positional.get(place).cloned().ok_or_else(missing)?
        } else {
            self.args.get(usize::MAX, first)?.ok_or_else(missing)?
        };
        while !path.is_empty() {
            if let Some(rest) = path.strip_prefix('.') {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                value = value.get_attr(&rest[..end])?;
                path = &rest[end..];
            } else {
                let inner = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let (key, rest) = inner.ok_or_else(|| wrong("missing ']' in format string"))?;
                value = match key.parse::<i64>() {
                    Ok(index) => value.get_item(&Value::from(index))?,
                    Err(_) => value.get_item(&Value::from(key))?,
                };
                path = rest;
            }
            if value.is_undefined() {
                return Err(missing());
            }
        }
        Ok(value)
    }
}

/// The offset of the brace that closes a field whose opening brace was consumed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_end(field: &str) -> usize {
    let mut within = false;
    for (at, c) in field.char_indices() {
        match c {
            '[' => within = true,
            ']' => within = false,
            '!' | ':' if !within => return at,
            _ => {}
        }
    }
    field.len()
}

/// Formats a value by its specification.
fn one(value: &Value, spec: &str) -> Result<String, Error> {
    if spec.is_empty() {
        return Ok(repr::str(value));
    }
    if spec.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > MAX_DIGITS) {
        return Err(limit("a format with a number of more than four digits"));
    }
    if let Some(spec) = spec.strip_suffix('%') {
        let number = f64::try_from(value.clone()).map_err(|_| wrong("a percentage of a value that is not a number"))?;
        let width: usize = spec.split('.').next().and_then(|width| width.parse().ok()).unwrap_or(0);
        let precision: usize = spec.split_once('.').and_then(|(_, digits)| digits.parse().ok()).unwrap_or(6);
        return Ok(format!("{:>width$}", format!("{:.precision$}%", number * 100.0)));
    }
    // Booleans are formatted as numbers by numeric types.
    let kind = spec.chars().last().unwrap_or(' ');
    let value = match value.kind() {
        ValueKind::Bool if "dxXobeEfFgGn".contains(kind) => Value::from(i64::from(value.is_true())),
        ValueKind::Number | ValueKind::String => value.clone(),
        _ => Value::from(repr::str(value)),
    };
    format(FormatStyle::StrFormat, &format!("{{:{spec}}}"), &[value])
}
