//! A defensive parser for `tokenizer.json`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokenizers::AddedToken;

use super::pattern;
use super::stages::{Decoders, Fault, Normalizers, PostProcessors, PreTokenizers};
use super::tokenizer::Parts;
use crate::{Error, FormatKind, Result};

/// Maximum nesting of a pipeline stage; published ones have four levels.
const MAX_DEPTH: usize = 12;
/// Maximum bytes of a regular expression; the longest published ones have under 1,000.
const MAX_REGEX: usize = 8192;
/// Maximum nesting of brackets in a regular expression.
const MAX_REGEX_DEPTH: usize = 32;
/// Maximum product of all counted repetitions in a regular expression; published ones have `{1,3}`.
const MAX_REGEX_REPEATS: u64 = 100_000;
/// As [`MAX_REGEX_REPEATS`], for a regular expression with a look-behind, which may be evaluated at every character.
const MAX_LOOK_BEHIND_REPEATS: u64 = 256;

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    added_tokens: Vec<RawAdded>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: RawModel,
}

#[derive(Deserialize)]
struct RawAdded {
    id: u64,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

impl From<RawAdded> for AddedToken {
    fn from(raw: RawAdded) -> Self {
        let RawAdded { id: _, content, single_word, lstrip, rstrip, normalized, special } = raw;
        Self { content, single_word, lstrip, rstrip, normalized, special }
    }
}

#[derive(Deserialize)]
struct RawModel {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: RawVocab,
    #[serde(default)]
    merges: Vec<Merge>,
    unk_token: Option<Value>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

/// Token → id, in file order, so that duplicate tokens are detected.
#[derive(Default)]
enum RawVocab {
    #[default]
    Missing,
    Map(Vec<(String, u64)>),
    /// A list, as in Unigram models.
    List,
}

/// `"a b"` or `["a", "b"]`.
enum Merge {
    Pair(String, String),
    Bad(usize),
}

impl<'de> Deserialize<'de> for RawVocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;
        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = RawVocab;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawVocab, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(RawVocab::Map(entries))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawVocab, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(RawVocab::List)
            }
        }
        deserializer.deserialize_any(VocabVisitor)
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge of two tokens")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                Ok(split_merge(text).map_or_else(Merge::Bad, |(a, b)| Merge::Pair(a.into(), b.into())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                let a = list.next_element()?.ok_or_else(|| A::Error::custom("an empty merge"))?;
                let Some(b) = list.next_element()? else { return Ok(Merge::Bad(1)) };
                let mut parts = 2;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    parts += 1;
                }
                Ok(if parts == 2 { Merge::Pair(a, b) } else { Merge::Bad(parts) })
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}

/// The two tokens of a merge written as one string, or the number of tokens if it is not two.
pub(crate) fn split_merge(text: &str) -> Result<(&str, &str), usize> {
    match text.split_once(' ') {
        Some((a, b)) if !b.contains(' ') => Ok((a, b)),
        _ => Err(text.split(' ').count()),
    }
}

