//! Decodes the spelling of tokens in a vocabulary: the byte-level alphabet of GPT-2 and the byte pieces of
//! SentencePiece.

use serde_json::Value;

/// How a vocabulary spells text, detected from the decoder of its `tokenizer.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Each character represents one byte (GPT-2's alphabet).
    ByteLevel,
    /// SentencePiece: `▁` is a space, `<0xNN>` a byte, the rest is text.
    Pieces {
        /// One space at the start of the text is dropped.
        strip_start: bool,
    },
    /// Any other spelling, which only the decoder itself can decode.
    Other,
}

impl Spelling {
    /// Recognises the decoder of a `tokenizer.json`.
    pub(crate) fn of_decoder(decoder: &Value) -> Self {
        match decoder["type"].as_str() {
            Some("ByteLevel") => Self::ByteLevel,
            Some("Sequence") => Self::of_sequence(decoder["decoders"].as_array().map_or(&[], Vec::as_slice)),
            _ => Self::Other,
        }
    }

    fn of_sequence(steps: &[Value]) -> Self {
        let kinds: Vec<&str> = steps.iter().map(|s| s["type"].as_str().unwrap_or("")).collect();
        match kinds[..] {
            ["ByteLevel"] => Self::ByteLevel,
            ["Replace", "ByteFallback", "Fuse"] if is_space_replacement(&steps[0]) => {
                Self::Pieces { strip_start: false }
            }
            ["Replace", "ByteFallback", "Fuse", "Strip"]
                if is_space_replacement(&steps[0])
                    && steps[3]["content"] == " "
                    && steps[3]["start"] == 1
                    && steps[3]["stop"] == 0 =>
            {
                Self::Pieces { strip_start: true }
            }
            _ => Self::Other,
        }
    }
}

fn is_space_replacement(step: &Value) -> bool {
    step["pattern"]["String"] == "▁" && step["content"] == " "
}

/// The character that represents `byte` in a byte-level vocabulary (Radford et al. 2019, `bytes_to_unicode`): printable
/// Latin-1 represents itself, the other 68 bytes follow from U+0100 on.
pub(crate) fn byte_to_char(byte: u8) -> char {
    if is_own_character(byte) {
        return char::from(byte);
    }
    let earlier = (0..byte).filter(|&b| !is_own_character(b)).count() as u32;
    char::from_u32(0x100 + earlier).expect("U+0100 to U+0143 are characters")
}

/// The byte that a character of a byte-level vocabulary represents.
pub(crate) fn char_to_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ 0..=0xFF => Some(code as u8).filter(|&b| is_own_character(b)),
        0x100..=0x143 => (0..=255u8).filter(|&b| !is_own_character(b)).nth((u32::from(c) - 0x100) as usize),
        _ => None,
    }
}

fn is_own_character(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The bytes of a byte-level token. A token with a character outside the alphabet (an added token) is its own text.
pub(crate) fn byte_level_bytes(token: &str) -> Vec<u8> {
    token.chars().map(char_to_byte).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The byte that a SentencePiece byte token such as `<0x0A>` represents.
pub(crate) fn piece_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_a_bijection() {
        let chars: std::collections::BTreeSet<char> = (0..=255).map(byte_to_char).collect();
        assert_eq!(chars.len(), 256);
        assert!((0..=255).all(|b| char_to_byte(byte_to_char(b)) == Some(b)));
        assert_eq!([byte_to_char(b' '), byte_to_char(b'\n'), byte_to_char(0xAD)], ['Ġ', 'Ċ', '\u{143}']);
        assert_eq!(char_to_byte('\u{144}'), None);
    }

    #[test]
    fn tokens_to_bytes() {
        assert_eq!(byte_level_bytes("Ġa"), b" a");
        assert_eq!(byte_level_bytes("<｜User｜>"), "<｜User｜>".as_bytes());
        assert_eq!(piece_byte("<0x0A>"), Some(b'\n'));
        assert_eq!(piece_byte("<0x0>"), None);
        assert_eq!(piece_byte("<0x+1>"), None);
    }
}
