//! Tests sampling options in a whole model: penalties, bias, log-probabilities, seeds, and reasoning that
//! is skipped or limited.
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;

use common::{OPENS, argmax, block_on, data, load, on_cpu, on_gpu, thinker};
use minke::engine::{
    Engine, FinishReason, GenerateOptions, GenerateResult, Input, LoadOptions, LogitRows, Logprobs, Reasoning,
    ReasoningMode, StreamPart,
};
use minke::{Cancel, Error, Result};

const PROMPT: [u32; 7] = [195, 157, 265, 216, 309, 436, 160];

fn llama() -> Option<PathBuf> {
    data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join("models/llama"))
}

fn greedy(n: usize) -> GenerateOptions {
    GenerateOptions { max_output_tokens: Some(n as f64), temperature: Some(0.0), ..GenerateOptions::default() }
}

fn run(engine: &Engine, input: Input, options: &GenerateOptions) -> (Result<GenerateResult>, Vec<StreamPart>) {
    let mut parts = Vec::new();
    let result = block_on(engine.generate(input, options, &Cancel::default(), &mut |part| parts.push(part)));
    (result, parts)
}

fn from_ids(engine: &Engine, ids: &[u32], options: &GenerateOptions) -> GenerateResult {
    run(engine, Input::Ids(ids.to_vec()), options).0.expect("a generation")
}

fn logits(engine: &Engine, ids: &[u32]) -> Vec<f32> {
    let mut row = Vec::new();
    let mut sink = |r: &[f32]| {
        row = r.to_vec();
        Ok(())
    };
    block_on(engine.forward(ids, LogitRows::Last, &Cancel::default(), &mut sink)).expect("logits");
    row
}

/// Each token has the largest logit after the penalties, which this test computes from the model's logits: the
/// repetition penalty includes the prompt, the other two only generated tokens.
#[test]
fn greedy_tokens_under_penalties_are_those_of_the_definition() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let plain = from_ids(&engine, &PROMPT, &greedy(16)).ids;
    let cases = [
        (GenerateOptions { repetition_penalty: Some(1.4), ..greedy(16) }, [1.4, 0.0, 0.0]),
        (GenerateOptions { presence_penalty: Some(1.5), ..greedy(16) }, [1.0, 1.5, 0.0]),
        (GenerateOptions { frequency_penalty: Some(0.75), ..greedy(16) }, [1.0, 0.0, 0.75]),
        (GenerateOptions { frequency_penalty: Some(-2.0), ..greedy(16) }, [1.0, 0.0, -2.0]),
    ];
    let mut changed = 0;
    for (options, [repetition, presence, frequency]) in cases {
        let got = from_ids(&engine, &PROMPT, &options).ids;
        changed += usize::from(got != plain);
        for (i, &id) in got.iter().enumerate() {
            let ids = [&PROMPT, &got[..i]].concat();
            let mut row = logits(&engine, &ids);
            for (token, v) in row.iter_mut().enumerate() {
                if ids.contains(&(token as u32)) {
                    *v = if *v < 0.0 { *v * repetition } else { *v / repetition };
                }
                let times = got[..i].iter().filter(|&&g| g as usize == token).count();
                *v -= frequency * times as f32 + if times > 0 { presence } else { 0.0 };
            }
            assert_eq!(id as usize, argmax(&row), "token {i} with {options:?}");
        }
    }
    assert!(changed >= 3, "the penalties change what this model says");
    assert_eq!(from_ids(&engine, &PROMPT, &greedy(16)).ids, plain, "and leave nothing behind");
}

#[test]
fn a_bias_forces_and_bans_tokens() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let plain = from_ids(&engine, &PROMPT, &greedy(4)).ids;
    let biased = |id: u32, bias: f64| GenerateOptions { logit_bias: [(id.to_string(), bias)].into(), ..greedy(4) };
    assert_eq!(from_ids(&engine, &PROMPT, &biased(77, 100.0)).ids, [77; 4]);
    assert!(!from_ids(&engine, &PROMPT, &biased(plain[0], -100.0)).ids.contains(&plain[0]));
    assert_eq!(from_ids(&engine, &PROMPT, &biased(77, f64::MAX)).ids, [77; 4]);
    for (id, bias) in [(512, 1.0), (0, f64::NAN), (0, f64::INFINITY)] {
        let error = run(&engine, Input::Ids(PROMPT.to_vec()), &biased(id, bias)).0.map(|r| r.ids).unwrap_err();
        assert_eq!(error.code(), "invalid-argument", "{error}");
    }
    assert_eq!(from_ids(&engine, &PROMPT, &greedy(4)).ids, plain);
}