/// Parses the file into parts; [`super::Tokenizer::build`] checks that they are consistent.
pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Parts> {
    let fail = |kind, message: String| Err(Error::format(kind, file, message));
    let raw: Raw = serde_json::from_slice(bytes).map_err(|e| json_error(file, &e, FormatKind::BadTokenizer))?;
    let model = raw.model;
    if let Some(kind) = model.kind.as_deref().filter(|k| *k != "BPE") {
        return fail(FormatKind::UnsupportedFeature, format!("model.type {kind:?}; only \"BPE\" is supported"));
    }
    let vocab = match model.vocab {
        RawVocab::Map(entries) => entries,
        RawVocab::List => {
            return fail(FormatKind::UnsupportedFeature, "model.vocab is a list, so this is not a BPE model".into());
        }
        RawVocab::Missing => return fail(FormatKind::BadTokenizer, "model.vocab is missing".into()),
    };
    if model.continuing_subword_prefix.is_some_and(|p| !p.is_empty()) {
        return fail(FormatKind::UnsupportedFeature, "model.continuing_subword_prefix".into());
    }
    let narrow = |token: &str, id: u64| {
        let too_large = || Error::format(FormatKind::LimitExceeded, file, format!("token {token:?} has id {id}"));
        u32::try_from(id).map_err(|_| too_large())
    };
    let vocab = vocab.into_iter().map(|(t, id)| narrow(&t, id).map(|id| (t, id))).collect::<Result<_>>()?;
    let mut merges = Vec::with_capacity(model.merges.len());
    for (rank, merge) in model.merges.into_iter().enumerate() {
        match merge {
            Merge::Pair(a, b) => merges.push((a, b)),
            Merge::Bad(parts) => {
                return fail(FormatKind::BadTokenizer, format!("merge {rank} has {parts} parts instead of 2"));
            }
        }
    }
    let added = raw.added_tokens.into_iter();
    let added = added.map(|a| narrow("(added)", a.id).map(|id| (id, a.into()))).collect::<Result<_>>()?;
    Ok(Parts {
        file: file.to_owned(),
        vocab,
        merges,
        unk_token: model.unk_token.and_then(|t| t.as_str().map(str::to_owned)),
        end_of_word_suffix: model.end_of_word_suffix,
        fuse_unk: model.fuse_unk.unwrap_or(false),
        byte_fallback: model.byte_fallback.unwrap_or(false),
        ignore_merges: model.ignore_merges.unwrap_or(false),
        normalizer: raw.normalizer,
        pre_tokenizer: raw.pre_tokenizer,
        post_processor: raw.post_processor,
        decoder: raw.decoder,
        added,
        chat_bos: None,
        warnings: Vec::new(),
    })
}

/// Classifies a parse error: not JSON, nested too deeply, or JSON of the wrong shape (`shape`).
pub(crate) fn json_error(file: &str, error: &serde_json::Error, shape: FormatKind) -> Error {
    let message = error.to_string();
    let kind = match error.classify() {
        _ if message.contains("recursion limit") => FormatKind::LimitExceeded,
        serde_json::error::Category::Data => shape,
        _ => FormatKind::BadJson,
    };
    Error::format(kind, file, message)
}

pub(crate) fn normalizer(file: &str, value: Value) -> Result<Option<Normalizers>> {
    stage(file, "normalizer", value, Normalizers::read)
}

pub(crate) fn pre_tokenizer(file: &str, value: Value) -> Result<Option<PreTokenizers>> {
    stage(file, "pre_tokenizer", value, PreTokenizers::read)
}

pub(crate) fn post_processor(file: &str, value: Value) -> Result<Option<PostProcessors>> {
    stage(file, "post_processor", value, PostProcessors::read)
}

pub(crate) fn decoder(file: &str, value: Value) -> Result<Option<Decoders>> {
    stage(file, "decoder", value, Decoders::read)
}

fn stage<T>(file: &str, name: &str, mut value: Value, read: fn(&Value) -> Result<T, Fault>) -> Result<Option<T>> {
    if value.is_null() {
        return Ok(None);
    }
    check_stage(file, name, &value, 0)?;
    translate_patterns(file, name, &mut value)?;
    read(&value).map(Some).map_err(|(kind, fault)| Error::format(kind, file, format!("{name}: {fault}")))
}

/// Checks limits of a stage before the crate builds it: nesting, regular expressions, counts.
fn check_stage(file: &str, name: &str, value: &Value, depth: usize) -> Result<()> {
    let fail = |kind, message: String| Err(Error::format(kind, file, format!("{name}: {message}")));
    if depth > MAX_DEPTH {
        return fail(FormatKind::LimitExceeded, format!("nested more than {MAX_DEPTH} deep"));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|v| check_stage(file, name, v, depth + 1)),
        Value::Object(map) => {
            if let Some(pattern) = map.get("Regex").and_then(Value::as_str) {
                check_regex(pattern).or_else(|message| fail(FormatKind::RegexLimit, message))?;
            }
            if ["start", "stop"].iter().any(|k| map.get(*k).and_then(Value::as_u64).is_some_and(|n| n > 64)) {
                return fail(FormatKind::LimitExceeded, "strips more than 64 characters".into());
            }
            if map.get("length").is_some_and(|length| length == 0) {
                return fail(FormatKind::BadTokenizer, "pieces of zero length".into());
            }
            // The crate's subtraction underflows for a token that is shorter.
            if map.get("stop").and_then(Value::as_u64).is_some_and(|n| n > 0) {
                return fail(FormatKind::UnsupportedFeature, "strips the ends of tokens".into());
            }
            map.values().try_for_each(|v| check_stage(file, name, v, depth + 1))
        }
        _ => Ok(()),
    }
}

