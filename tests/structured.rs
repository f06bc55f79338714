//! Schemas, regular expressions and grammars of the reference data: what is valid can be written and nothing else can, by the
//! masks that generation uses, token by token of a real vocabulary and byte by byte.
//!
//! `MINKE_STRUCTURED` names another folder of the form that `../shared/data/structured/README.md` describes.

mod common;
mod support;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use common::data;
use minke::Error;
use minke::engine::{Constraint, Grammars, Matcher, Vocabulary, linked_grammars};
use minke::text::Tokenizer;
use serde_json::{Value, json};

/// Cases whose ruling is not followed, with the reason: `(case, text, reason)`.
const KNOWN: &[(&str, &str, &str)] = &[];

/// The tokens of a text.
type Encode = Box<dyn Fn(&str) -> Vec<u32>>;

/// What a text is turned into tokens with, and what masks them.
struct Way {
    name: &'static str,
    grammars: Rc<dyn Grammars>,
    /// The token that ends an answer.
    end: u32,
    encode: Encode,
    /// The bytes of a token.
    bytes: Box<dyn Fn(u32) -> Vec<u8>>,
}

fn ways() -> Vec<Way> {
    let mut bytes = Vocabulary { bytes: (0..255).collect(), lengths: vec![1; 255], ends: vec![256] };
    bytes.bytes.extend(b"\xff<end>");
    bytes.lengths.extend([0, 6]);
    let mut ways = vec![Way {
        name: "bytes",
        grammars: linked_grammars(&bytes).expect("bytes are a vocabulary"),
        end: 256,
        encode: Box::new(|text| text.bytes().map(u32::from).collect()),
        bytes: Box::new(|id| vec![id as u8]),
    }];
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !model.exists() {
        support::skip(support::in_checkout(&model), "it is not there");
        return ways;
    }
    let tokenizer = Rc::new(Tokenizer::from_gguf(support::gguf_vocab::read(&model).0).expect("SmolLM2's tokenizer"));
    let end = tokenizer.id("<|im_end|>").expect("an end of turn");
    let vocabulary = Vocabulary::new(&tokenizer, tokenizer.vocab_size(), &[end]);
    let other = tokenizer.clone();
    ways.push(Way {
        name: "SmolLM2",
        grammars: linked_grammars(&vocabulary).expect("a vocabulary"),
        end,
        encode: Box::new(move |text| tokenizer.encode(text, false).expect("it encodes")),
        bytes: Box::new(move |id| other.token_bytes(id)),
    });
    ways
}

fn allows(mask: &[u32], id: u32) -> bool {
    mask[id as usize / 32] >> (id % 32) & 1 == 1
}

/// Whether the masks let a text be written and then the answer end. What is forced must be what follows.
fn writes(matcher: &mut dyn Matcher, way: &Way, text: &str) -> bool {
    let mut left = text.as_bytes();
    let mut forced = Vec::new();
    for id in (way.encode)(text) {
        if matcher.must_end() {
            return false;
        }
        forced = matcher.forced();
        if !allows(&matcher.mask().expect("a mask"), id) {
            return false;
        }
        let bytes = (way.bytes)(id);
        let follows = bytes.starts_with(&forced) || forced.starts_with(&bytes);
        assert!(follows, "{text:?} may be written, but {:?} is forced", String::from_utf8_lossy(&forced));
        matcher.consume(id).expect("the mask allows it");
        left = &left[bytes.len()..];
    }
    assert!(left.is_empty(), "{text:?} is encoded whole");
    let may_end = matcher.may_end();
    if !matcher.must_end() {
        let mask = matcher.mask().expect("a mask");
        assert_eq!(allows(&mask, way.end), may_end, "{text:?}: the end is allowed where it may be; forced {forced:?}");
    }
    may_end
}

fn cases(folder: &Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(name)).expect(name);
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("a case"))
        .collect()
}

fn folder() -> Option<PathBuf> {
    data("MINKE_STRUCTURED", "../shared/data/structured")
}

