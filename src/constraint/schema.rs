//! Checks a JSON Schema before llguidance sees it, and writes it in the form that llguidance honours exactly.
//!
//! llguidance refuses what it does not know, without saying where, and takes some schemas that no text can satisfy. Here every
//! refusal names a keyword and its path, references are resolved (nothing is ever fetched), and what would nest without end
//! becomes `false`, which nothing satisfies.

mod values;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Refusal, pattern};
use values::{whole, wrong};

/// Subschemas, at most.
const MAX_SCHEMAS: usize = 100_000;
/// Subschemas within subschemas, at most.
const MAX_DEPTH: usize = 100;

/// Keywords that restrict and have no counterpart in a grammar.
const REFUSED: [&str; 13] = [
    "not",
    "contains",
    "minContains",
    "maxContains",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
    "if",
];

/// Days that exist: llguidance's dates have a 29 February in every year.
const DAY: &str = "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
    |02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)";

/// A schema for llguidance.
pub(crate) struct Prepared {
    pub schema: Value,
    /// Every subschema with its path, the innermost first: to find out which one llguidance cannot compile.
    pub parts: Vec<(String, Value)>,
    definitions: Map<String, Value>,
}

impl Prepared {
    /// A subschema as a schema of its own.
    pub fn whole(&self, part: &Value) -> Value {
        complete(part.clone(), &self.definitions)
    }
}

/// A schema with what its references point at, and the style of its texts.
fn complete(schema: Value, definitions: &Map<String, Value>) -> Value {
    let mut keywords = match schema {
        Value::Object(keywords) => keywords,
        Value::Bool(true) => Map::new(),
        nothing => return nothing,
    };
    keywords.insert("$defs".into(), definitions.clone().into());
    keywords.insert("x-guidance".into(), style());
    keywords.into()
}

/// How JSON is written: as Python's `json.dumps` does, with no other white space, so that it cannot go on without end, and
/// with one spelling for each text, so that a name cannot be written twice in two spellings.
fn style() -> Value {
    json!({
        "whitespace_flexible": false,
        "item_separator": ", ",
        "key_separator": ": ",
        "json_allowed_escapes": "nrbtf\\\"",
    })
}

/// Prepares a schema.
///
/// # Errors
/// A [`Refusal`] that names the keyword and its path.
pub(crate) fn prepare(root: &Value) -> Result<Prepared, Refusal> {
    let mut walk = Walk {
        root,
        targets: BTreeMap::new(),
        queue: Vec::new(),
        anchors: BTreeMap::new(),
        parts: Vec::new(),
        count: 0,
    };
    walk.find_anchors(root, "#", 0);
    walk.check(root, "#", 0)?;
    while let Some((path, target)) = walk.queue.pop() {
        walk.check(target, &path, 0)?;
    }
    let finite = walk.finite();
    if !walk.satisfiable(root, &finite) {
        let endless = |path: &String| {
            let message = "nothing satisfies it: what it requires nests without end";
            Refusal { message: message.into(), keyword: Some("$ref".into()), path: Some(path.clone()) }
        };
        let everything = walk.targets.keys().map(|path| (path.clone(), true)).collect();
        if walk.satisfiable(root, &everything) {
            let first = walk.targets.keys().find(|path| !finite[*path]);
            return Err(endless(first.unwrap_or(&"#".to_owned())));
        }
    }
    let schema = walk.rewrite(root, "#", &finite);
    let definitions: Map<String, Value> = walk
        .targets
        .clone()
        .iter()
        .filter(|(path, _)| finite[*path])
        .map(|(path, (name, target))| (name.clone(), walk.rewrite(target, path, &finite)))
        .collect();
    Ok(Prepared { schema: complete(schema, &definitions), parts: walk.parts, definitions })
}

