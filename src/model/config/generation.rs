//! What generation_config.json says about sampling.

use super::hugging_face::Fields;
use crate::weights::json;
use crate::{Error, FormatKind, Result};

/// A model's own generation settings; `None` where the file does not say.
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
}

impl GenerationDefaults {
    /// Reads generation_config.json; ids are held against `vocab_size`.
    pub fn parse(bytes: &[u8], vocab_size: usize) -> Result<Self> {
        const FILE: &str = "generation_config.json";
        let value = json::parse(FILE, bytes)?;
        let bad = |message: String| Error::format(FormatKind::BadConfig, FILE, message);
        let Some(object) = value.as_object() else { return Err(bad("an object is expected".into())) };
        let fields = Fields { file: FILE, object };
        let within = |key: &str, least: f64, most: f64| match fields.number(key)? {
            Some(value) if !(least..=most).contains(&value) => Err(bad(format!("{key} is {value}"))),
            value => Ok(value),
        };
        // A count larger than memory is as good as no bound.
        let count = |key: &str| Ok::<_, Error>(fields.unsigned(key)?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
        let eos_token_ids = fields.token_ids("eos_token_id")?;
        if let Some(id) = eos_token_ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(bad(format!("eos_token_id is {id}; the vocabulary has {vocab_size} tokens")));
        }
        Ok(Self {
            do_sample: fields.bool("do_sample")?.unwrap_or(false),
            temperature: within("temperature", 0.0, 1e6)?,
            top_k: count("top_k")?,
            top_p: within("top_p", 0.0, 1.0)?,
            min_p: within("min_p", 0.0, 1.0)?,
            repetition_penalty: within("repetition_penalty", 1e-6, 1e6)?,
            max_new_tokens: count("max_new_tokens")?,
            eos_token_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_as_the_file_says() {
        let text =
            r#"{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [7, 9], "x": {}}"#;
        let found = GenerationDefaults::parse(text.as_bytes(), 10).unwrap();
        let expected = GenerationDefaults {
            do_sample: true,
            temperature: Some(0.6),
            top_k: Some(20),
            top_p: Some(0.95),
            eos_token_ids: vec![7, 9],
            ..GenerationDefaults::default()
        };
        assert_eq!(found, expected);
        assert_eq!(GenerationDefaults::parse(b"{}", 10).unwrap(), GenerationDefaults::default(), "greedy by default");
        for text in
            [r#"{"eos_token_id": 10}"#, r#"{"top_p": 1.5}"#, r#"{"temperature": -1}"#, r#"{"do_sample": 1}"#, "[]"]
        {
            let error = GenerationDefaults::parse(text.as_bytes(), 10).unwrap_err();
            assert!(matches!(error, Error::Format { kind: FormatKind::BadConfig, .. }), "{text}: {error}");
        }
    }
}
