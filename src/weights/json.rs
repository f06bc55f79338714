//! A strict parser for untrusted JSON: UTF-8 only, bounded nesting, no duplicate keys.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{Error, FormatKind, Result};

/// Maximum levels of nesting; real files use five or six.
const MAX_DEPTH: usize = 64;

/// The text of `bytes`, checked for UTF-8 and nesting depth, as every JSON reader in this module needs it.
pub(super) fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::format(FormatKind::BadUtf8, file, format!("not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let message = format!("nested deeper than {MAX_DEPTH} levels");
                    return Err(Error::format(FormatKind::LimitExceeded, file, message));
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(text)
}

/// Parses `bytes`. A duplicate key in an object is an error, because readers disagree about which one counts.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Value> {
    let text = text(file, bytes)?;
    let kind = Cell::new(FormatKind::BadJson);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { kind: &kind };
    let value = strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| Error::format(kind.get(), file, error.to_string()))
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    /// The kind of error to report when reading stops.
    kind: &'a Cell<FormatKind>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                self.kind.set(FormatKind::DuplicateKey);
                return Err(A::Error::custom(format!("key {key:?} appears twice")));
            }
            map.insert(key, access.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> FormatKind {
        match parse("f", text.as_bytes()) {
            Err(Error::Format { kind, .. }) => kind,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn strict_where_readers_disagree() {
        let value = parse("f", br#" {"a": [1, -2, 2.5, "x\"{[", null, true], "b": {"a": 1e9}} "#).unwrap();
        assert_eq!(value["a"][3], "x\"{[");
        assert_eq!(value["b"]["a"], 1e9);
        assert_eq!(kind("{"), FormatKind::BadJson);
        assert_eq!(kind("{} x"), FormatKind::BadJson);
        assert_eq!(kind("\u{feff}{}"), FormatKind::BadJson);
        assert_eq!(kind("[NaN]"), FormatKind::BadJson);
        assert_eq!(kind(r#"{"a":{"b":1,"b":2}}"#), FormatKind::DuplicateKey);
        assert_eq!(kind(&"[".repeat(100_000)), FormatKind::LimitExceeded);
        assert!(matches!(parse("f", b"\"\xff\""), Err(Error::Format { kind: FormatKind::BadUtf8, .. })));
    }
}
