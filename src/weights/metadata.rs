//! GGUF metadata: typed values by key, with getters whose errors name the key and both types.

use std::collections::BTreeMap;

use crate::{Error, FormatKind, Result};

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // named as in GGUF
pub enum GgufValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(GgufArray),
}

/// An array value: all elements of one type, never arrays.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // named as in GGUF
pub enum GgufArray {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

impl GgufArray {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::U64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::String(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "array of UINT8",
            Self::I8(_) => "array of INT8",
            Self::U16(_) => "array of UINT16",
            Self::I16(_) => "array of INT16",
            Self::U32(_) => "array of UINT32",
            Self::I32(_) => "array of INT32",
            Self::U64(_) => "array of UINT64",
            Self::I64(_) => "array of INT64",
            Self::F32(_) => "array of FLOAT32",
            Self::F64(_) => "array of FLOAT64",
            Self::Bool(_) => "array of BOOL",
            Self::String(_) => "array of STRING",
        }
    }
}

impl GgufValue {
    /// The type's name in error messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "UINT8",
            Self::I8(_) => "INT8",
            Self::U16(_) => "UINT16",
            Self::I16(_) => "INT16",
            Self::U32(_) => "UINT32",
            Self::I32(_) => "INT32",
            Self::U64(_) => "UINT64",
            Self::I64(_) => "INT64",
            Self::F32(_) => "FLOAT32",
            Self::F64(_) => "FLOAT64",
            Self::Bool(_) => "BOOL",
            Self::String(_) => "STRING",
            Self::Array(array) => array.type_name(),
        }
    }

    /// An integer of any width, if it is not negative.
    fn as_unsigned(&self) -> Option<Result<u64, i64>> {
        let signed = |v: i64| Some(u64::try_from(v).map_err(|_| v));
        match self {
            Self::U8(v) => Some(Ok(u64::from(*v))),
            Self::U16(v) => Some(Ok(u64::from(*v))),
            Self::U32(v) => Some(Ok(u64::from(*v))),
            Self::U64(v) => Some(Ok(*v)),
            Self::I8(v) => signed(i64::from(*v)),
            Self::I16(v) => signed(i64::from(*v)),
            Self::I32(v) => signed(i64::from(*v)),
            Self::I64(v) => signed(*v),
            _ => None,
        }
    }
}

/// The metadata of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufMetadata {
    /// The file's name, for error messages.
    pub file: String,
    /// Values by key.
    pub values: BTreeMap<String, GgufValue>,
}

