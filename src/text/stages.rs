//! Builds the stages around a tokenizer's model that `tokenizer.json` describes: normalizers, pre-tokenizers, decoders,
//! post-processors.
//!
//! Each supported type is constructed explicitly, so that the package only contains those that BPE models use.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::decoders::{bpe::BPEDecoder, byte_fallback::ByteFallback, fuse::Fuse, strip::Strip as StripTokens};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{self, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Prepend, Replace, Strip, StripAccents};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::delimiter::CharDelimiterSplit;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::fixed_length::FixedLength;
use tokenizers::pre_tokenizers::metaspace::Metaspace;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::split::Split;
use tokenizers::pre_tokenizers::unicode_scripts::UnicodeScripts;
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::processors::{bert::BertProcessing, roberta::RobertaProcessing, template::TemplateProcessing};
use tokenizers::{
    Decoder, Encoding, NormalizedString, Normalizer, PostProcessor, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior, TokenizerImpl,
};

use crate::{FormatKind, Result};

/// A sequence of stages of one kind.
pub(crate) struct Stages<T: ?Sized>(Vec<Box<T>>);

pub(crate) type Normalizers = Stages<dyn Normalizer + Send + Sync>;
pub(crate) type PreTokenizers = Stages<dyn PreTokenizer + Send + Sync>;
pub(crate) type PostProcessors = Stages<dyn PostProcessor + Send + Sync>;
pub(crate) type Decoders = Stages<dyn Decoder + Send + Sync>;

/// A tokenizer with its stages.
pub(crate) type Pipeline = TokenizerImpl<BPE, Normalizers, PreTokenizers, PostProcessors, Decoders>;

impl<T: ?Sized> fmt::Debug for Stages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stages", self.0.len())
    }
}

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        self.0.iter().try_for_each(|stage| stage.normalize(text))
    }
}

impl PreTokenizer for PreTokenizers {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        self.0.iter().try_for_each(|stage| stage.pre_tokenize(text))
    }
}

impl PostProcessor for PostProcessors {
    fn added_tokens(&self, is_pair: bool) -> usize {
        self.0.iter().map(|stage| stage.added_tokens(is_pair)).sum()
    }

    fn process_encodings(&self, encodings: Vec<Encoding>, add_special: bool) -> tokenizers::Result<Vec<Encoding>> {
        self.0.iter().try_fold(encodings, |encodings, stage| stage.process_encodings(encodings, add_special))
    }
}

impl Decoder for Decoders {
    fn decode_chain(&self, tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        self.0.iter().try_fold(tokens, |tokens, stage| stage.decode_chain(tokens))
    }
}

/// Why a stage is rejected.
pub(super) type Fault = (FormatKind, String);

/// The stage of a description that is not a sequence; `None` if its type is not supported.
type Made<T> = Result<Option<Box<T>>, Fault>;

impl Normalizers {
    pub(super) fn read(value: &Value) -> Result<Self, Fault> {
        stages(value, "normalizers", |kind, value| {
            Ok(Some(match kind {
                "BertNormalizer" => Box::new(parsed::<normalizers::BertNormalizer>(value)?),
                "ByteLevel" => Box::new(normalizers::ByteLevel),
                "Lowercase" => Box::new(Lowercase),
                "NFC" => Box::new(NFC),
                "NFD" => Box::new(NFD),
                "NFKC" => Box::new(NFKC),
                "NFKD" => Box::new(NFKD),
                "Nmt" => Box::new(Nmt),
                "Prepend" => Box::new(parsed::<Prepend>(value)?),
                "Replace" => Box::new(parsed::<Replace>(value)?),
                "Strip" => Box::new(parsed::<Strip>(value)?),
                "StripAccents" => Box::new(StripAccents),
                _ => return Ok(None),
            }))
        })
    }
}

impl PreTokenizers {
    pub(super) fn read(value: &Value) -> Result<Self, Fault> {
        stages(value, "pretokenizers", |kind, value| {
            Ok(Some(match kind {
                "BertPreTokenizer" => Box::new(BertPreTokenizer),
                "ByteLevel" => Box::new(byte_level(value)?),
                "CharDelimiterSplit" => Box::new(CharDelimiterSplit::new(field(value, "delimiter")?)),
                "Digits" => Box::new(Digits::new(field(value, "individual_digits")?)),
                "FixedLength" => Box::new(FixedLength::new(field_or(value, "length", 5)?)),
                "Metaspace" => Box::new(parsed::<Metaspace>(value)?),
                "Punctuation" => {
                    Box::new(Punctuation::new(field_or(value, "behavior", SplitDelimiterBehavior::Isolated)?))
                }
                "Split" => Box::new(parsed::<Split>(value)?),
                "UnicodeScripts" => Box::new(UnicodeScripts::new()),
                "Whitespace" => Box::new(Whitespace),
                "WhitespaceSplit" => Box::new(WhitespaceSplit),
                _ => return Ok(None),
            }))
        })
    }
}

