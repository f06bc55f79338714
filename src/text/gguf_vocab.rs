//! The vocabulary of a GGUF file, and what it says of special tokens.

use serde_json::{Value, json};
use tokenizers::AddedToken;

use super::tokenizer_config::TokenizerConfig;
use super::turn_end;

/// The `tokenizer.ggml.*` metadata of a GGUF file.
#[derive(Debug, Clone, Default)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: "gpt2" (byte-level BPE) or "llama" (SentencePiece).
    pub model: String,
    /// `tokenizer.ggml.pre`: the pre-tokenizer's name.
    pub pre: Option<String>,
    /// Tokens in id order.
    pub tokens: Vec<String>,
    /// Token types in id order: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. May be empty.
    pub token_types: Vec<i32>,
    /// Merges in rank order, as "a b".
    pub merges: Vec<String>,
    /// SentencePiece scores in id order. May be empty.
    pub scores: Vec<f32>,
    /// Beginning-of-sequence id.
    pub bos: Option<u32>,
    /// End-of-sequence id.
    pub eos: Option<u32>,
    /// Unknown-token id.
    pub unk: Option<u32>,
    /// Padding id.
    pub pad: Option<u32>,
    /// Whether encoding adds the beginning-of-sequence token; the pre-tokenizer's default if absent.
    pub add_bos: Option<bool>,
    /// Whether encoding adds the end-of-sequence token.
    pub add_eos: Option<bool>,
    /// SentencePiece: whether text begins with an extra space.
    pub add_space_prefix: Option<bool>,
}

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

impl GgufVocab {
    /// The text of the token with this id.
    pub fn token(&self, id: Option<u32>) -> Option<&str> {
        self.tokens.get(id? as usize).map(String::as_str)
    }

    /// The equivalent of a `tokenizer_config.json`; `template` is the file's `tokenizer.chat_template`.
    pub fn config(&self, template: Option<String>) -> TokenizerConfig {
        let token = |id| self.token(id).map(str::to_owned);
        TokenizerConfig {
            bos_token: token(self.bos),
            eos_token: token(self.eos),
            pad_token: token(self.pad),
            unk_token: token(self.unk),
            add_bos_token: self.add_bos,
            add_eos_token: self.add_eos,
            chat_templates: template.into_iter().map(|source| ("default".to_owned(), source)).collect(),
        }
    }

    fn kind(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(NORMAL)
    }
}

/// The added tokens: control tokens are special; user-defined tokens are matched in text and visible in output.
pub(super) fn added_tokens(vocab: &GgufVocab) -> Vec<(u32, AddedToken)> {
    // A token that ends turns is a control token whatever its declared type, as in llama.cpp, unless merges can produce
    // it from text (Qwen's vocabularies have `</s>`, the HTML tag).
    let has = |text: &str| vocab.tokens.iter().any(|token| token == text);
    let mut ends = turn_end::turn_ends(&has);
    ends.retain(|end| !vocab.merges.iter().any(|merge| merge.chars().filter(|&c| c != ' ').eq(end.chars())));
    let added = |(id, token): (usize, &String)| {
        let kind = if ends.contains(&token.as_str()) { CONTROL } else { vocab.kind(id) };
        let wanted = matches!(kind, UNKNOWN | CONTROL | USER_DEFINED) && !token.is_empty();
        wanted.then(|| (id as u32, AddedToken::from(token.clone(), kind != USER_DEFINED).normalized(false)))
    };
    vocab.tokens.iter().enumerate().filter_map(added).collect()
}

/// The post-processor that adds the beginning- and end-of-sequence tokens that the file requests; null if none are
/// requested.
pub(super) fn bos_eos_template(vocab: &GgufVocab, add_bos: bool) -> Value {
    let bos = vocab.bos.filter(|_| add_bos);
    let eos = vocab.eos.filter(|_| vocab.add_eos == Some(true));
    if bos.is_none() && eos.is_none() {
        return Value::Null;
    }
    let name = |id: u32| vocab.tokens[id as usize].as_str();
    let special = |id: u32| json!({ "SpecialToken": { "id": name(id), "type_id": 0 } });
    let sequence = |which: &str| json!({ "Sequence": { "id": which, "type_id": 0 } });
    let frame = |which: &[&str]| -> Vec<Value> {
        let inner = which.iter().map(|w| sequence(w));
        bos.map(special).into_iter().chain(inner).chain(eos.map(special)).collect()
    };
    let tokens: serde_json::Map<String, Value> = [bos, eos]
        .into_iter()
        .flatten()
        .map(|id| (name(id).to_owned(), json!({ "id": name(id), "ids": [id], "tokens": [name(id)] })))
        .collect();
    json!({ "type": "TemplateProcessing", "single": frame(&["A"]), "pair": frame(&["A", "B"]), "special_tokens": tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exporters give `<|im_end|>` the type of ordinary text; merges make `</s>` of HTML.
    #[test]
    fn ends_of_turns_are_control_tokens_unless_text_becomes_them() {
        let tokens = ["<", "/s", ">", "</s", "</s>", "<|im_end|>", "<think>"];
        let vocab = GgufVocab {
            tokens: tokens.map(str::to_owned).to_vec(),
            token_types: vec![NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, USER_DEFINED],
            merges: vec!["< /s".into(), "</s >".into()],
            ..GgufVocab::default()
        };
        let special: Vec<_> = added_tokens(&vocab).into_iter().map(|(id, token)| (id, token.special)).collect();
        assert_eq!(special, [(5, true), (6, false)]);
        let unmerged = GgufVocab { merges: vec!["< /s".into()], ..vocab };
        assert!(added_tokens(&unmerged).iter().any(|(id, token)| *id == 4 && token.special));
    }
}
