//! Tests generations within a constraint in whole models with random weights, which keep to nothing by themselves.
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;

use common::{OPENS, block_on, data, load, on_gpu, thinker};
use minke::engine::{
    Constraint, Engine, FinishReason, GenerateOptions, GenerateResult, Input, LoadOptions, Logprobs, Reasoning,
    StreamPart,
};
use minke::{Cancel, Error, Result};
use serde_json::{Value, json};

const PROMPT: [u32; 7] = [195, 157, 265, 216, 309, 436, 160];

fn llama() -> Option<PathBuf> {
    data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models/llama"))
}

fn within(constraint: Constraint, seed: f64) -> GenerateOptions {
    GenerateOptions {
        max_output_tokens: Some(160.0),
        temperature: Some(1.0),
        seed: Some(seed),
        response_constraint: Some(constraint),
        ..GenerateOptions::default()
    }
}

fn schema(json: Value) -> Constraint {
    Constraint::Json { json }
}

fn regex(regex: &str) -> Constraint {
    Constraint::Regex { regex: regex.into(), flags: String::new() }
}

fn run(engine: &Engine, input: Input, options: &GenerateOptions) -> Result<GenerateResult> {
    block_on(engine.generate(input, options, &Cancel::default(), &mut |_| {}))
}

fn generate(engine: &Engine, options: &GenerateOptions) -> GenerateResult {
    run(engine, Input::Ids(PROMPT.to_vec()), options).expect("a generation")
}

/// What is true of a value.
type Holds = fn(&Value) -> bool;

/// Schemas whose values are short, each with what is true of them.
fn schemas() -> Vec<(Value, Holds)> {
    vec![
        (json!({ "type": "integer", "minimum": -5, "maximum": 120 }), |v| {
            v.as_i64().is_some_and(|n| (-5..=120).contains(&n))
        }),
        (json!({ "enum": ["red", "green", "dark blue", null, 3] }), |v| {
            v.is_null() || v == &json!(3) || ["red", "green", "dark blue"].contains(&v.as_str().unwrap_or_default())
        }),
        (json!({ "type": "string", "maxLength": 6 }), |v| v.as_str().is_some_and(|s| s.chars().count() <= 6)),
        (json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 2, "maxItems": 4 }), |v| {
            v.as_array().is_some_and(|list| (2..=4).contains(&list.len()) && list.iter().all(Value::is_boolean))
        }),
        (
            json!({
                "type": "object", "additionalProperties": false, "required": ["name", "age"],
                "properties": {
                    "name": { "type": "string", "pattern": "^[A-Z][a-z]{1,6}$" },
                    "age": { "type": "integer", "minimum": 0, "maximum": 99 },
                    "ok": { "type": "boolean" },
                },
            }),
            |v| v["name"].as_str().is_some_and(|s| s.len() <= 7) && v["age"].as_u64().is_some_and(|n| n < 100),
        ),
        (json!({ "type": "string", "format": "date" }), |v| v.as_str().is_some_and(|s| s.len() == 10)),
    ]
}

/// At temperature 1, whatever the seed, with forced tokens inserted and sampled, on both executors.
#[test]
fn answers_are_valid_json() {
    let Some(folder) = llama() else { return };
    for on in [LoadOptions::default(), on_gpu()] {
        let engines =
            [false, true].map(|without_jumps| load(&folder, LoadOptions { without_jumps, ..on }).expect("it loads"));
        let seeds = if on.run_on == on_gpu().run_on { 1 } else { 8 };
        for (json, holds) in schemas() {
            for seed in 0..seeds {
                for engine in &engines {
                    let result = generate(engine, &within(schema(json.clone()), f64::from(seed)));
                    let value: Value =
                        serde_json::from_str(&result.text).unwrap_or_else(|e| panic!("{:?}: {e}", result.text));
                    assert!(holds(&value), "{json}: {value}");
                    assert_eq!(result.finish_reason, FinishReason::Stop);
                    assert_eq!(engine.tokenizer().decode(&result.ids, true), result.text);
                }
            }
        }
    }
}