struct Walk<'a> {
    root: &'a Value,
    /// What references point at, by path: the name of its definition, and itself.
    targets: BTreeMap<String, (String, &'a Value)>,
    /// Targets that are still to be checked.
    queue: Vec<(String, &'a Value)>,
    /// Paths of schemas that have a name: `#name`, or the value of `$id`.
    anchors: BTreeMap<String, String>,
    parts: Vec<(String, Value)>,
    count: usize,
}

impl<'a> Walk<'a> {
    fn find_anchors(&mut self, value: &'a Value, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return; // `check` says so
        }
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    match (key.as_str(), inner) {
                        ("$anchor" | "$dynamicAnchor", Value::String(name)) => {
                            self.anchors.insert(format!("#{name}"), path.to_owned());
                        }
                        ("$id" | "id", Value::String(name)) => {
                            self.anchors.insert(name.trim_end_matches('#').to_owned(), path.to_owned());
                        }
                        ("const" | "enum" | "default" | "examples", _) => {}
                        _ => self.find_anchors(inner, &child(path, key), depth + 1),
                    }
                }
            }
            Value::Array(list) => {
                for (i, inner) in list.iter().enumerate() {
                    self.find_anchors(inner, &format!("{path}/{i}"), depth + 1);
                }
            }
            _ => {}
        }
    }

    /// The path and schema that a reference names.
    fn resolve(&self, reference: &str, path: &str) -> Result<(String, &'a Value), Refusal> {
        let refused = |message: String| Refusal { message, keyword: Some("$ref".into()), path: Some(path.to_owned()) };
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base_path = match self.anchors.get(base) {
            Some(path) => path.as_str(),
            None if base.is_empty() => "#",
            None => return Err(refused(format!("{reference:?} is not in this schema, and nothing is fetched"))),
        };
        let target = if fragment.is_empty() {
            base_path.to_owned()
        } else if fragment.starts_with('/') {
            let fragment = percent_decoded(fragment);
            format!("{base_path}{}", fragment.trim_end_matches('/'))
        } else {
            let found = self.anchors.get(&format!("#{fragment}")).cloned();
            found.ok_or_else(|| refused(format!("{reference:?} is not in this schema")))?
        };
        let value =
            self.root.pointer(&target[1..]).ok_or_else(|| refused(format!("{reference:?} is not in this schema")))?;
        Ok((target, value))
    }

    /// Checks a schema and everything in it, and notes what its references point at.
    fn check(&mut self, value: &'a Value, path: &str, depth: usize) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > MAX_SCHEMAS || depth > MAX_DEPTH {
            let message = format!("a schema has at most {MAX_SCHEMAS} parts, at most {MAX_DEPTH} deep");
            return Err(Refusal { message, keyword: None, path: Some(path.to_owned()) });
        }
        let map = match value {
            Value::Bool(_) => return Ok(()),
            Value::Object(map) => map,
            _ => {
                return Err(Refusal {
                    message: "a schema is an object or a boolean".into(),
                    keyword: None,
                    path: Some(path.to_owned()),
                });
            }
        };
        for (keyword, inner) in map {
            let at = child(path, keyword);
            let refused = |message: &str| Refusal {
                message: message.to_owned(),
                keyword: Some(keyword.clone()),
                path: Some(at.clone()),
            };
            let ineffective = match keyword.as_str() {
                "if" => !map.contains_key("then") && !map.contains_key("else"),
                "minContains" | "maxContains" => !map.contains_key("contains"),
                "unevaluatedItems" | "unevaluatedProperties" => *inner == Value::Bool(true),
                // As converters of validators write it for records: names are texts anyway.
                "propertyNames" => [json!(true), json!({}), json!({ "type": "string" })].contains(inner),
                _ => false,
            };
            if REFUSED.contains(&keyword.as_str()) && !ineffective {
                return Err(refused(&format!("the keyword {keyword} is not supported")));
            }
            if let Some(wrong) = wrong(keyword, inner) {
                return Err(refused(&wrong));
            }
            match (keyword.as_str(), inner) {
                ("$ref", Value::String(reference)) => {
                    let (target, schema) = self.resolve(reference, &at)?;
                    if !self.targets.contains_key(&target) {
                        let name = format!("r{}", self.targets.len());
                        self.targets.insert(target.clone(), (name, schema));
                        self.queue.push((target, schema));
                    }
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(parts)) => {
                    for (i, part) in parts.iter().enumerate() {
                        self.check(part, &format!("{at}/{i}"), depth + 1)?;
                    }
                }
                ("items" | "additionalItems" | "additionalProperties", part) => self.check(part, &at, depth + 1)?,
                ("properties" | "patternProperties", Value::Object(parts)) => {
                    for (name, part) in parts {
                        let at = child(&at, name);
                        if keyword == "patternProperties" {
                            pattern::anywhere(name).map_err(|refusal| refusal.within(keyword, &at))?;
                        }
                        self.check(part, &at, depth + 1)?;
                    }
                }
                ("pattern", Value::String(source)) => {
                    pattern::anywhere(source).map_err(|refusal| refusal.within(keyword, &at))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// For each target whether a finite value satisfies it, as far as its structure says.
    fn finite(&self) -> BTreeMap<String, bool> {
        let mut finite: BTreeMap<String, bool> = self.targets.keys().map(|path| (path.clone(), false)).collect();
        loop {
            let next: BTreeMap<String, bool> = self
                .targets
                .iter()
                .map(|(path, (_, target))| (path.clone(), self.satisfiable(target, &finite)))
                .collect();
            if next == finite {
                return finite;
            }
            finite = next;
        }
    }

    /// Whether a value satisfies a schema's structure if one satisfies the targets of references that are `finite`.
    fn satisfiable(&self, value: &Value, finite: &BTreeMap<String, bool>) -> bool {
        let Value::Object(map) = value else { return *value != Value::Bool(false) };
        let list = |keyword: &str| map.get(keyword).and_then(Value::as_array);
        let each = |part: &Value| self.satisfiable(part, finite);
        if let Some(reference) = map.get("$ref").and_then(Value::as_str)
            && !self.resolve(reference, "").is_ok_and(|(target, _)| finite[&target])
        {
            return false;
        }
        if list("allOf").is_some_and(|parts| !parts.iter().all(each))
            || ["anyOf", "oneOf"].iter().any(|keyword| list(keyword).is_some_and(|parts| !parts.iter().any(each)))
        {
            return false;
        }
        if map.contains_key("const") || map.contains_key("enum") {
            return true;
        }
        let object = || {
            let given = map.get("properties").and_then(Value::as_object);
            let other = map.get("additionalProperties");
            let mut required = list("required").into_iter().flatten().filter_map(Value::as_str);
            required.all(|name| {
                let schema = given.and_then(|given| given.get(name));
                // A name that a pattern takes is left to llguidance.
                let other = other.filter(|_| !map.contains_key("patternProperties"));
                schema.or(other).is_none_or(each)
            })
        };
        let array = || {
            let least = map.get("minItems").and_then(whole).unwrap_or(0);
            let first = list("prefixItems").or_else(|| list("items"));
            let first = first.map_or(&[] as &[Value], Vec::as_slice);
            let rest = map.get("items").filter(|items| !items.is_array()).or_else(|| map.get("additionalItems"));
            first.iter().take(least as usize).all(each) && (least as usize <= first.len() || rest.is_none_or(each))
        };
        let possible = |kind: &str| match kind {
            "object" => object(),
            "array" => array(),
            _ => true,
        };
        match map.get("type") {
            Some(Value::String(kind)) => possible(kind),
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).any(possible),
            _ => true,
        }
    }

    /// The schema in llguidance's form.
    fn rewrite(&mut self, value: &Value, path: &str, finite: &BTreeMap<String, bool>) -> Value {
        let Value::Object(map) = value else { return value.clone() };
        let mut out = Map::new();
        let tuple = map.get("items").is_some_and(Value::is_array);
        for (keyword, inner) in map {
            let at = child(path, keyword);
            let each = |walk: &mut Self, parts: &[Value]| -> Value {
                parts.iter().enumerate().map(|(i, part)| walk.rewrite(part, &format!("{at}/{i}"), finite)).collect()
            };
            let (keyword, inner) = match (keyword.as_str(), inner) {
                ("$ref", Value::String(reference)) => {
                    let target = self.resolve(reference, path).map(|(target, _)| target).unwrap_or_default();
                    match finite.get(&target) {
                        Some(true) => ("$ref", format!("#/$defs/{}", self.targets[&target].0).into()),
                        _ => return Value::Bool(false),
                    }
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(parts)) => {
                    (keyword.as_str(), each(self, parts))
                }
                ("items", Value::Array(parts)) => ("prefixItems", each(self, parts)),
                ("additionalItems", part) if tuple => ("items", self.rewrite(part, &at, finite)),
                ("items" | "additionalProperties", part) => (keyword.as_str(), self.rewrite(part, &at, finite)),
                ("properties", Value::Object(parts)) => {
                    let parts =
                        parts.iter().map(|(name, part)| (name.clone(), self.rewrite(part, &child(&at, name), finite)));
                    ("properties", parts.collect::<Map<_, _>>().into())
                }
                ("patternProperties", Value::Object(parts)) => {
                    let parts = parts
                        .iter()
                        .map(|(name, part)| (anchored(name), self.rewrite(part, &child(&at, name), finite)));
                    ("patternProperties", parts.collect::<Map<_, _>>().into())
                }
                ("pattern", Value::String(source)) => ("pattern", anchored(source).into()),
                ("minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties", number) => {
                    (keyword.as_str(), whole(number).into())
                }
                (
                    "type" | "const" | "enum" | "required" | "format" | "minimum" | "maximum" | "exclusiveMinimum"
                    | "exclusiveMaximum" | "multipleOf",
                    inner,
                ) => (keyword.as_str(), inner.clone()),
                _ => continue, // it only describes
            };
            out.insert(keyword.to_owned(), inner);
        }
        let day = match map.get("format").and_then(Value::as_str) {
            Some("date") => Some(format!("^{DAY}$")),
            Some("date-time") => Some(format!("^{DAY}[Tt].*$")),
            _ => None,
        };
        if let Some(pattern) = day {
            let also = out.entry("allOf").or_insert_with(|| json!([]));
            also.as_array_mut().expect("a list, as it was checked").push(json!({ "pattern": pattern }));
        }
        let out = Value::Object(out);
        self.parts.push((path.to_owned(), out.clone()));
        out
    }
}

/// A pattern, which `check` has accepted, for whole texts.
fn anchored(source: &str) -> String {
    format!("^(?:{})$", pattern::anywhere(source).expect("it was checked"))
}

/// The path of a member.
fn child(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A fragment of a URI as text.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(schema: Value) -> (String, String) {
        let refusal = prepare(&schema).err().unwrap_or_else(|| panic!("{schema} is accepted"));
        (refusal.keyword.unwrap_or_default(), refusal.path.unwrap_or_default())
    }

    #[test]
    fn a_refusal_names_keyword_and_path() {
        for (schema, keyword, path) in [
            (json!({ "properties": { "a": { "not": {} } } }), "not", "#/properties/a/not"),
            (json!({ "items": { "uniqueItems": true } }), "uniqueItems", "#/items/uniqueItems"),
            (json!({ "properties": { "a/b": { "pattern": r"\bx" } } }), "pattern", "#/properties/a~1b/pattern"),
            (json!({ "$ref": "https://example.com/s.json" }), "$ref", "#/$ref"),
            (json!({ "$ref": "#/$defs/none" }), "$ref", "#/$ref"),
            (json!({ "type": "strng" }), "type", "#/type"),
            (json!({ "anyOf": [{ "minLength": -1 }] }), "minLength", "#/anyOf/0/minLength"),
            (json!({ "required": "a" }), "required", "#/required"),
            (json!([1]), "", "#"),
            (json!({ "items": 3 }), "", "#/items"),
        ] {
            assert_eq!(refused(schema.clone()), (keyword.into(), path.into()), "{schema}");
        }
    }

    #[test]
    fn endless_schemas_are_refused() {
        let node = json!({ "type": "object", "properties": { "next": { "$ref": "#/$defs/n" } }, "required": ["next"] });
        for schema in [
            json!({ "$ref": "#" }),
            json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" }),
            json!({ "$defs": { "n": node }, "$ref": "#/$defs/n" }),
            json!({ "type": "array", "minItems": 1, "items": { "$ref": "#" } }),
        ] {
            assert_eq!(refused(schema.clone()).0, "$ref", "{schema}");
        }
    }

    #[test]
    fn recursion_that_can_end_is_kept() {
        let list = json!({ "type": "object", "properties": { "next": { "$ref": "#" } } });
        let prepared = prepare(&list).expect("a list");
        assert_eq!(prepared.schema["properties"]["next"]["$ref"], "#/$defs/r0");
        let anchored = json!({ "$defs": { "x": { "$anchor": "here", "type": "null" } }, "$ref": "#here" });
        assert_eq!(prepare(&anchored).expect("an anchor").schema["$defs"]["r0"]["type"], "null");
        let draft7 = json!({ "items": [{ "type": "null" }], "additionalItems": false });
        let prepared = prepare(&draft7).expect("a tuple").schema;
        assert_eq!((&prepared["prefixItems"][0]["type"], &prepared["items"]), (&json!("null"), &json!(false)));
    }
}