#[test]
fn log_probabilities_are_the_teacher_forced_scores() {
    let Some(folder) = llama() else { return };
    let engine = load(&folder, LoadOptions { f32: true, ..LoadOptions::default() }).expect("it loads");
    let options = GenerateOptions {
        temperature: Some(1.3),
        top_k: Some(20.0),
        seed: Some(5.0),
        repetition_penalty: Some(1.2),
        logprobs: Some(Logprobs::Top(4.0)),
        ..greedy(12)
    };
    let (result, parts) = run(&engine, Input::Ids(PROMPT.to_vec()), &options);
    let result = result.expect("a generation");
    let own = result.logprobs.expect("asked for");
    assert_eq!(own.iter().map(|l| l.id).collect::<Vec<_>>(), result.ids);
    let ids = [PROMPT.as_slice(), &result.ids].concat();
    let scores = block_on(engine.score(Input::Ids(ids), true, 4, &Cancel::default())).expect("scores");
    for (a, b) in own.iter().zip(&scores[PROMPT.len() - 1..]) {
        assert!((a.logprob - b.logprob).abs() < 1e-4, "{a:?} for {b:?}");
        let ids = |l: &minke::engine::TokenLogprob| {
            l.top.as_ref().expect("asked for").iter().map(|t| t.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(a), ids(b));
        assert_eq!((&a.token, &a.bytes), (&b.token, &b.bytes));
    }
    // In the stream, log-probabilities arrive with the text that they belong to.
    let streamed: Vec<u32> = parts
        .iter()
        .filter_map(|p| if let StreamPart::TextDelta { logprobs, .. } = p { logprobs.as_ref() } else { None })
        .flatten()
        .map(|l| l.id)
        .collect();
    assert!(!streamed.is_empty() && result.ids.starts_with(&streamed));
    let chosen = GenerateOptions { logprobs: Some(Logprobs::Chosen(true)), ..greedy(3) };
    assert!(from_ids(&engine, &PROMPT, &chosen).logprobs.expect("asked for").iter().all(|l| l.top.is_none()));
    assert_eq!(from_ids(&engine, &PROMPT, &greedy(3)).logprobs, None);
}

const LEAVES: &str = "{% for m in messages %}<|user|>{{ m.content.split('</think>')[-1] }}{% endfor %}<|assistant|>";
const SWITCHES: &str = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}";

#[test]
fn disabled_reasoning_is_closed_in_the_prompt() {
    for template in [OPENS, LEAVES, SWITCHES] {
        let Some(engine) = thinker(template) else { return };
        let quiet = GenerateOptions { reasoning: Reasoning::Named(ReasoningMode::None), ..greedy(8) };
        let result = run(&engine, Input::Text("Hi!".into()), &quiet).0.expect("an answer");
        assert_eq!((result.reasoning.as_str(), result.usage.reasoning_tokens), ("", 0));
        // The prompt has the form that models with optional reasoning are trained on.
        let prompt = engine.tokenizer().encode("<|user|>Hi!<|assistant|><think>\n\n</think>\n\n", false).expect("ids");
        assert_eq!(result.ids, from_ids(&engine, &prompt, &greedy(8)).ids, "{template}");
        let zero = GenerateOptions { reasoning: Reasoning::Budget { max_tokens: 0.0 }, ..greedy(8) };
        assert_eq!(run(&engine, Input::Text("Hi!".into()), &zero).0.expect("an answer").ids, result.ids);
        for input in [Input::Ids(PROMPT.to_vec()), Input::Text("x".into())] {
            let raw = GenerateOptions { raw: matches!(input, Input::Text(_)), ..quiet.clone() };
            assert_eq!(run(&engine, input, &raw).0.map(|r| r.ids).unwrap_err().code(), "invalid-argument");
        }
    }
}

