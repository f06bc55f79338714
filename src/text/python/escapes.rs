//! Rewrites the strings of a template whose escapes only Python supports, with escapes that minijinja supports.

use super::super::chat_scan::{Tags, TokenKind, apply};
use super::names;
use crate::{Error, Result, TemplateKind};

/// Rewrites strings with escapes that only Python supports.
pub(super) fn with_plain_escapes(source: &str) -> Result<String> {
    let mut edits = Vec::new();
    for tag in Tags::new(source) {
        for token in tag.tokens.iter().filter(|token| token.kind == TokenKind::Text) {
            let text = &source[token.range.clone()];
            let special = |escape: &[u8]| matches!(escape, [b'\\', b'a' | b'v' | b'U' | b'N' | b'/' | b'\n']);
            if text.as_bytes().windows(2).any(special) {
                edits.push((token.range.clone(), encoded(&decoded(text)?)));
            }
        }
    }
    Ok(apply(source, edits))
}

/// Decodes a string literal with Python's escapes.
fn decoded(text: &str) -> Result<String> {
    let bad =
        |message: String| Error::Template { kind: TemplateKind::Invalid, message: format!("syntax error: {message}") };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        rest = &rest[c.len_utf8()..];
        let mut digits = |count: usize| -> Result<char> {
            let code = rest.get(..count).and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let c = code
                .and_then(char::from_u32)
                .ok_or_else(|| bad(format!("a string has \\{c} without {count} digits of a character")))?;
            rest = &rest[count..];
            Ok(c)
        };
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'x' => out.push(digits(2)?),
            'u' => out.push(digits(4)?),
            'U' => out.push(digits(8)?),
            '0'..='7' => {
                let more = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let code = rest[..more].bytes().fold(u32::from(c) - 48, |code, b| code * 8 + u32::from(b) - 48);
                rest = &rest[more..];
                out.extend(char::from_u32(code));
            }
            'N' => {
                let name = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
                let (name, after) = name.ok_or_else(|| bad("a string has \\N without a name in braces".into()))?;
                let shown: String = name.chars().take(60).collect();
                out.push(
                    names::character(name)
                        .ok_or_else(|| bad(format!("the character name {shown:?} is not supported")))?,
                );
                rest = after;
            }
            c => {
                out.push('\\');
                out.push(c);
            }
        }
    }
    Ok(out + rest)
}

/// Encodes a string literal with escapes that the engine supports.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
