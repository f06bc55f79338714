//! Options against the cases that the JavaScript side is tested with, too, and how they become the sampler's.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::*;
use crate::engine::{EngineOptions, logit_rows};

fn options(json: &str) -> GenerateOptions {
    serde_json::from_str(json).unwrap()
}

#[test]
fn defaults_come_from_the_generation_config() {
    let r1 = GenerationDefaults {
        do_sample: true,
        temperature: Some(0.6),
        top_p: Some(0.95),
        ..GenerationDefaults::default()
    };
    let s = options("{}").sampler(&r1, || 1);
    assert_eq!((s.temperature, s.top_p, s.top_k, s.seed), (0.6, 0.95, 0, [1, 0]));
    let s = options(r#"{"temperature": 0, "seed": 3}"#).sampler(&r1, || 1);
    assert_eq!(s, SamplerOptions::GREEDY);
    let none = GenerationDefaults::default();
    assert_eq!(options("{}").sampler(&none, || 1), SamplerOptions::GREEDY);
    let s = options(r#"{"topK": 5, "seed": 4294967297}"#).sampler(&none, || 1);
    assert_eq!((s.temperature, s.top_k, s.seed), (1.0, 5, [1, 1]));
}

#[test]
fn penalties_bias_and_reasoning_are_read() {
    let defaults = GenerationDefaults { repetition_penalty: Some(1.25), ..GenerationDefaults::default() };
    let s = options("{}").sampler(&defaults, || 1);
    assert_eq!((s.temperature, s.adjust, s.repetition, s.repetition_inverse), (0.0, 1, 1.25, 0.8));
    let s = options(r#"{"repetitionPenalty": 1, "logprobs": 5}"#).sampler(&defaults, || 1);
    assert_eq!((s.adjust, s.logprobs), (0, 6));
    let s = options(r#"{"presencePenalty": 0.5, "frequencyPenalty": -1, "logprobs": true}"#);
    let s = s.sampler(&GenerationDefaults::default(), || 1);
    assert_eq!((s.adjust, s.presence, s.frequency, s.logprobs), (1, 0.5, -1.0, 1));
    let o = options(r#"{"logitBias": {"2": -100}, "reasoning": {"maxTokens": 7}}"#);
    let history = o.bias(4).unwrap().history(4, &[1, 2, 1], &[3, 3, 2]);
    assert_eq!(history.iter().map(|h| h.bias).collect::<Vec<_>>(), [0.0, 0.0, -100.0, 0.0]);
    let prompt = History::IN_PROMPT;
    assert_eq!(history.iter().map(|h| h.times).collect::<Vec<_>>(), [0, prompt, prompt + 1, 2]);
    assert_eq!(o.reasoning_budget(), Some(7));
    assert_eq!(options(r#"{"reasoning": "none"}"#).reasoning_budget(), Some(0));
    assert_eq!(options(r#"{"reasoning": "auto"}"#).reasoning_budget(), None);
}

#[test]
fn the_limit_is_the_least_of_option_model_and_room() {
    let own = GenerationDefaults { max_new_tokens: Some(7), ..GenerationDefaults::default() };
    assert_eq!(options(r#"{"maxOutputTokens": 20}"#).limit(&own, 10), 10);
    assert_eq!(options(r#"{"maxOutputTokens": 8}"#).limit(&own, 10), 8);
    assert_eq!(options("{}").limit(&own, 10), 7);
    assert_eq!(options("{}").limit(&GenerationDefaults::default(), 10), 10);
}

/// A value of the fixture, in which texts stand for the numbers that JSON lacks.
#[derive(Clone, Copy)]
struct Given<'de>(&'de Value);

impl<'de> Deserializer<'de> for Given<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::String(text) if text == "NaN" => visitor.visit_f64(f64::NAN),
            Value::String(text) if text == "Infinity" => visitor.visit_f64(f64::INFINITY),
            Value::String(text) if text == "-Infinity" => visitor.visit_f64(f64::NEG_INFINITY),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Given))),
            Value::Object(fields) => visitor
                .visit_map(MapDeserializer::new(fields.iter().map(|(name, value)| (name.as_str(), Given(value))))),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Given<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// `forward` has no options of its own on this side of the wasm: its rows come as a text.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ForwardOptions {
    rows: Option<String>,
}

/// What a call's options are checked by; `None` if they cannot be read.
fn checked(call: &str, options: &Value) -> Option<Result<()>> {
    const VOCABULARY: usize = 10;
    let given = Given(options);
    Some(match call {
        "generate" => {
            let options = GenerateOptions::deserialize(given).ok()?;
            options.check().and_then(|()| options.bias(VOCABULARY)).map(drop)
        }
        "load" => EngineOptions::deserialize(given).ok()?.load_options().map(drop),
        "score" => ScoreOptions::deserialize(given).ok()?.top().map(drop),
        "forward" => ForwardOptions::deserialize(given).ok()?.rows.map_or(Ok(()), |rows| logit_rows(&rows).map(drop)),
        other => panic!("there are no options of {other}"),
    })
}

#[test]
fn both_sides_accept_and_refuse_the_same() {
    let fixture: Value = serde_json::from_str(include_str!("../../../tests/options.json")).expect("JSON");
    let mut faults = Vec::new();
    for case in fixture["cases"].as_array().expect("a list of cases") {
        let found = checked(case["call"].as_str().expect("a call"), &case["options"]);
        let right = match (&found, case["rust"].as_str()) {
            (None, Some("unreadable")) => true,
            (Some(Ok(())), Some("absent")) => true,
            (Some(Ok(())), None) => case["accepted"] == true,
            (Some(Err(Error::InvalidArgument { argument, message })), None) => {
                case["refused"]["argument"] == *argument && case["refused"]["message"] == *message
            }
            _ => false,
        };
        if !right {
            faults.push(format!("{case}\n    {found:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn absent_options_are_the_defaults_of_the_table() {
    let defaults: Map<String, Value> =
        serde_json::from_str::<Value>(include_str!("../options.json")).expect("JSON")["generate"]
            .as_object()
            .expect("the options of generate")
            .iter()
            .filter_map(|(name, rule)| Some((name.clone(), rule.get("default")?.clone())))
            .collect();
    let stated = GenerateOptions::deserialize(Value::Object(defaults)).expect("options");
    stated.check().expect("they are accepted");
    let absent = GenerateOptions::default();
    let none = GenerationDefaults { do_sample: true, ..GenerationDefaults::default() };
    assert_eq!(stated.sampler(&none, || 1), absent.sampler(&none, || 1));
    assert_eq!(stated.reasoning, absent.reasoning);
    assert_eq!((stated.raw, stated.stop_sequences, stated.template_args), (false, Vec::new(), Map::new()));
}