#[test]
fn a_budget_closes_the_reasoning_and_the_answer_follows() {
    let Some(engine) = thinker(OPENS) else { return };
    let free = run(&engine, Input::Text("Hi!".into()), &greedy(24)).0.expect("an answer");
    assert!(free.text.is_empty() && free.usage.reasoning_tokens == 24, "this model does not stop thinking by itself");
    let close = engine.tokenizer().encode("\n</think>\n\n", false).expect("ids");
    for budget in [1, 2, 5, 11] {
        let options = GenerateOptions {
            reasoning: Reasoning::Budget { max_tokens: f64::from(budget) },
            logprobs: Some(Logprobs::Chosen(true)),
            stop_sequences: vec!["</think>".into()], // inserted tokens do not end the generation
            ..greedy(24)
        };
        let (result, parts) = run(&engine, Input::Text("Hi!".into()), &options);
        let result = result.expect("an answer");
        let budget = budget as usize;
        assert_eq!(result.ids[..budget], free.ids[..budget], "the thought is the same until then");
        assert_eq!(result.ids[budget..budget + close.len()], close);
        assert_eq!(result.usage.reasoning_tokens, budget);
        assert_eq!((result.ids.len(), result.finish_reason), (24, FinishReason::Length));
        // The answer is the same as after a prompt with the same tokens.
        let mut prompt = engine.tokenizer().encode("<|user|>Hi!<|assistant|><think>\n", false).expect("ids");
        prompt.extend(&result.ids[..budget + close.len()]);
        assert_eq!(
            result.ids[budget + close.len()..],
            from_ids(&engine, &prompt, &greedy(24 - budget - close.len())).ids
        );
        assert!(!result.text.is_empty() && !result.text.contains("think>"), "{:?}", result.text);
        let logprobs = result.logprobs.expect("asked for");
        assert_eq!(logprobs.iter().map(|l| l.id).collect::<Vec<_>>(), result.ids);
        assert!(logprobs[budget..budget + close.len()].iter().all(|l| l.logprob == 0.0));
        let part = |want: fn(&StreamPart) -> Option<&String>| {
            parts.iter().filter_map(want).map(String::as_str).collect::<String>()
        };
        assert_eq!(
            part(|p| if let StreamPart::ReasoningDelta { text } = p { Some(text) } else { None }),
            result.reasoning
        );
        assert_eq!(part(|p| if let StreamPart::TextDelta { text, .. } = p { Some(text) } else { None }), result.text);
        assert_eq!(result.messages[1].content, result.text);
    }
    // Penalties include inserted tokens, and a seed is reproducible.
    let warm = GenerateOptions {
        reasoning: Reasoning::Budget { max_tokens: 6.0 },
        temperature: Some(0.9),
        seed: Some(3.0),
        presence_penalty: Some(0.5),
        repetition_penalty: Some(1.1),
        ..greedy(24)
    };
    let first = run(&engine, Input::Text("Hi!".into()), &warm).0.expect("an answer").ids;
    assert_eq!(run(&engine, Input::Text("Hi!".into()), &warm).0.expect("an answer").ids, first);
    // Without space for the end of the reasoning the generation ends.
    let narrow = GenerateOptions { reasoning: Reasoning::Budget { max_tokens: 6.0 }, ..greedy(8) };
    let cut = run(&engine, Input::Text("Hi!".into()), &narrow).0.expect("an answer");
    assert_eq!((cut.ids.len(), cut.finish_reason), (6, FinishReason::Length));
    let wrong = GenerateOptions { reasoning: Reasoning::Budget { max_tokens: 0.5 }, ..greedy(8) };
    let error = run(&engine, Input::Text("Hi!".into()), &wrong).0.map(|r| r.ids).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
}

/// `tests/seeded.json` holds the results of seeds on this project's first adapter; the browser tests read it too, so
/// that a seed gives the same tokens natively, in Chromium and in Firefox, on GPUs and on the processor. `MINKE_RECORD=1` rewrites it.
#[test]
fn a_seed_gives_the_recorded_tokens() {
    let Some(folder) = llama() else { return };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/seeded.json");
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("seeded.json")).expect("JSON");
    let [engine, other] = [on_gpu(), on_cpu()].map(|options| load(&folder, options).expect("it loads"));
    let prompt: Vec<u32> = serde_json::from_value(record["prompt"].clone()).expect("ids");
    for case in record["cases"].as_array_mut().expect("cases") {
        let options: GenerateOptions = serde_json::from_value(case["options"].clone()).expect("options");
        let got = from_ids(&engine, &prompt, &options).ids;
        assert_eq!(from_ids(&other, &prompt, &options).ids, got, "on the processor: {options:?}");
        if std::env::var_os("MINKE_RECORD").is_some() {
            case["ids"] = got.into();
        } else {
            assert_eq!(serde_json::to_value(got).expect("ids"), case["ids"], "{options:?}");
        }
    }
    if std::env::var_os("MINKE_RECORD").is_some() {
        let line = |case: &serde_json::Value| format!("  {case}");
        let cases: Vec<String> = record["cases"].as_array().expect("cases").iter().map(line).collect();
        let text = format!("{{\"prompt\": {},\n \"cases\": [\n{}\n]}}\n", record["prompt"], cases.join(",\n"));
        std::fs::write(&path, text).expect("written");
    }
}
