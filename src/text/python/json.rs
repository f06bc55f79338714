//! Python's `json.dumps`, the `tojson` filter of Hugging Face's templates.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::repr::float;
use super::views::DictView;

/// Maximum nesting that `tojson` supports.
const MAX_DEPTH: usize = 64;

/// The `tojson` of Hugging Face's templates: `json.dumps(value, ensure_ascii=False)`, without HTML escapes. Takes
/// `ensure_ascii`, `indent`, `separators` and `sort_keys` like it.
pub(crate) fn tojson(state: &State, value: &Value, ascii: Option<bool>, args: Kwargs) -> Result<Value, Error> {
    let ascii = ascii.or(args.get("ensure_ascii")?).unwrap_or(false);
    let indent: Option<usize> = args.get("indent")?;
    let separators: Option<Vec<String>> = args.get("separators")?;
    let sort_keys: Option<bool> = args.get("sort_keys")?;
    args.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators takes two strings")),
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let sort_keys = sort_keys.unwrap_or(false);
    let mut writer = JsonWriter { out: String::new(), item, key, indent, sort_keys, ascii };
    writer.write(value, 0)?;
    state.consume_fuel(writer.out.len() as u64 / 8)?;
    Ok(Value::from(writer.out))
}

struct JsonWriter {
    out: String,
    item: String,
    key: String,
    indent: Option<usize>,
    sort_keys: bool,
    ascii: bool,
}

impl JsonWriter {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if value.downcast_object_ref::<DictView>().is_some() {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: a view of a dict is not JSON"));
        }
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: nested more than {MAX_DEPTH} deep")));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => string(&mut self.out, value.as_str().unwrap_or_default(), self.ascii),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth)?,
            ValueKind::Map => self.map(value, depth)?,
            kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {kind} is not JSON"))),
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        let mut empty = true;
        for (i, item) in value.try_iter()?.enumerate() {
            self.separate(i, depth + 1);
            self.write(&item, depth + 1)?;
            empty = false;
        }
        self.end(empty, depth, ']');
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort_by_key(ToString::to_string);
        }
        self.out.push('{');
        for (i, key) in keys.iter().enumerate() {
            self.separate(i, depth + 1);
            match key.kind() {
                // Python writes these keys as JSON words, not as str() would.
                ValueKind::None => self.out.push_str("\"null\""),
                ValueKind::Bool => self.out.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" }),
                _ => string(&mut self.out, &key.to_string(), self.ascii),
            }
            self.out.push_str(&self.key);
            self.write(&value.get_item(key)?, depth + 1)?;
        }
        self.end(keys.is_empty(), depth, '}');
        Ok(())
    }

    fn separate(&mut self, i: usize, depth: usize) {
        if i > 0 {
            self.out.push_str(&self.item);
        }
        self.new_line(depth);
    }

    fn end(&mut self, empty: bool, depth: usize, close: char) {
        if !empty {
            self.new_line(depth);
        }
        self.out.push(close);
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent.min(32) * depth));
        }
    }
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() && number.is_nan() => "NaN".into(),
        Ok(number) if !value.is_integer() && number.is_infinite() => {
            if number > 0.0 {
                "Infinity".into()
            } else {
                "-Infinity".into()
            }
        }
        Ok(number) if !value.is_integer() => float(number),
        _ => value.to_string(),
    }
}

/// A string as `json.dumps` writes it; with `ascii`, other characters as UTF-16 escapes.
fn string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
