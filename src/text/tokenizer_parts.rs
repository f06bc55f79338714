//! What a tokenizer is built from, and what the readers of its files share.

use serde_json::Value;
use tokenizers::AddedToken;

use crate::{Error, FormatKind, Result, Warning};

/// The parts that a tokenizer is built from, whatever the file format.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The name of the source file, for errors.
    pub(crate) file: String,
    pub(crate) vocab: Vec<(String, u32)>,
    pub(crate) merges: Vec<(String, String)>,
    pub(crate) unk_token: Option<String>,
    pub(crate) end_of_word_suffix: Option<String>,
    pub(crate) fuse_unk: bool,
    pub(crate) byte_fallback: bool,
    pub(crate) ignore_merges: bool,
    /// The four stages around the model in the form of `tokenizer.json`; null if absent.
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) post_processor: Value,
    pub(crate) decoder: Value,
    pub(crate) added: Vec<(u32, AddedToken)>,
    /// See [`super::Tokenizer::chat_bos`].
    pub(crate) chat_bos: Option<u32>,
    pub(crate) warnings: Vec<Warning>,
}

/// The two tokens of a merge written as one string, or the number of tokens if it is not two.
pub(crate) fn split_merge(text: &str) -> Result<(&str, &str), usize> {
    match text.split_once(' ') {
        Some((a, b)) if !b.contains(' ') => Ok((a, b)),
        _ => Err(text.split(' ').count()),
    }
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