/// Holds every text of a case against its ruling; `rule` says what must be: `Some(true)` possible, `Some(false)` impossible.
fn hold(
    way: &Way,
    id: &str,
    constraint: &Constraint,
    texts: &[Value],
    rule: &dyn Fn(&Value) -> Option<bool>,
    wrong: &mut Vec<String>,
) {
    for instance in texts {
        let text = instance["text"].as_str().expect("a text");
        let Some(want) = rule(instance) else { continue };
        let mut matcher = way.grammars.compile(constraint).expect("it has compiled before");
        let got = writes(&mut *matcher, way, text);
        if got != want && !KNOWN.iter().any(|(case, known, _)| *case == id && *known == text) {
            wrong.push(format!("{id} by {}: {text} is {}possible", way.name, if got { "" } else { "im" }));
        }
    }
}

fn refusal(error: &Error) -> (&str, Option<&str>, Option<&str>) {
    match error {
        Error::Constraint { message, keyword, path } => (message, keyword.as_deref(), path.as_deref()),
        other => panic!("{other} is not a refusal of a constraint"),
    }
}

#[test]
fn schemas_allow_what_they_accept_and_nothing_else() {
    let Some(folder) = folder() else { return };
    let mut wrong = Vec::new();
    for way in ways() {
        for case in cases(&folder, "schemas.jsonl") {
            let id = case["id"].as_str().expect("an id");
            let kind = case["kind"].as_str().expect("a kind");
            let constraint = Constraint::Json { json: case["schema"].clone() };
            let started = std::time::Instant::now();
            match way.grammars.compile(&constraint) {
                Err(error) => {
                    let (message, keyword, path) = refusal(&error);
                    assert!(!message.is_empty() && path.is_some_and(|path| path.starts_with('#')), "{id}: {error:?}");
                    if kind == "ok" {
                        wrong.push(format!("{id} by {}: {error}", way.name));
                    }
                    if kind == "may_refuse" && keyword.is_none() {
                        wrong.push(format!("{id} by {}: the refusal names no keyword: {error}", way.name));
                    }
                }
                Ok(_) if kind == "error" => wrong.push(format!("{id} by {}: it is no schema, and compiles", way.name)),
                Ok(_) => {
                    let instances = case["instances"].as_array().expect("instances");
                    let rule =
                        |instance: &Value| match (instance["valid"].as_bool(), instance["must_generate"].as_bool()) {
                            (Some(false), _) => Some(false),
                            (_, Some(true)) => Some(true),
                            _ => None,
                        };
                    hold(&way, id, &constraint, instances, &rule, &mut wrong);
                }
            }
            assert!(started.elapsed().as_secs() < 20, "{id} takes {:?}", started.elapsed());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn regular_expressions_match_whole_texts() {
    let Some(folder) = folder() else { return };
    let mut wrong = Vec::new();
    for way in ways() {
        for case in cases(&folder, "regexes.jsonl") {
            let id = case["id"].as_str().expect("an id");
            let regex = case["regex"].as_str().expect("a pattern").to_owned();
            let constraint = Constraint::Regex { regex, flags: "u".into() };
            match (way.grammars.compile(&constraint), case["kind"].as_str()) {
                (Err(error), Some("ok")) => wrong.push(format!("{id} by {}: {error}", way.name)),
                (Err(error), _) => assert!(!refusal(&error).0.is_empty()),
                (Ok(_), Some("refuse")) => wrong.push(format!("{id} by {}: it is not refused", way.name)),
                (Ok(_), _) => {
                    let rule = |case: &Value| case["match"].as_bool();
                    hold(&way, id, &constraint, case["cases"].as_array().expect("cases"), &rule, &mut wrong);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn grammars_take_their_texts() {
    let Some(folder) = folder() else { return };
    let mut wrong = Vec::new();
    for way in ways() {
        for case in cases(&folder, "grammars.jsonl") {
            let id = case["id"].as_str().expect("an id");
            let constraint = Constraint::Grammar { grammar: case["lark"].as_str().expect("a grammar").to_owned() };
            match (way.grammars.compile(&constraint), case["kind"].as_str()) {
                (Err(error), Some("error")) => assert!(!refusal(&error).0.is_empty()),
                (Err(error), _) => wrong.push(format!("{id} by {}: {error}", way.name)),
                (Ok(_), Some("error")) => wrong.push(format!("{id} by {}: it compiles", way.name)),
                (Ok(_), _) => {
                    let rule = |case: &Value| case["match"].as_bool();
                    hold(&way, id, &constraint, case["cases"].as_array().expect("cases"), &rule, &mut wrong);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn choices_are_texts_as_they_are() {
    for way in ways() {
        let texts = ["a", "ab", "a.b", "日本", "\"quoted\" /slash/ \\ [x]", "line\nline"];
        let constraint = Constraint::Choice { choice: texts.map(str::to_owned).to_vec() };
        let possible = |text: &str| writes(&mut *way.grammars.compile(&constraint).expect("a choice"), &way, text);
        texts.iter().for_each(|text| assert!(possible(text), "{text} by {}", way.name));
        ["", "b", "axb", "abc", "日"].iter().for_each(|text| assert!(!possible(text), "{text} by {}", way.name));
        let none = way.grammars.compile(&Constraint::Choice { choice: vec![] });
        assert_eq!(refusal(&none.err().expect("nothing to choose from")).1, Some("choice"));
    }
}

/// What JSON Schema's validators see only in the finished text: names that come twice, in whatever spelling, and days that no month has.
#[test]
fn what_a_grammar_alone_would_let_through_is_impossible() {
    let open = json!({ "type": "object", "properties": { "id": { "type": "integer" } } });
    let date = json!({ "type": "string", "format": "date" });
    let time = json!({ "type": "string", "format": "date-time" });
    let quotes = json!({ "type": "string", "pattern": r#"^[^"\\]*$"# });
    for way in ways() {
        for (schema, text, want) in [
            (&open, r#"{"id": 1, "a": 1, "b": {"a": 2}}"#, true),
            (&open, r#"{"id": 1, "a": 1, "a": 2}"#, false),
            (&open, r#"{"id": 1, "id": 2}"#, false),
            (&open, r#"{"\u0069d": "x"}"#, false),
            (&open, r#"{"a\"": 1, "a": 2, "a\\": 3}"#, true),
            (&open, r#"{"x": {"y": 1, "z": [{"y": 2}], "y": 3}}"#, false),
            (&date, r#""2024-02-29""#, true),
            (&date, r#""2000-02-29""#, true),
            (&date, r#""2023-02-29""#, false),
            (&date, r#""1900-02-29""#, false),
            (&date, r#""2024-04-31""#, false),
            (&time, r#""2024-02-29T12:30:00Z""#, true),
            (&time, r#""2023-02-29T12:30:00Z""#, false),
            (&quotes, r#""a/b""#, true),
            (&quotes, r#""a\"b""#, false),
            (&quotes, r#""a\\b""#, false),
        ] {
            let constraint = Constraint::Json { json: schema.clone() };
            let mut matcher = way.grammars.compile(&constraint).expect("a schema");
            assert_eq!(writes(&mut *matcher, &way, text), want, "{schema}: {text} by {}", way.name);
        }
    }
}

/// A grammar can name a special token, and hold a schema: a tool's call is bound so. The token's text alone is something else.
#[test]
fn a_grammar_may_have_special_tokens_and_schemas() {
    let grammar = "start: <|im_start|> call \"!\"\ncall: %json { \"type\": \"object\", \"properties\": { \"n\": { \"type\": \"integer\" } }, \
                   \"required\": [\"n\"], \"additionalProperties\": false }";
    let constraint = Constraint::Grammar { grammar: grammar.into() };
    for way in ways().into_iter().filter(|way| way.name == "SmolLM2") {
        let mut matcher = way.grammars.compile(&constraint).expect("a grammar");
        let [start] = (way.encode)("<|im_start|>")[..] else { panic!("it is a token") };
        let mask = matcher.mask().expect("a mask");
        assert_eq!((0..mask.len() as u32 * 32).filter(|&id| allows(&mask, id)).collect::<Vec<_>>(), [start]);
        assert!(matcher.forced().is_empty(), "no bytes spell a special token");
        assert!(writes(&mut *matcher, &way, "<|im_start|>{\"n\": 3}!"));
        let mut matcher = way.grammars.compile(&constraint).expect("a grammar");
        assert!(!writes(&mut *matcher, &way, "< |im_start|>{\"n\": 3}!"));
        let mut matcher = way.grammars.compile(&constraint).expect("a grammar");
        assert!(!writes(&mut *matcher, &way, "<|im_start|>{\"n\": \"3\"}!"));
    }
}
