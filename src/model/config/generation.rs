//! What generation_config.json says about sampling.

use serde_json::{Map, Value};

use crate::weights::json;
use crate::{Error, FormatKind, Result, Warning, WarningCode};

const FILE: &str = "generation_config.json";

/// A model's own generation settings; `None` where the file does not say, or says something that makes no sense.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Whether to sample; otherwise the likeliest token is taken. Off where the file does not say, as in transformers.
    pub do_sample: bool,
    /// Divides the logits.
    pub temperature: Option<f64>,
    /// How many of the likeliest tokens stay; 0 means all.
    pub top_k: Option<usize>,
    /// Probability that the likeliest tokens kept must reach.
    pub top_p: Option<f64>,
    /// Least probability, as a share of the likeliest token's.
    pub min_p: Option<f64>,
    /// Divides the logits of tokens that occurred.
    pub repetition_penalty: Option<f64>,
    /// Tokens to generate at most.
    pub max_new_tokens: Option<usize>,
    /// Ids that end a generation; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// Settings that are not used, one each.
    pub warnings: Vec<Warning>,
}

impl GenerationDefaults {
    /// Reads generation_config.json; ids are held against `vocab_size`. A setting that makes no sense is left out with a
    /// warning that names it: defaults stop no model from loading.
    ///
    /// # Errors
    /// `BadJson` and `BadConfig` where the file is no object.
    pub fn parse(bytes: &[u8], vocab_size: usize) -> Result<Self> {
        let value = json::parse(FILE, bytes)?;
        let Some(object) = value.as_object() else {
            return Err(Error::format(FormatKind::BadConfig, FILE, "an object is expected"));
        };
        let mut settings = Settings { object, warnings: Vec::new() };
        let probability = |p: f64| (0.0..=1.0).contains(&p);
        Ok(Self {
            do_sample: settings.switch("do_sample").unwrap_or(false),
            temperature: settings.number("temperature", |t| (0.0..=1e6).contains(&t)),
            top_k: settings.read("top_k", count), // other engines write -1 for all of them
            top_p: settings.number("top_p", |p| p > 0.0 && p <= 1.0),
            min_p: settings.number("min_p", probability),
            repetition_penalty: settings.number("repetition_penalty", |r| (1e-6..=1e6).contains(&r)),
            max_new_tokens: settings.read("max_new_tokens", |value| count(value).filter(|n| *n > 0)),
            eos_token_ids: settings.token_ids("eos_token_id", vocab_size),
            warnings: settings.warnings,
        })
    }
}

/// A whole number that is not negative; one larger than memory is as good as no bound.
fn count(value: &Value) -> Option<usize> {
    let number = value.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0)?;
    Some(value.as_u64().map_or(number as usize, |n| usize::try_from(n).unwrap_or(usize::MAX)))
}

struct Settings<'a> {
    object: &'a Map<String, Value>,
    warnings: Vec<Warning>,
}

impl Settings<'_> {
    fn warn(&mut self, key: &str, value: &Value) {
        let shown: String = value.to_string().chars().take(60).collect();
        let message = format!("{FILE}: {key} is {shown}, which makes no sense; it is not used");
        self.warnings.push(Warning::new(WarningCode::GenerationConfig, message));
    }

    /// What `sense` makes of a setting.
    fn read<T>(&mut self, key: &str, sense: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.object.get(key).filter(|value| !value.is_null())?;
        let read = sense(value);
        if read.is_none() {
            self.warn(key, value);
        }
        read
    }

    fn number(&mut self, key: &str, sense: impl Fn(f64) -> bool) -> Option<f64> {
        self.read(key, |value| value.as_f64().filter(|&number| sense(number)))
    }

    /// A truth value; a number is taken for what Python takes it for, with a warning.
    fn switch(&mut self, key: &str) -> Option<bool> {
        let Some(number) = self.object.get(key).and_then(Value::as_f64) else { return self.read(key, Value::as_bool) };
        let message = format!("{FILE}: {key} is {number}, not true or false; it is taken for {}", number != 0.0);
        self.warnings.push(Warning::new(WarningCode::GenerationConfig, message));
        Some(number != 0.0)
    }

    /// One token id or a list of them, those of the vocabulary.
    fn token_ids(&mut self, key: &str, vocab_size: usize) -> Vec<u32> {
        let items = match self.object.get(key) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let mut ids = Vec::new();
        for item in items {
            match item.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < vocab_size) {
                Some(id) => ids.push(id),
                None => self.warn(key, item),
            }
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> GenerationDefaults {
        GenerationDefaults::parse(text.as_bytes(), 10).expect("an object")
    }

    #[test]
    fn settings_are_as_the_file_says() {
        let found = parse(
            r#"{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [7, 9], "x": {}}"#,
        );
        let expected = GenerationDefaults {
            do_sample: true,
            temperature: Some(0.6),
            top_k: Some(20),
            top_p: Some(0.95),
            eos_token_ids: vec![7, 9],
            ..GenerationDefaults::default()
        };
        assert_eq!(found, expected);
        assert_eq!(parse("{}"), GenerationDefaults::default(), "greedy by default");
        assert!(GenerationDefaults::parse(b"[]", 10).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_told() {
        for (text, key) in [
            (r#"{"eos_token_id": 10}"#, "eos_token_id"),
            (r#"{"eos_token_id": ["</s>"]}"#, "eos_token_id"),
            (r#"{"top_p": 2}"#, "top_p"),
            (r#"{"top_p": 0}"#, "top_p"),
            (r#"{"top_k": -2}"#, "top_k"),
            (r#"{"top_k": 1.5}"#, "top_k"),
            (r#"{"min_p": -0.1}"#, "min_p"),
            (r#"{"temperature": -1}"#, "temperature"),
            (r#"{"temperature": "hot"}"#, "temperature"),
            (r#"{"repetition_penalty": 0}"#, "repetition_penalty"),
            (r#"{"max_new_tokens": 0}"#, "max_new_tokens"),
            (r#"{"do_sample": "yes"}"#, "do_sample"),
            (r#"{"top_k": -1}"#, "top_k"),
        ] {
            let found = parse(text);
            assert!(found.warnings.len() == 1 && found.warnings[0].message.contains(key), "{text}: {found:?}");
            assert_eq!(GenerationDefaults { warnings: Vec::new(), ..found }, GenerationDefaults::default(), "{text}");
        }
        let some = parse(r#"{"eos_token_id": [7, 10], "do_sample": 1, "temperature": null}"#);
        assert_eq!((some.eos_token_ids, some.do_sample, some.warnings.len()), (vec![7], true, 2));
    }
}
