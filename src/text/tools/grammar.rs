//! Grammars of answers with calls, in Lark as llguidance reads it: a call is bound by its tool's schema from its name on.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::ToolSpec;
use super::ToolFormat;
use super::forms::{Body, Form, ID, INDEX, Shape};
use super::xml::Xml;

/// Levels of nested schemas that are followed.
const DEPTH: usize = 16;
const TEXT: &str = "/(?s:.+)/";

/// What calls are possible.
#[derive(Debug, Clone, Copy)]
pub struct CallRules<'a> {
    /// The tools that may be called.
    pub tools: &'a [ToolSpec],
    /// Whether there may be several calls.
    pub parallel: bool,
    /// `None` for an answer that must be calls, in the form that templates show. For calls that the model has begun by itself, the
    /// text before them in their first token: they may also have the white space and the markers that [`ToolParser`] reads.
    ///
    /// [`ToolParser`]: super::ToolParser
    pub after: Option<&'a str>,
    /// Tokens of the vocabulary that have a meaning of their own, with their ids: in grammars they are not text.
    pub special: &'a [(String, u32)],
}

impl ToolFormat {
    /// The Lark grammar of an answer that is calls, or of calls to the end of the answer. In harmony's channels, a call begins after
    /// [`RECIPIENT`](super::RECIPIENT).
    pub fn grammar(&self, rules: &CallRules<'_>) -> String {
        let lenient = rules.after.is_some();
        let mut writer = Writer { form: self.form(), special: rules.special, lenient, lines: String::new(), rules: 0 };
        let calls = match self.is_harmony() {
            true => writer.messages(rules),
            false => writer.calls(rules),
        };
        let before = writer.literal(rules.after.unwrap_or_default());
        format!("start: {before} {calls}\n{}", writer.lines)
    }
}

/// Values of the forms that are not JSON.
#[derive(Debug, Clone, Copy)]
enum Style {
    Python,
    /// With the model's own quotation marks.
    Braces(&'static str),
}

/// White space where JSON may have it, in calls that a model has begun by itself.
const SPACE: &str = "/[ \\n]{0,4}/";

struct Writer<'a> {
    form: &'static Form,
    special: &'a [(String, u32)],
    /// Whether white space around calls is free.
    lenient: bool,
    lines: String,
    rules: usize,
}

/// JSON of a schema, with at most a space wherever JSON may have white space, or a line break and an indentation, so that no model goes
/// on with it.
fn json_of(schema: &Value, lenient: bool) -> String {
    match schema {
        Value::Object(keywords) => {
            let mut keywords = keywords.clone();
            let space = if lenient { "[ \\n]{1,16}" } else { " " };
            let style = json!({ "whitespace_pattern": space, "json_allowed_escapes": "nrbtf\\\"" });
            keywords.insert("x-guidance".into(), style);
            format!("%json {}", Value::Object(keywords))
        }
        schema => format!("%json {schema}"),
    }
}