impl GgufMetadata {
    /// The value of `key`, of any type.
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.values.get(key)
    }

    /// The error for a required key that is absent.
    pub fn missing(&self, key: &str) -> Error {
        Error::format(FormatKind::MissingKey, &self.file, format!("metadata key {key:?} is missing"))
    }

    fn wrong_type(&self, key: &str, expected: &str) -> Error {
        let found = self.get(key).map_or("nothing", GgufValue::type_name);
        Error::format(FormatKind::BadType, &self.file, format!("metadata key {key:?} is {found}, expected {expected}"))
    }

    /// A string, or `None` if the key is absent.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong_type(key, "STRING")),
        }
    }

    /// A non-negative integer of any width, or `None` if the key is absent.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_unsigned() {
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(number)) => {
                Err(Error::format(FormatKind::BadValue, &self.file, format!("metadata key {key:?} is {number}")))
            }
            None => Err(self.wrong_type(key, "an integer")),
        }
    }

    /// A token id or another small number: as [`Self::unsigned`], within 32 bits.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        let narrow = |number| {
            u32::try_from(number).map_err(|_| {
                Error::format(FormatKind::BadValue, &self.file, format!("metadata key {key:?} is {number}"))
            })
        };
        self.unsigned(key)?.map(narrow).transpose()
    }

    /// A number of any type, or `None` if the key is absent.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            Some(GgufValue::F32(v)) => Ok(Some(f64::from(*v))),
            Some(GgufValue::F64(v)) => Ok(Some(*v)),
            Some(value) if value.as_unsigned().is_none() => Err(self.wrong_type(key, "a number")),
            _ => Ok(self.unsigned(key)?.map(|v| v as f64)),
        }
    }

    /// A boolean, or `None` if the key is absent.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Bool(v)) => Ok(Some(*v)),
            Some(_) => Err(self.wrong_type(key, "BOOL")),
        }
    }

    /// An array of strings, or `None` if the key is absent.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Array(GgufArray::String(v))) => Ok(Some(v)),
            Some(_) => Err(self.wrong_type(key, "array of STRING")),
        }
    }

    /// An array of 32-bit integers, or `None` if the key is absent. Unsigned elements are accepted if they fit.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Array(GgufArray::I32(v))) => Ok(Some(v.clone())),
            Some(GgufValue::Array(GgufArray::U32(v))) => {
                v.iter().map(|&n| i32::try_from(n)).collect::<Result<_, _>>().map(Some).map_err(|_| {
                    Error::format(FormatKind::BadValue, &self.file, format!("metadata key {key:?} exceeds INT32"))
                })
            }
            Some(_) => Err(self.wrong_type(key, "array of INT32")),
        }
    }

    /// An array of 32-bit floats, or `None` if the key is absent.
    pub fn f32s(&self, key: &str) -> Result<Option<&[f32]>> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Array(GgufArray::F32(v))) => Ok(Some(v)),
            Some(_) => Err(self.wrong_type(key, "array of FLOAT32")),
        }
    }

    /// An integer that is given once or per layer. Values that differ between layers are an unsupported feature.
    pub fn unsigned_or_same(&self, key: &str) -> Result<Option<u64>> {
        let Some(GgufValue::Array(array)) = self.get(key) else { return self.unsigned(key) };
        let numbers: Vec<u64> = match array {
            GgufArray::I32(v) => v.iter().map(|&n| u64::try_from(n).unwrap_or(u64::MAX)).collect(),
            GgufArray::U32(v) => v.iter().map(|&n| u64::from(n)).collect(),
            _ => return Err(self.wrong_type(key, "an integer")),
        };
        match numbers.split_first() {
            None => {
                Err(Error::format(FormatKind::BadValue, &self.file, format!("metadata key {key:?} is an empty array")))
            }
            Some((first, rest)) if rest.iter().all(|n| n == first) => Ok(Some(*first)),
            Some(_) => {
                let message = format!("metadata key {key:?} differs between layers");
                Err(Error::format(FormatKind::UnsupportedFeature, &self.file, message))
            }
        }
    }

    /// A number that is given once or per layer. Values that differ between layers are an unsupported feature.
    pub fn float_or_same(&self, key: &str) -> Result<Option<f64>> {
        let Some(GgufValue::Array(GgufArray::F32(numbers))) = self.get(key) else { return self.float(key) };
        let error = |kind, what| Err(Error::format(kind, &self.file, format!("metadata key {key:?} {what}")));
        match numbers.split_first() {
            None => error(FormatKind::BadValue, "is an empty array"),
            Some((first, rest)) if rest.iter().all(|n| n == first) => Ok(Some(f64::from(*first))),
            Some(_) => error(FormatKind::UnsupportedFeature, "differs between layers"),
        }
    }

    /// The tokenizer in `tokenizer.ggml.*`, with the lengths of its lists and its special ids checked.
    pub fn vocabulary(&self) -> Result<GgufVocabulary> {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let bad = |message: String| Error::format(FormatKind::BadTokenizer, &self.file, message);
        let model = self.string(&key("model"))?.ok_or_else(|| self.missing(&key("model")))?;
        let tokens = self.strings(&key("tokens"))?.ok_or_else(|| self.missing(&key("tokens")))?;
        let token_types = self.i32s(&key("token_type"))?.unwrap_or_default();
        let scores = self.f32s(&key("scores"))?.unwrap_or_default();
        if tokens.is_empty() {
            return Err(bad("the vocabulary is empty".into()));
        }
        for (name, len) in [("token_type", token_types.len()), ("scores", scores.len())] {
            if len != 0 && len != tokens.len() {
                return Err(bad(format!("{name} has {len} elements for {} tokens", tokens.len())));
            }
        }
        let id = |name: &str| {
            let id = self.u32(&key(name))?;
            match id {
                Some(id) if id as usize >= tokens.len() => {
                    Err(bad(format!("{name} is {id}; the vocabulary has {} tokens", tokens.len())))
                }
                _ => Ok(id),
            }
        };
        Ok(GgufVocabulary {
            model: model.into(),
            pre: self.string(&key("pre"))?.map(Into::into),
            token_types,
            scores: scores.to_vec(),
            merges: self.strings(&key("merges"))?.unwrap_or_default().to_vec(),
            bos: id("bos_token_id")?,
            eos: id("eos_token_id")?,
            eot: id("eot_token_id")?,
            unk: id("unknown_token_id")?,
            // -1 and other sentinels are common for padding, which is never generated.
            pad: id("padding_token_id").unwrap_or_default(),
            add_bos: self.bool(&key("add_bos_token"))?,
            add_eos: self.bool(&key("add_eos_token"))?,
            add_space_prefix: self.bool(&key("add_space_prefix"))?,
            tokens: tokens.to_vec(),
        })
    }
}

/// The contents of `tokenizer.ggml.*`, which the engine passes to `text`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `model`: "gpt2" (byte-level BPE), "llama" (SentencePiece) and others.
    pub model: String,
    /// `pre`: the pre-tokenizer's name.
    pub pre: Option<String>,
    /// Tokens in id order.
    pub tokens: Vec<String>,
    /// Token types in id order: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. May be empty.
    pub token_types: Vec<i32>,
    /// Scores in id order. May be empty.
    pub scores: Vec<f32>,
    /// Merges in rank order, as "a b".
    pub merges: Vec<String>,
    /// Beginning-of-sequence id.
    pub bos: Option<u32>,
    /// End-of-sequence id.
    pub eos: Option<u32>,
    /// End-of-turn id, which ends a generation, too.
    pub eot: Option<u32>,
    /// Unknown-token id.
    pub unk: Option<u32>,
    /// Padding id.
    pub pad: Option<u32>,
    /// Whether encoding adds the beginning-of-sequence token.
    pub add_bos: Option<bool>,
    /// Whether encoding adds the end-of-sequence token.
    pub add_eos: Option<bool>,
    /// SentencePiece: whether text begins with an extra space.
    pub add_space_prefix: Option<bool>,
}