/// Translates every regular expression to the syntax of `fancy-regex`.
fn translate_patterns(file: &str, name: &str, value: &mut Value) -> Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| translate_patterns(file, name, item)),
        Value::Object(map) => map.iter_mut().try_for_each(|(key, value)| match value {
            Value::String(regex) if key == "Regex" => {
                let translated = pattern::translate(regex);
                let fault = |(kind, fault)| Error::format(kind, file, format!("{name}: {regex:?}: {fault}"));
                *regex = translated.map_err(fault)?;
                Ok(())
            }
            _ => translate_patterns(file, name, value),
        }),
        _ => Ok(()),
    }
}

fn check_regex(pattern: &str) -> Result<(), String> {
    if pattern.len() > MAX_REGEX {
        return Err(format!("a regular expression of {} bytes; at most {MAX_REGEX}", pattern.len()));
    }
    let looks_behind = pattern.contains("(?<=") || pattern.contains("(?<!");
    let limit = if looks_behind { MAX_LOOK_BEHIND_REPEATS } else { MAX_REGEX_REPEATS };
    let mut depth = 0usize;
    let mut repeats = 1u64;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => skip_escape(&mut rest),
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' => {
                let counts = rest.as_str().split('}').next().unwrap_or("").split(',');
                let most = counts.filter_map(|n| n.trim().parse::<u64>().ok()).max().unwrap_or(1);
                repeats = repeats.saturating_mul(most.max(1));
            }
            _ => {}
        }
        if depth > MAX_REGEX_DEPTH {
            return Err(format!("a regular expression nested more than {MAX_REGEX_DEPTH} deep"));
        }
        if repeats > limit {
            return Err(format!("a regular expression repeating more than {limit} times"));
        }
    }
    Ok(())
}

/// Skips an escape after its backslash; the braces of `\p{…}` and `\x{…}` are not repetitions.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    if rest.next().is_some_and(|c| "pPxuU".contains(c)) && rest.as_str().starts_with('{') {
        rest.take_while(|&c| c != '}').for_each(drop);
    }
}

/// Checks that the ids and names in a post-processor exist; the crate panics on a template with an unknown token.
pub(crate) fn check_post_processor(file: &str, value: &Value, size: usize) -> Result<()> {
    let bad =
        |message: String| Err(Error::format(FormatKind::BadTokenizer, file, format!("post_processor: {message}")));
    match value {
        Value::Array(items) => items.iter().try_for_each(|v| check_post_processor(file, v, size)),
        Value::Object(map) if map.get("type").is_some_and(|t| t == "TemplateProcessing") => {
            let Some(known) = map.get("special_tokens").and_then(Value::as_object) else {
                return bad("a template without an object of special tokens".into());
            };
            for (template, sequences) in [("single", &["A"][..]), ("pair", &["A", "B"])] {
                for piece in map.get(template).and_then(Value::as_array).into_iter().flatten() {
                    match (piece["SpecialToken"]["id"].as_str(), piece["Sequence"]["id"].as_str()) {
                        (Some(name), None) if known.contains_key(name) => {}
                        (Some(name), None) => {
                            return bad(format!(
                                "the template refers to {name:?}, which is not among its special tokens"
                            ));
                        }
                        (None, Some(sequence)) if sequences.contains(&sequence) => {}
                        _ => return bad(format!("{template}: {piece} is neither a special token nor a sequence")),
                    }
                }
            }
            for (name, token) in known {
                let Some(ids) = token["ids"].as_array() else {
                    return bad(format!("special token {name:?} has no ids"));
                };
                if let Some(id) = ids.iter().find(|id| id.as_u64().is_none_or(|id| id >= size as u64)) {
                    return bad(format!("special token id {id} is outside the vocabulary of {size}"));
                }
            }
            Ok(())
        }
        Value::Object(map) => {
            for id in ["sep", "cls"].iter().filter_map(|k| map.get(*k)?.get(1)) {
                if id.as_u64().is_none_or(|id| id >= size as u64) {
                    return bad(format!("special token id {id} is outside the vocabulary of {size}"));
                }
            }
            map.values().try_for_each(|v| check_post_processor(file, v, size))
        }
        _ => Ok(()),
    }
}
