//! Rebuilds tokenizers from GGUF's `llama` vocabularies: SentencePiece BPE, whose merges are derived from scores.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::gguf_vocab::{GgufVocab, added_tokens, bos_eos_template};
use super::tokenizer_parts::Parts;
use crate::{Error, FormatKind, Result};

/// Maximum characters of a token whose merges are derived; the work grows with the square of its length.
const MAX_MERGED_CHARS: usize = 512;

/// Converts the metadata to the parts of a tokenizer, as Hugging Face's converter does for Llama 2 and Gemma.
pub(super) fn parts(vocab: GgufVocab) -> Result<Parts> {
    let file = "tokenizer.ggml";
    if vocab.scores.len() != vocab.tokens.len() {
        let message = format!("scores has {} entries for {} tokens", vocab.scores.len(), vocab.tokens.len());
        return Err(Error::format(FormatKind::BadTokenizer, file, message));
    }
    let space_prefix = vocab.add_space_prefix.unwrap_or(true);
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let prepend = json!({ "type": "Prepend", "prepend": "▁" });
    let strip = json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 });
    let normalizers: Vec<Value> = space_prefix.then_some(prepend).into_iter().chain([replace]).collect();
    let decoders: Vec<Value> = [
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ]
    .into_iter()
    .chain(space_prefix.then_some(strip))
    .collect();
    Ok(Parts {
        file: file.to_owned(),
        merges: merges(&vocab),
        unk_token: vocab.token(vocab.unk).map(str::to_owned),
        fuse_unk: true,
        byte_fallback: true,
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        post_processor: bos_eos_template(&vocab, vocab.add_bos.unwrap_or(true)),
        chat_bos: vocab.bos.filter(|_| vocab.add_bos.unwrap_or(true)),
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        added: added_tokens(&vocab),
        vocab: vocab.tokens.into_iter().zip(0..).collect(),
        ..Parts::default()
    })
}

/// SentencePiece merges the adjacent pair whose merged token has the highest score, so every way to split a token into
/// two tokens is a merge, ranked by the token's score; equal scores keep the vocabulary's order.
fn merges(vocab: &GgufVocab) -> Vec<(String, String)> {
    let ids: HashMap<&str, usize> = vocab.tokens.iter().enumerate().map(|(id, t)| (t.as_str(), id)).collect();
    let mut merges: Vec<(f32, &str, &str)> = Vec::new();
    for (token, &score) in vocab.tokens.iter().zip(&vocab.scores) {
        if token.len() > 4 * MAX_MERGED_CHARS {
            continue;
        }
        let mut cuts: Vec<(usize, usize, &str, &str)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (a, b) = token.split_at(at);
                Some((*ids.get(a)?, *ids.get(b)?, a, b))
            })
            .collect();
        cuts.sort();
        merges.extend(cuts.into_iter().map(|(_, _, a, b)| (score, a, b)));
    }
    merges.sort_by(|x, y| y.0.total_cmp(&x.0));
    merges.into_iter().map(|(_, a, b)| (a.to_owned(), b.to_owned())).collect()
}