#[test]
fn generations_end_where_the_grammar_does() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let slow = load(&folder, LoadOptions { without_jumps: true, ..LoadOptions::default() }).expect("it loads");
    let free = generate(&engine, &GenerateOptions { response_constraint: None, ..within(regex("x"), 3.0) });
    for text in ["yes", "{\"a\": [1, 2]}", "日本語 and more"] {
        for engine in [&engine, &slow] {
            let one = generate(engine, &within(Constraint::Choice { choice: vec![text.into()] }, 1.0));
            assert_eq!((one.text.as_str(), one.finish_reason), (text, FinishReason::Stop));
        }
    }
    for (pattern, holds) in [
        ("[ab]{3}", (|text| text.len() == 3) as fn(&str) -> bool),
        ("(cat|category|dog)s?", |text| ["cat", "cats", "category", "categorys", "dog", "dogs"].contains(&text)),
    ] {
        for seed in 0..6 {
            let result = generate(&engine, &within(regex(pattern), f64::from(seed)));
            assert!(holds(&result.text) && result.finish_reason == FinishReason::Stop, "{pattern}: {:?}", result.text);
        }
    }
    // An answer that is cut says so.
    let cut = generate(&engine, &GenerateOptions { max_output_tokens: Some(5.0), ..within(regex("[a-z]{50}"), 1.0) });
    assert_eq!((cut.ids.len(), cut.finish_reason), (5, FinishReason::Length));
    let forced = Constraint::Choice { choice: vec!["a long text that nothing else can be".into()] };
    let cut = generate(&engine, &GenerateOptions { max_output_tokens: Some(3.0), ..within(forced, 1.0) });
    assert_eq!((cut.ids.len(), cut.finish_reason), (3, FinishReason::Length));
    // Stop sequences hold in what is forced, too.
    let stop = GenerateOptions {
        stop_sequences: vec!["[1".into()],
        ..within(Constraint::Choice { choice: vec!["{\"a\": [1, 2]}".into()] }, 1.0)
    };
    let stopped = generate(&engine, &stop);
    assert_eq!((stopped.text.as_str(), stopped.finish_reason), ("{\"a\": ", FinishReason::Stop));
    // What is free afterwards is what it was.
    let again = generate(&engine, &GenerateOptions { response_constraint: None, ..within(regex("x"), 3.0) });
    assert_eq!(again.ids, free.ids);
}

/// Every token is either forced, with the probability 1, or sampled from what the mask leaves; a seed reproduces them.
#[test]
fn a_seed_reproduces_and_log_probabilities_are_the_models_own() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let object = json!({ "type": "object", "properties": { "kind": { "const": "circle" }, "r": { "type": "integer", "minimum": 0, "maximum": 9 } },
        "required": ["kind", "r"], "additionalProperties": false });
    let options = GenerateOptions {
        logprobs: Some(Logprobs::Top(2.0)),
        presence_penalty: Some(0.5),
        ..within(schema(object), 4.0)
    };
    let first = generate(&engine, &options);
    assert_eq!(generate(&engine, &options).ids, first.ids);
    assert!(first.text.starts_with("{\"kind\": \"circle\", \"r\": "), "{}", first.text);
    let logprobs = first.logprobs.expect("asked for");
    assert_eq!(logprobs.iter().map(|l| l.id).collect::<Vec<_>>(), first.ids);
    let (forced, sampled): (Vec<_>, Vec<_>) = logprobs.iter().partition(|l| l.top.is_none());
    assert!(forced.iter().all(|l| l.logprob == 0.0) && forced.len() > sampled.len());
    assert!(sampled.iter().any(|l| l.logprob < -1.0), "random weights do not expect JSON");
}