impl Writer<'_> {
    /// Adds a rule and returns its name.
    fn rule(&mut self, body: &str) -> String {
        self.attributed("", body)
    }

    fn attributed(&mut self, attributes: &str, body: &str) -> String {
        let name = format!("r{}", self.rules);
        self.rules += 1;
        let _ = writeln!(self.lines, "{name}{attributes}: {body}");
        name
    }

    fn is_special(&self, text: &str) -> bool {
        self.special.iter().any(|(token, _)| token == text)
    }

    /// A text as it stands: strings, and special tokens by their ids.
    fn literal(&self, text: &str) -> String {
        let (mut out, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let tokens = self.special.iter().filter(|(token, _)| !token.is_empty());
            let next = tokens.filter_map(|(token, id)| Some((rest.find(token.as_str())?, token, id)));
            let next = next.min_by_key(|(at, token, _)| (*at, usize::MAX - token.len()));
            let (plain, after) = rest.split_at(next.map_or(rest.len(), |(at, ..)| at));
            for (i, part) in plain.split(ID).enumerate() {
                out.extend((i > 0).then(|| "/[a-zA-Z0-9]{9}/".to_owned()));
                for (i, part) in part.split(INDEX).enumerate() {
                    out.extend((i > 0).then(|| "/[0-9]+/".to_owned()));
                    out.extend((!part.is_empty()).then(|| json!(part).to_string()));
                }
            }
            rest = after;
            if let Some((_, token, id)) = next {
                out.push(format!("<[{id}]>"));
                rest = &rest[token.len()..];
            }
        }
        out.join(" ")
    }

    /// Calls one after another.
    fn calls(&mut self, rules: &CallRules<'_>) -> String {
        let mut ways = vec![self.section(&self.form.shape, rules)];
        if self.lenient {
            ways.extend(self.form.others.iter().map(|shape| self.section(shape, rules)));
        }
        self.rule(&ways.join(" | "))
    }

    /// Calls of a shape.
    fn section(&mut self, shape: &Shape, rules: &CallRules<'_>) -> String {
        let Shape { open, name, arguments, end, between, close } = *shape;
        // Calls that stand alone are bound one by one where the model begins them, and text may be between them.
        let json = name.contains("{\"");
        let alone = self.lenient && open.is_empty() && close.is_empty();
        let mut calls = Vec::new();
        for tool in rules.tools {
            let input = self.arguments(&tool.input_schema, shape);
            let head = self.head(name, &format!("{}{arguments}", tool.name), json);
            let body = format!("{head} {input} {}", self.around(end, json));
            calls.push(self.rule(body.trim_end_matches(if close.is_empty() { SPACE } else { " " })));
        }
        let call = self.rule(&calls.join(" | "));
        let more = between.filter(|_| rules.parallel && !alone);
        let more = more.map(|between| format!("({} {call})*", self.around(between, json))).unwrap_or_default();
        let close = self.around(close, json);
        let body = format!("{} {call} {more} {}", self.opening(open, name), close.trim_end_matches(SPACE));
        self.rule(&body)
    }

    /// What calls begin with.
    fn opening(&mut self, open: &str, name: &str) -> String {
        if !self.lenient {
            return self.literal(open);
        }
        // Models choose among the markers, and leave them out where calls can be told without.
        let rest = self.form.opens.iter().find_map(|marker| open.strip_prefix(marker)).unwrap_or(open);
        let marked = self.form.opens.iter().filter(|marker| !name.starts_with(**marker));
        let mut ways: Vec<String> = marked.map(|marker| format!("{marker}{rest}")).collect();
        ways.push(open.to_owned());
        if !self.form.starts.is_empty() || self.form.bare.is_some() {
            ways.push(rest.to_owned());
        }
        ways.sort();
        ways.dedup();
        let ways: Vec<String> = ways.iter().map(|way| self.around(way, name.contains("{\""))).collect();
        self.rule(&ways.iter().map(|way| if way.is_empty() { "\"\"" } else { way }).collect::<Vec<_>>().join(" | "))
    }

    /// The beginning of a call: what is before its name, and the name with what follows it.
    fn head(&self, before: &str, name: &str, json: bool) -> String {
        let starts = self.form.starts.iter().find_map(|start| before.find(start)).filter(|_| self.lenient);
        match starts {
            // The marker before it is also left out.
            Some(at) if at > 0 => {
                let (marker, start) = before.split_at(at);
                format!("({})? {}", self.around(marker, json), self.around(&format!("{start}{name}"), json))
            }
            _ => self.around(&format!("{before}{name}"), json),
        }
    }

    /// A text around the parts of a call, with the white space that is free in JSON if it is part of that.
    fn around(&self, text: &str, json: bool) -> String {
        if !self.lenient || !json {
            return self.literal(text);
        }
        let markers = [self.form.opens, self.form.starts, self.form.close].concat();
        let mut out: Vec<String> = Vec::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let marker = markers.iter().find(|marker| rest.starts_with(**marker));
            let structural = |c: char| c.is_whitespace() || "{}[]:,;".contains(c);
            let is_free = marker.is_none() && structural(next);
            let mut length = marker.map_or(next.len_utf8(), |marker| marker.len());
            if marker.is_none() && !is_free {
                let ends = |&at: &usize| markers.iter().any(|marker| rest[at..].starts_with(*marker));
                let marked = rest.char_indices().map(|(at, _)| at).find(ends).unwrap_or(rest.len());
                length = rest.find(structural).unwrap_or(rest.len()).min(marked);
            }
            let part;
            (part, rest) = rest.split_at(length);
            if is_free && out.last().is_none_or(|last| last != SPACE) {
                out.push(SPACE.to_owned());
            }
            if !next.is_whitespace() {
                out.push(self.literal(part));
                out.extend(is_free.then(|| SPACE.to_owned()));
            }
            if next == '{' && self.form.bare == Some('{') {
                // Llama 3.1 was also trained on this.
                out.push(format!(
                    "(\"\\\"type\\\"\" {SPACE} \":\" {SPACE} \"\\\"function\\\"\" {SPACE} \",\" {SPACE})?"
                ));
            }
        }
        out.join(" ")
    }

    /// Messages to functions, from their names on. Models write their headers in several ways.
    fn messages(&mut self, rules: &CallRules<'_>) -> String {
        let mut calls = Vec::new();
        for tool in rules.tools {
            let input = self.object(&tool.input_schema);
            let (name, json) = (self.literal(&tool.name), self.literal("<|constrain|>json"));
            let channel = self.literal("<|channel|>commentary");
            let header = format!("({channel})? (\" \"? ({json} | \"json\"))? {}", self.literal("<|message|>"));
            calls.push(self.rule(&format!("{name} {header} {input}")));
        }
        self.rule(&calls.join(" | "))
    }

    /// The arguments of a tool.
    fn arguments(&mut self, schema: &Value, shape: &Shape) -> String {
        match &self.form.body {
            _ if shape.arguments.ends_with('(') => self.members(schema, schema, Style::Python, "=", ", ", DEPTH),
            Body::Json | Body::Keyed | Body::Named(_) | Body::Python(_) => self.object(schema),
            Body::Braces(quote) => self.members(schema, schema, Style::Braces(quote), ":", ",", DEPTH),
            Body::Xml(xml) => self.elements(schema, xml),
        }
    }

    /// Arguments as JSON: an object, also where the schema does not say so.
    fn object(&mut self, schema: &Value) -> String {
        let mut schema = schema.clone();
        if let Some(keywords) = schema.as_object_mut().filter(|keywords| !keywords.contains_key("$ref")) {
            keywords.entry("type").or_insert("object".into());
        }
        self.rule(&json_of(&schema, self.lenient))
    }

    /// An element for each argument, in the order of the schema.
    fn elements(&mut self, schema: &Value, xml: &Xml) -> String {
        let mut parts = Vec::new();
        for (name, property) in properties(schema) {
            // A text may also be null, or something else, if the schema takes that.
            let names = property["type"].as_array().map_or(std::slice::from_ref(&property["type"]), Vec::as_slice);
            let text = names.iter().any(|name| name == "string") && property.get("enum").is_none();
            let kind = if property["type"] == "string" { "true" } else { "false" };
            let attributes = if xml.key.contains("DSML") { format!(" string=\"{kind}\"") } else { String::new() };
            let quote = if xml.key.ends_with('"') { "\"" } else { "" };
            let value = if xml.value.is_empty() { String::new() } else { format!("\n{}", xml.value) };
            let line = if xml.lines { "\n" } else { "" };
            let head = self.literal(&format!("{}{name}{quote}{attributes}{}{value}{line}", xml.key, xml.keyed));
            let end = format!("{line}{}", xml.valued);
            let element = match text {
                true if self.is_special(xml.valued) => format!("{head} {TEXT}? {}", self.literal(&end)),
                true => {
                    let text = self.attributed(&format!("[suffix={}]", json!(end)), "/(?s:.*)/");
                    format!("{head} {text}")
                }
                false => format!("{head} {} {}", self.element(schema, property), self.literal(&end)),
            };
            let element = self.rule(&format!("{element} \"\\n\""));
            parts.push(if is_required(schema, name) { element } else { format!("{element}?") });
        }
        self.rule(if parts.is_empty() { "\"\"".into() } else { parts.join(" ") }.as_str())
    }

    /// A value of an element that is not any text: a text as it stands, or JSON.
    fn element(&mut self, root: &Value, property: &Value) -> String {
        let texts = property["enum"].as_array().filter(|values| values.iter().all(|value| value.is_string()));
        if let Some(values) = texts {
            let texts = values.iter().filter_map(Value::as_str).map(|text| self.literal(text));
            let body = texts.collect::<Vec<_>>().join(" | ");
            return self.rule(&body);
        }
        if property["type"] == "boolean" && property.get("enum").is_none() && self.lenient {
            return r#"("true" | "false" | "True" | "False")"#.into();
        }
        let mut schema = property.clone();
        if let (Some(schema), Some(shared)) = (schema.as_object_mut(), root.get("$defs")) {
            schema.insert("$defs".into(), shared.clone());
        }
        self.rule(&json_of(&schema, self.lenient))
    }

    /// `name SIGN value` pairs between separators, in the order of the schema, or of the alphabet within braces.
    fn members(
        &mut self,
        root: &Value,
        schema: &Value,
        style: Style,
        sign: &str,
        separator: &str,
        depth: usize,
    ) -> String {
        let mut members = Vec::new();
        for (name, property) in properties(schema) {
            let value = self.value(root, property, style, depth);
            let name_text = match style {
                Style::Python if sign == ": " => {
                    format!("({} | {}) {}", json!(format!("'{name}'")), json!(format!("\"{name}\"")), json!(sign))
                }
                _ => self.literal(&format!("{name}{sign}")),
            };
            let member = format!("{name_text} {value}");
            members.push((name.clone(), self.rule(&member), is_required(schema, name)));
        }
        if matches!(style, Style::Braces(_)) {
            members.sort();
        }
        // What may follow a member, and what may come first, from the last member to the first.
        let (mut after, mut first) = (self.rule("\"\""), self.rule("\"\""));
        for (_, member, required) in members.iter().rev() {
            let following = format!("{} {member} {after}", json!(separator));
            let beginning = format!("{member} {after}");
            let or = |body: String, other: &str| if *required { body } else { format!("{body} | {other}") };
            (after, first) = (self.rule(&or(following, &after)), self.rule(&or(beginning, &first)));
        }
        first
    }

    /// A value.
    fn value(&mut self, root: &Value, schema: &Value, style: Style, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else { return self.any(style) };
        if let Some(target) = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?)) {
            return self.value(root, target, style, depth);
        }
        if let Some(values) = schema["enum"].as_array().cloned().or_else(|| Some(vec![schema.get("const")?.clone()])) {
            let values: Vec<String> = values.iter().map(|value| self.constant(value, style)).collect();
            return self.rule(&values.join(" | "));
        }
        let alternatives = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array().cloned());
        if let Some(alternatives) = alternatives {
            let values: Vec<String> = alternatives.iter().map(|one| self.value(root, one, style, depth)).collect();
            return self.rule(&values.join(" | "));
        }
        let names: Vec<String> = match &schema["type"] {
            Value::String(name) => vec![name.clone()],
            Value::Array(names) => names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
            _ => return self.any(style),
        };
        let values: Vec<String> = names.iter().map(|name| self.typed(root, schema, name, style, depth)).collect();
        self.rule(&values.join(" | "))
    }

    /// A value of a type.
    fn typed(&mut self, root: &Value, schema: &Value, name: &str, style: Style, depth: usize) -> String {
        match (name, style) {
            ("string", _) => self.string(style),
            ("integer", _) => "/-?(0|[1-9][0-9]*)/".into(),
            ("number", _) => "/-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?/".into(),
            // Olmo and LFM also write JSON's.
            ("boolean", Style::Python) => r#"("True" | "False" | "true" | "false")"#.into(),
            ("boolean", Style::Braces(_)) => "(\"true\" | \"false\")".into(),
            ("null", Style::Python) => r#"("None" | "null")"#.into(),
            ("null", Style::Braces(_)) => "\"null\"".into(),
            ("array", _) => {
                let item = self.value(root, &schema["items"], style, depth);
                self.list(&item, style)
            }
            ("object", _) if !schema["properties"].is_null() => {
                let (sign, separator) = if matches!(style, Style::Python) { (": ", ", ") } else { (":", ",") };
                let members = self.members(root, schema, style, sign, separator, depth);
                format!("(\"{{\" {members} \"}}\")")
            }
            _ => self.any(style),
        }
    }

    fn list(&mut self, item: &str, style: Style) -> String {
        let separator = if matches!(style, Style::Python) { ", " } else { "," };
        format!("(\"[\" ({item} ({} {item})*)? \"]\")", json!(separator))
    }

    fn string(&mut self, style: Style) -> String {
        match style {
            Style::Python => r#"(/'([^'\\\n]|\\.)*'/ | /"([^"\\\n]|\\.)*"/)"#.into(),
            Style::Braces(quote) if self.is_special(quote) => {
                let mark = self.literal(quote);
                format!("({mark} {TEXT}? {mark})")
            }
            Style::Braces(quote) => {
                let text = self.attributed(&format!("[suffix={}]", json!(quote)), "/(?s:.*)/");
                format!("({} {text})", self.literal(quote))
            }
        }
    }

    fn constant(&mut self, value: &Value, style: Style) -> String {
        match (value, style) {
            (Value::String(text), Style::Python) => {
                let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
                let single = format!("'{}'", escaped.replace('\'', "\\'"));
                let double = format!("\"{}\"", escaped.replace('"', "\\\""));
                format!("({} | {})", self.literal(&single), self.literal(&double))
            }
            (Value::String(text), Style::Braces(quote)) => self.literal(&format!("{quote}{text}{quote}")),
            (Value::Bool(true), Style::Python) => "\"True\"".into(),
            (Value::Bool(false), Style::Python) => "\"False\"".into(),
            (Value::Null, Style::Python) => "\"None\"".into(),
            (other, _) => json!(other.to_string()).to_string(),
        }
    }

    /// Any value.
    fn any(&mut self, style: Style) -> String {
        let name = format!("r{}", self.rules);
        self.rules += 1;
        let string = self.string(style);
        let scalars = ["number", "boolean", "null"].map(|kind| self.typed(&Value::Null, &Value::Null, kind, style, 1));
        let list = self.list(&name, style);
        let (sign, separator) = if matches!(style, Style::Python) { (": ", ", ") } else { (":", ",") };
        let key = if matches!(style, Style::Python) { string.clone() } else { "/[a-zA-Z0-9_]+/".into() };
        let pair = format!("{key} {} {name}", json!(sign));
        let object = format!("(\"{{\" ({pair} ({} {pair})*)? \"}}\")", json!(separator));
        let _ = writeln!(self.lines, "{name}: {string} | {} | {list} | {object}", scalars.join(" | "));
        name
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().into_iter().flatten().any(|required| required == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, properties: &Value) -> ToolSpec {
        let input_schema = json!({ "type": "object", "properties": properties, "required": ["city"] });
        ToolSpec { name: name.into(), description: None, input_schema }
    }

    fn grammar(template: &str, parallel: bool, after: Option<&str>, special: &[(String, u32)]) -> String {
        let tools = [tool("look", &json!({ "city": { "type": "string" }, "days": { "type": "integer" } }))];
        ToolFormat::of(Some(template), &[]).grammar(&CallRules { tools: &tools, parallel, after, special })
    }

    #[test]
    fn json_is_bound_by_the_schema_between_markers() {
        let schema = r#"{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"],"x-guidance":"#;
        let style = r#"{"whitespace_pattern":" ","json_allowed_escapes":"nrbtf\\\""}}"#;
        let want = format!(
            "start:  r4\nr0: %json {schema}{style}\nr1: \"<tool_call>\\n{{\\\"name\\\": \\\"look\\\", \\\"arguments\\\": \" r0 \"}}\\n</tool_call>\"\n\
             r2: r1\nr3:  r2  \nr4: r3\n"
        );
        assert_eq!(grammar("<tool_call>", false, None, &[]), want);
        // Special tokens are not text: they stand by their ids.
        let special = [("<tool_call>".to_owned(), 7), ("</tool_call>".to_owned(), 8)];
        let several = grammar("<tool_call>", true, None, &special);
        assert!(several.contains("r1: <[7]> \"\\n{") && several.contains("r0 \"}\\n\" <[8]>\n"), "{several}");
        assert!(several.contains("(\"\\n\" r2)*"), "{several}");
    }

    #[test]
    fn calls_that_a_model_begins_have_its_white_space_and_its_markers() {
        let own = grammar("<tool_call>", true, Some("So "), &[("<tool_call>".to_owned(), 7)]);
        assert!(own.starts_with("start: \"So \" r5\n"), "{own}");
        assert!(
            own.contains(&format!("r1: <[7]> {SPACE} \"{{\" {SPACE} \"\\\"name\\\"\" {SPACE} \":\" {SPACE}")),
            "{own}"
        );
        assert!(own.contains(&format!("r0 {SPACE} \"}}\" {SPACE} \"</tool_call>\"\n")), "{own}");
        let llama = grammar("<|python_tag|>", true, Some(""), &[]);
        assert!(llama.contains("r3: \"\" | \"<|python_start|>\" | \"<|python_tag|>\"\n"), "{llama}");
        assert!(llama.contains("\"\\\"type\\\"\""), "{llama}");
    }

    #[test]
    fn other_forms_spell_their_arguments() {
        let xml = grammar("<tool_call><parameter=", true, None, &[]);
        assert!(
            xml.contains(r#"[suffix="\n</parameter>"]: /(?s:.*)/"#)
                && xml.contains(r#"%json {"type":"integer","x-guidance""#),
            "{xml}"
        );
        let python = grammar("<|tool_call_start|>", true, None, &[]);
        assert!(python.contains("\"city=\" r0\n") && python.contains("r2: /-?(0|[1-9][0-9]*)/\n"), "{python}");
        let braces = grammar("<|tool_call>", true, None, &[("<|\"|>".into(), 5)]);
        assert!(braces.contains("(<[5]> /(?s:.+)/? <[5]>)\n") && braces.contains("\"city:\" r0\n"), "{braces}");
    }
}
