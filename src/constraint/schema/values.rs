//! The values of keywords.

use serde_json::Value;

const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// What is wrong with a keyword's value, apart from the schemas in it.
pub fn wrong(keyword: &str, value: &Value) -> Option<String> {
    let message = match (keyword, value) {
        ("uniqueItems", Value::Bool(true)) => "the keyword uniqueItems is not supported",
        ("$ref" | "pattern" | "format", value) if !value.is_string() => "it is not a text",
        ("type", kind) => {
            let known = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
            let list = kind.as_array().map_or(std::slice::from_ref(kind), Vec::as_slice);
            match list.iter().find(|kind| !known(kind)) {
                Some(unknown) => return Some(format!("{unknown} is not a type")),
                None if list.is_empty() => "no type is allowed",
                None => return None,
            }
        }
        ("enum", Value::Array(values)) if values.is_empty() => "no value is allowed",
        ("const" | "enum", value) if !writable(value) => "it has a control character that cannot be written",
        ("enum" | "required" | "allOf" | "anyOf" | "oneOf" | "prefixItems", value) if !value.is_array() => {
            "it is not a list"
        }
        ("properties" | "patternProperties", value) if !value.is_object() => "it is not an object",
        ("required", Value::Array(names)) if !names.iter().all(Value::is_string) => "it is not a list of names",
        ("minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties", number)
            if whole(number).is_none() =>
        {
            "it is not a whole number of at least 0"
        }
        ("minimum" | "maximum" | "multipleOf", number) if !number.is_number() => "it is not a number",
        ("multipleOf", number) if number.as_f64().is_none_or(|n| n <= 0.0) => "it is not above 0",
        ("exclusiveMinimum" | "exclusiveMaximum", limit) if !limit.is_number() && !limit.is_boolean() => {
            "it is not a number"
        }
        _ => return None,
    };
    Some(message.to_owned())
}

/// Whether the texts of a value need no escapes but those that JSON is written with here.
fn writable(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().all(|c| !c.is_ascii_control() || "\u{8}\u{c}\n\r\t".contains(c)),
        Value::Array(values) => values.iter().all(writable),
        Value::Object(members) => members.values().all(writable),
        _ => true,
    }
}

/// A whole number of at least 0; `2.0` is one.
pub fn whole(number: &Value) -> Option<u64> {
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && (0.0..1e15).contains(n)).map(|n| n as u64))
}