impl PostProcessors {
    pub(super) fn read(value: &Value) -> Result<Self, Fault> {
        stages(value, "processors", |kind, value| {
            Ok(Some(match kind {
                "BertProcessing" => Box::new(parsed::<BertProcessing>(value)?),
                "ByteLevel" => Box::new(byte_level(value)?),
                "RobertaProcessing" => Box::new(parsed::<RobertaProcessing>(value)?),
                "TemplateProcessing" => Box::new(parsed::<TemplateProcessing>(value)?),
                _ => return Ok(None),
            }))
        })
    }
}

impl Decoders {
    pub(super) fn read(value: &Value) -> Result<Self, Fault> {
        stages(value, "decoders", |kind, value| {
            Ok(Some(match kind {
                "BPEDecoder" => Box::new(parsed::<BPEDecoder>(value)?),
                "ByteFallback" => Box::new(ByteFallback::new()),
                "ByteLevel" => Box::new(byte_level(value)?),
                "Fuse" => Box::new(Fuse::new()),
                "Metaspace" => Box::new(parsed::<Metaspace>(value)?),
                "Replace" => Box::new(parsed::<Replace>(value)?),
                "Strip" => Box::new(parsed::<StripTokens>(value)?),
                _ => return Ok(None),
            }))
        })
    }
}

/// The stages of a description, which may contain nested sequences; their depth was checked before.
fn stages<T: ?Sized>(value: &Value, list: &str, make: fn(&str, &Value) -> Made<T>) -> Result<Stages<T>, Fault> {
    let mut all = Vec::new();
    gather(value, list, make, &mut all)?;
    Ok(Stages(all))
}

fn gather<T: ?Sized>(
    value: &Value,
    list: &str,
    make: fn(&str, &Value) -> Made<T>,
    all: &mut Vec<Box<T>>,
) -> Result<(), Fault> {
    let bad = |message: String| Err((FormatKind::BadTokenizer, message));
    match value["type"].as_str() {
        None => bad("a stage without a type".into()),
        Some("Sequence") => match value[list].as_array() {
            Some(stages) => stages.iter().try_for_each(|stage| gather(stage, list, make, all)),
            None => bad(format!("a sequence without {list}")),
        },
        Some(kind) => {
            all.push(
                make(kind, value)?
                    .ok_or_else(|| (FormatKind::UnsupportedFeature, format!("type {kind:?} is not supported")))?,
            );
            Ok(())
        }
    }
}

fn byte_level(value: &Value) -> Result<ByteLevel, Fault> {
    Ok(ByteLevel::new(
        field(value, "add_prefix_space")?,
        field(value, "trim_offsets")?,
        field_or(value, "use_regex", true)?,
    ))
}

/// A stage, deserialised by its crate.
fn parsed<T: DeserializeOwned>(value: &Value) -> Result<T, Fault> {
    serde_json::from_value(value.clone()).map_err(|error| {
        let error = error.to_string();
        // These are words in the messages of `regex` and `fancy-regex`.
        let kind = if error.contains("size limit") || error.contains("exceeds") {
            FormatKind::RegexLimit
        } else if ["ook-behind", "property not found", "Target of repeat"].iter().any(|words| error.contains(words)) {
            FormatKind::UnsupportedFeature
        } else {
            FormatKind::BadTokenizer
        };
        (kind, error)
    })
}

fn field<T: DeserializeOwned>(value: &Value, key: &str) -> Result<T, Fault> {
    let found = value.get(key).ok_or_else(|| (FormatKind::BadTokenizer, format!("{key} is missing")))?;
    serde_json::from_value(found.clone()).map_err(|error| (FormatKind::BadTokenizer, format!("{key}: {error}")))
}

fn field_or<T: DeserializeOwned>(value: &Value, key: &str, default: T) -> Result<T, Fault> {
    if value.get(key).is_none() { Ok(default) } else { field(value, key) }
}
