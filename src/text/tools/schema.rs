//! The types that a tool's schema gives its arguments, by which forms without types of their own are read.

use serde_json::Value;

use super::super::ToolSpec;
use super::{json, literal};

/// What a schema says of an argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Types {
    /// Names of the types; empty if any is allowed.
    names: Vec<String>,
    /// Whether the schema has the argument.
    known: bool,
}

/// Levels of references and alternatives that are followed.
const DEPTH: usize = 8;

impl Types {
    /// The types of an argument.
    pub(super) fn of(tools: &[ToolSpec], tool: &str, argument: &str) -> Self {
        let schema = tools.iter().find(|t| t.name == tool).map(|t| &t.input_schema);
        let Some(schema) = schema else { return Self::default() };
        let mut names = Vec::new();
        let property = &schema["properties"][argument];
        collect(schema, property, DEPTH, &mut names);
        Self { names, known: !property.is_null() }
    }

    /// These, or any if the schema does not have the argument.
    pub(super) fn or_any(self) -> Self {
        Self { known: true, ..self }
    }

    /// Whether only a text is allowed, or nothing is known.
    pub(super) fn is_text(&self) -> bool {
        !self.known || self.names == ["string"]
    }

    /// The JSON of a value that was written as `text`.
    pub(super) fn read(&self, text: &str) -> String {
        let trimmed = text.trim();
        let as_text = || {
            let mut out = String::new();
            literal::push_string(&mut out, text);
            out
        };
        if self.is_text() {
            return as_text();
        }
        if self.names.iter().any(|name| name == "string") {
            let null = matches!(trimmed, "null" | "None") && self.allows("null");
            return if null { "null".into() } else { as_text() };
        }
        let own = json::is_value(trimmed).then(|| trimmed.to_owned());
        let read = own.or_else(|| literal::json(trimmed));
        read.filter(|json| self.fits(json)).unwrap_or_else(as_text)
    }

    fn allows(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|n| n == name)
    }

    fn fits(&self, json: &str) -> bool {
        match json.as_bytes()[0] {
            b'{' => self.allows("object"),
            b'[' => self.allows("array"),
            b'"' => self.allows("string"),
            b't' | b'f' => self.allows("boolean"),
            b'n' => self.allows("null"),
            _ => {
                let whole = json.parse::<f64>().is_ok_and(|n| n.fract() == 0.0);
                self.allows("number") || whole && self.allows("integer")
            }
        }
    }
}

/// Collects the types of a schema, with those of its alternatives.
fn collect(root: &Value, schema: &Value, depth: usize, names: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let mut add = |name: &str| {
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    };
    match &schema["type"] {
        Value::String(name) => add(name),
        Value::Array(list) => list.iter().filter_map(Value::as_str).for_each(add),
        _ => {
            let constant = schema.get("const").into_iter();
            let values = schema["enum"].as_array().into_iter().flatten().chain(constant);
            values.for_each(|value| {
                add(match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                });
            });
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        schema[key].as_array().into_iter().flatten().for_each(|one| collect(root, one, depth, names));
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?)) {
        collect(root, target, depth, names);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_read_by_the_types_of_its_schema() {
        let input_schema = json!({
            "properties": {
                "text": { "type": "string" }, "whole": { "type": "integer" }, "number": { "type": "number" }, "yes": { "type": "boolean" },
                "maybe": { "type": ["string", "null"] }, "either": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
                "one": { "enum": ["a", "b"] }, "list": { "type": "array" }, "same": { "$ref": "#/$defs/n" }, "any": {},
            },
            "$defs": { "n": { "type": "integer" } },
        });
        let tools = [ToolSpec { name: "t".into(), description: None, input_schema }];
        for (argument, text, want) in [
            ("text", "42", "\"42\""),
            ("text", " a ", "\" a \""),
            ("whole", " 42 ", "42"),
            ("whole", "4.0", "4.0"),
            ("whole", "4.5", "\"4.5\""),
            ("whole", "true", "\"true\""),
            ("number", "1e3", "1e3"),
            ("yes", "True", "true"),
            ("maybe", "None", "null"),
            ("maybe", "5", "\"5\""),
            ("either", "null", "null"),
            ("either", "7", "7"),
            ("one", "a", "\"a\""),
            ("list", "['a', True]", "[\"a\",true]"),
            ("list", "{}", "\"{}\""),
            ("same", "3", "3"),
            ("any", "{\"a\": 1}", "{\"a\": 1}"),
            ("any", "plain", "\"plain\""),
            ("unknown", "5", "\"5\""),
        ] {
            assert_eq!(Types::of(&tools, "t", argument).read(text), want, "{argument}: {text}");
        }
        assert_eq!(Types::of(&tools, "other", "whole").read("5"), "\"5\"");
    }
}
