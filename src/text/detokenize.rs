//! Streaming detokenisation: converts token ids to text that ends on whole characters.

use super::Tokenizer;
use super::token_text::{Spelling, byte_level_bytes, piece_byte};

/// Converts a stream of ids to text, piece by piece, and never emits an incomplete character.
///
/// A piece is held back while the text so far ends in U+FFFD, as in Hugging Face's `DecodeStream`, which yields the
/// same pieces. The cost of a token does not grow with the length of the text.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    skip_special: bool,
    pending: Pending,
}

#[derive(Debug, Clone)]
enum Pending {
    /// Byte-level: bytes not emitted yet.
    Bytes(Vec<u8>),
    /// SentencePiece: text not emitted yet, and the byte tokens after it.
    Pieces { text: String, bytes: Vec<u8>, broken: bool, strip: bool },
    /// Any other decoder: a window of ids, the first `known` of which were emitted.
    Window { ids: Vec<u32>, known: usize },
}

/// How many ids an unknown decoder may hold back before they are emitted regardless.
const WINDOW_LIMIT: usize = 64;

impl Detokenizer {
    /// Starts a stream. With `skip_special`, special tokens such as the end of a turn leave no text.
    pub fn new(tokenizer: &Tokenizer, skip_special: bool) -> Self {
        let pending = match tokenizer.spelling() {
            Spelling::ByteLevel => Pending::Bytes(Vec::new()),
            Spelling::Pieces { strip_start } => {
                Pending::Pieces { text: String::new(), bytes: Vec::new(), broken: false, strip: strip_start }
            }
            Spelling::Other => Pending::Window { ids: Vec::new(), known: 0 },
        };
        Self { skip_special, pending }
    }

    /// Takes the next id and returns the text it completes, if any.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Option<String> {
        if self.skip_special && tokenizer.is_special(id) {
            return None;
        }
        if let Pending::Window { ids, known } = &mut self.pending {
            return push_window(tokenizer, ids, known, id, self.skip_special);
        }
        let token = tokenizer.decoder_token(id)?;
        match &mut self.pending {
            Pending::Bytes(pending) => {
                pending.extend(byte_level_bytes(&token));
                if pending.is_empty() || ends_incomplete(pending) {
                    return None;
                }
                let text = String::from_utf8_lossy(pending).into_owned();
                pending.clear();
                Some(text)
            }
            Pending::Pieces { text, bytes, broken, strip } => {
                if let Some(byte) = piece_byte(&token) {
                    bytes.push(byte);
                    // Invalid UTF-8 stays invalid, so a long run of such bytes is not decoded repeatedly.
                    *broken = *broken || std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_some());
                    if *broken || std::str::from_utf8(bytes).is_err() {
                        return None;
                    }
                    flush_bytes(text, bytes);
                } else {
                    flush_bytes(text, bytes);
                    *broken = false;
                    text.push_str(&token.replace('▁', " "));
                }
                if *strip && !text.is_empty() {
                    *strip = false;
                    if text.starts_with(' ') {
                        text.remove(0);
                    }
                }
                if text.is_empty() || text.ends_with('\u{FFFD}') { None } else { Some(std::mem::take(text)) }
            }
            Pending::Window { .. } => unreachable!("handled above"),
        }
    }

    /// Ends the stream and returns what was held back, with incomplete characters as U+FFFD.
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Option<String> {
        let rest = match &mut self.pending {
            Pending::Bytes(pending) => String::from_utf8_lossy(&std::mem::take(pending)).into_owned(),
            Pending::Pieces { text, bytes, .. } => {
                flush_bytes(text, bytes);
                std::mem::take(text)
            }
            Pending::Window { ids, known } => {
                let text = tokenizer.decode(ids, self.skip_special);
                let emitted = tokenizer.decode(&ids[..*known], self.skip_special);
                ids.clear();
                *known = 0;
                text.strip_prefix(emitted.as_str()).unwrap_or("").to_owned()
            }
        };
        (!rest.is_empty()).then_some(rest)
    }
}

/// Decodes byte tokens: their UTF-8 text, or one U+FFFD each if they are invalid (the `ByteFallback` decoder).
fn flush_bytes(text: &mut String, bytes: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(spelled) => text.push_str(spelled),
        Err(_) => text.extend(std::iter::repeat_n('\u{FFFD}', bytes.len())),
    }
    bytes.clear();
}

/// Whether lossy decoding of `bytes` ends in U+FFFD. The last four bytes decide, the maximum length of a UTF-8 character.
fn ends_incomplete(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(4)..];
    let start = tail.iter().rposition(|&b| b & 0xC0 != 0x80);
    match start.map(|at| std::str::from_utf8(&tail[at..])) {
        Some(Ok(text)) => text.ends_with('\u{FFFD}'),
        _ => true,
    }
}

/// The algorithm of `DecodeStream`, over a bounded window: decode the last emitted ids with the new ones and emit what
/// was added.
fn push_window(
    tokenizer: &Tokenizer,
    ids: &mut Vec<u32>,
    known: &mut usize,
    id: u32,
    skip_special: bool,
) -> Option<String> {
    let emitted = tokenizer.decode(&ids[..*known], skip_special);
    ids.push(id);
    let text = tokenizer.decode(ids, skip_special);
    let waits = text.ends_with('\u{FFFD}') && ids.len() - *known < WINDOW_LIMIT;
    if text.len() <= emitted.len() || waits {
        // Ids without text (special tokens skipped) must not pile up.
        if ids.len() > *known + WINDOW_LIMIT {
            ids.drain(..*known);
            *known = ids.len();
        }
        return None;
    }
    let new = text.strip_prefix(emitted.as_str()).unwrap_or(&text).to_owned();
    ids.drain(..*known);
    *known = ids.len();
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_last_character_is_complete() {
        for complete in ["a", "é", "你", "😀", "a😀"] {
            assert!(!ends_incomplete(complete.as_bytes()), "{complete}");
            let bytes = complete.as_bytes();
            if bytes.len() > 1 {
                assert!(ends_incomplete(&bytes[..bytes.len() - 1]), "{complete} cut");
            }
        }
        assert!(ends_incomplete(&[b'a', 0x80]));
        assert!(ends_incomplete(&[0x80, 0x80, 0x80, 0x80, 0x80]));
        assert!(ends_incomplete("\u{FFFD}".as_bytes()));
        assert!(!ends_incomplete(&[0xFF, b'a']));
    }
}