#[test]
fn thoughts_are_free_and_the_answer_is_bound() {
    let Some(engine) = thinker(OPENS) else { return };
    for seed in 0..4 {
        let options = GenerateOptions {
            reasoning: Reasoning::Budget { max_tokens: 9.0 },
            ..within(regex("[ab]{3}"), f64::from(seed))
        };
        let mut parts = Vec::new();
        let result = block_on(
            engine.generate(Input::Text("Hi!".into()), &options, &Cancel::default(), &mut |part| parts.push(part)),
        );
        let result = result.expect("an answer");
        assert_eq!(result.usage.reasoning_tokens, 9);
        assert!(result.text.len() == 3 && result.text.bytes().all(|b| b == b'a' || b == b'b'), "{:?}", result.text);
        assert_eq!(
            (result.finish_reason, result.messages[1].content.as_str()),
            (FinishReason::Stop, result.text.as_str())
        );
        let text: String = parts
            .iter()
            .filter_map(|p| if let StreamPart::TextDelta { text, .. } = p { Some(text.as_str()) } else { None })
            .collect();
        assert_eq!(text, result.text);
    }
    // Without reasoning the answer is bound from its first token, its own white space included.
    let quiet = GenerateOptions { reasoning: Reasoning::Budget { max_tokens: 0.0 }, ..within(regex(" [ab]"), 2.0) };
    let result = run(&engine, Input::Text("Hi!".into()), &quiet).expect("an answer");
    assert!([" a", " b"].contains(&result.text.as_str()), "{:?}", result.text);
}

/// A model that may reason first is free to open its reasoning, and to write white space after it, once.
#[test]
fn reasoning_may_begin_and_white_space_may_follow_it() {
    const LEAVES: &str =
        "{% for m in messages %}<|user|>{{ m.content.split('</think>')[-1] }}{% endfor %}<|assistant|>";
    let Some(engine) = thinker(LEAVES) else { return };
    let tokenizer = engine.tokenizer();
    let (think, line) = (tokenizer.id("<think>").expect("a token"), tokenizer.encode("\n", false).expect("a line"));
    let biased = |tokens: &[(u32, f64)]| GenerateOptions {
        logit_bias: tokens.iter().map(|(id, bias)| (id.to_string(), *bias)).collect(),
        reasoning: Reasoning::Budget { max_tokens: 5.0 },
        ..within(regex("[ab]{3}"), 6.0)
    };
    let answer = |options: &GenerateOptions| {
        let result = run(&engine, Input::Text("Hi!".into()), options).expect("an answer");
        assert!(result.text.len() == 3 && result.text.bytes().all(|b| b == b'a' || b == b'b'), "{:?}", result.text);
        result
    };
    let thought = answer(&biased(&[(think, 1e3), (line[0], 9e2)]));
    assert_eq!((thought.ids[0], thought.usage.reasoning_tokens), (think, 5));
    let close = tokenizer.id("</think>").expect("a token");
    let after = thought.ids.iter().position(|&id| id == close).expect("the reasoning is closed") + 1;
    let rest = tokenizer.decode(&thought.ids[after..], true);
    // Two line ends belong to what closes the reasoning, and one was sampled.
    assert_eq!(rest, format!("\n\n\n{}", thought.text));
    // Tokens that neither open the reasoning nor keep to the grammar are impossible, however likely.
    let plain = answer(&biased(&[(think, -1e3), (line[0], 9e2)]));
    assert_eq!((plain.reasoning.as_str(), plain.usage.reasoning_tokens), ("", 0));
}

#[test]
fn what_cannot_be_honoured_is_refused_and_changes_nothing() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let before = generate(&engine, &within(regex("[a-z]{8}"), 1.0)).ids;
    for (constraint, keyword, path) in [
        (schema(json!({ "properties": { "a": { "not": {} } } })), Some("not"), Some("#/properties/a/not")),
        (schema(json!({ "type": "string", "format": "zebra" })), Some("format"), Some("#/format")),
        (schema(json!({ "type": "integer", "minimum": 5, "maximum": 3 })), Some("minimum"), Some("#/minimum")),
        (schema(json!(false)), None, Some("#")),
        (regex("a(?=b)"), Some("(?="), None),
        (Constraint::Choice { choice: vec![] }, Some("choice"), None),
        (Constraint::Grammar { grammar: "start: nothing".into() }, None, None),
    ] {
        let error = run(&engine, Input::Ids(PROMPT.to_vec()), &within(constraint.clone(), 1.0)).expect_err("a refusal");
        assert_eq!(error.code(), "constraint");
        let Error::Constraint { keyword: found, path: at, message } = &error else { panic!("{error}") };
        assert_eq!((found.as_deref(), at.as_deref()), (keyword, path), "{constraint:?}: {message}");
        assert_eq!(error.detail()["path"], json!(path));
    }
    assert_eq!(generate(&engine, &within(regex("[a-z]{8}"), 1.0)).ids, before);
}
