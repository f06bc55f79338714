//! Translates character classes, properties and escapes of Oniguruma patterns.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use regex_syntax::hir::{self, Hir, HirKind, Literal};

use super::parse::Parser;
use super::write::push_letter;
use super::{Fault, bad, unsupported};

/// The word characters of `\w` and `\b`. Outside brackets Oniguruma counts these Latin-1 numbers as word characters, too.
pub(super) const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}²³¹¼½¾";
const WORD_IN_CLASS: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}";

/// POSIX classes, as the contents of a bracketed class.
const POSIX: &[(&str, &str)] = &[
    ("alnum", r"\p{Alphabetic}\p{Nd}"),
    ("alpha", r"\p{Alphabetic}"),
    ("ascii", r"\x00-\x7F"),
    ("blank", r"\p{Zs}\t"),
    ("cntrl", r"\p{Cc}"),
    ("digit", r"\p{Nd}"),
    ("graph", r"[^\s\p{Cc}\p{Cn}]"),
    ("lower", r"\p{Lowercase}"),
    ("print", r"[^\s\p{Cc}\p{Cn}]\p{Zs}"),
    ("punct", r"\p{P}\p{S}"),
    ("space", r"\s"),
    ("upper", r"\p{Uppercase}"),
    ("word", WORD_IN_CLASS),
    ("xdigit", HEX),
];
const HEX: &str = "0-9A-Fa-f";

/// An escape sequence.
pub(super) enum Escape {
    Letter(char),
    /// An escape for a character class.
    Set(String),
}

/// A bracketed class.
pub(super) struct Class {
    /// The class with its brackets.
    text: String,
    /// The only character of the class, if it has just one.
    pub(super) only: Option<char>,
    negated: bool,
    /// Whether the class contains a negated class.
    negates: bool,
}

impl Class {
    /// The class as text; with `fold`, case-insensitive, including multi-character foldings of its letters.
    pub(super) fn text(self, fold: bool, folds: &[(char, String)]) -> Result<String, Fault> {
        let Self { text, negated, negates, .. } = self;
        if !fold {
            return Ok(text);
        }
        if negates {
            return unsupported("a nested negated class with case-insensitive matching");
        }
        let mut out = format!("(?i:{text}");
        if !negated {
            let members = members(&text);
            let has = |c: char| members.iter().any(|range| range.contains(&c));
            let several: BTreeSet<_> = folds.iter().filter(|(c, _)| has(*c)).map(|(_, several)| several).collect();
            several.iter().for_each(|several| out.extend(["|", several]));
        }
        out.push(')');
        Ok(out)
    }
}

/// The characters of a class; empty if it is invalid, which is reported when the pattern is compiled.
fn members(class: &str) -> Vec<RangeInclusive<char>> {
    match regex_syntax::parse(class).map(Hir::into_kind) {
        Ok(HirKind::Class(hir::Class::Unicode(set))) => set.iter().map(|range| range.start()..=range.end()).collect(),
        Ok(HirKind::Literal(Literal(bytes))) => String::from_utf8_lossy(&bytes).chars().map(|c| c..=c).collect(),
        _ => Vec::new(),
    }
}

/// The last item of a class, which determines the meaning of a hyphen.
enum Last {
    /// Nothing, or a bracketed class.
    Open,
    Letter(char),
    /// A range; a hyphen after it is literal.
    Range,
    /// A set, which cannot begin a range.
    Set,
}

/// Parses a class after its opening bracket.
pub(super) fn read(parser: &mut Parser<'_>) -> Result<Class, Fault> {
    let negated = parser.eat("^");
    let mut class = Class { text: if negated { "[^" } else { "[" }.into(), only: None, negated, negates: false };
    let mut last = Last::Open;
    let mut letters = Vec::new();
    let mut plain = !negated;
    // A closing bracket in first position is literal, if another one follows.
    if parser.rest().starts_with(']') {
        if !parser.rest()[1..].contains(']') {
            return bad("an empty class");
        }
        parser.next();
        push_letter(&mut class.text, ']');
        letters.push(']');
        last = Last::Letter(']');
    }
    loop {
        let Some(c) = parser.next() else { return bad("an unterminated class") };
        match c {
            ']' => break,
            '[' => {
                plain = false;
                match posix(parser)? {
                    Some(text) => {
                        class.text += &text;
                        last = Last::Set;
                    }
                    None => {
                        let inner = parser.nested(read)?;
                        class.text += &inner.text;
                        class.negates |= inner.negated || inner.negates;
                        last = Last::Open;
                    }
                }
            }
            '&' if parser.eat("&") => {
                plain = false;
                class.text += "&&";
                last = Last::Open;
            }
            '-' => match last {
                Last::Letter(low) if !ends(parser) => {
                    plain = false;
                    let high = match parser.next() {
                        Some('[') => return unsupported("a class as the end of a range"),
                        Some('\\') => match in_class(parser)? {
                            Escape::Letter(high) => high,
                            Escape::Set(_) => return bad("a range that ends in a set"),
                        },
                        Some(high) => high,
                        None => return bad("an unterminated class"),
                    };
                    if high < low {
                        return bad(format!("a range from {low:?} down to {high:?}"));
                    }
                    class.text.push('-');
                    push_letter(&mut class.text, high);
                    last = Last::Range;
                }
                Last::Set if !ends(parser) => return bad("a range that begins with a set"),
                _ => {
                    push_letter(&mut class.text, '-');
                    letters.push('-');
                    last = Last::Letter('-');
                }
            },
            _ => {
                let escape = if c == '\\' { in_class(parser)? } else { Escape::Letter(c) };
                match escape {
                    Escape::Letter(letter) => {
                        push_letter(&mut class.text, letter);
                        letters.push(letter);
                        last = Last::Letter(letter);
                    }
                    Escape::Set(set) => {
                        plain = false;
                        class.text += &set;
                        last = Last::Set;
                    }
                }
            }
        }
    }
    class.text.push(']');
    class.only = if plain && letters.len() == 1 { letters.pop() } else { None };
    Ok(class)
}

/// Whether a hyphen is the last character of a class or of an operand of `&&`.
fn ends(parser: &Parser<'_>) -> bool {
    parser.rest().starts_with(']') || parser.rest().starts_with("&&")
}

/// Parses `[:name:]` after its bracket; any other bracket opens a nested class.
fn posix(parser: &mut Parser<'_>) -> Result<Option<String>, Fault> {
    let Some(rest) = parser.rest().strip_prefix(':') else { return Ok(None) };
    let negated = rest.starts_with('^');
    let name = rest.strip_prefix('^').unwrap_or(rest);
    let known = POSIX.iter().find(|(known, _)| name.strip_prefix(known).is_some_and(|rest| rest.starts_with(":]")));
    let Some((name, set)) = known else {
        let odd = name
            .chars()
            .take(20)
            .position(|c| c == ':' || c == ']')
            .is_some_and(|at| name.chars().nth(at) == Some(':') && name.chars().nth(at + 1) == Some(']'));
        return if odd { bad("an unknown POSIX class") } else { Ok(None) };
    };
    for text in [if negated { ":^" } else { ":" }, name, ":]"] {
        parser.eat(text);
    }
    Ok(Some(if negated { format!("[^{set}]") } else { format!("[{set}]") }))
}

/// Parses an escape in a class.
fn in_class(parser: &mut Parser<'_>) -> Result<Escape, Fault> {
    match parser.next() {
        Some('b') => Ok(Escape::Letter('\u{8}')),
        Some(c) => escape(parser, c, WORD_IN_CLASS),
        None => bad("an unterminated class"),
    }
}

/// Parses the escape whose first character is `c`; `word` is the contents of a class for `\w`.
pub(super) fn escape(parser: &mut Parser<'_>, c: char, word: &str) -> Result<Escape, Fault> {
    Ok(Escape::Letter(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'f' => '\u{c}',
        'v' => '\u{b}',
        'a' => '\u{7}',
        'e' => '\u{1b}',
        'c' | 'C' | 'M' => control(parser, c)?,
        'u' => code_point(parser.digits(16, 4), 16, 4)?,
        'x' if parser.eat("{") => code_point(parser.until('}').unwrap_or(""), 16, 1)?,
        'o' if parser.eat("{") => code_point(parser.until('}').unwrap_or(""), 8, 1)?,
        'x' | '0'..='7' => bytes(parser, c)?,
        'w' => return Ok(Escape::Set(format!("[{word}]"))),
        'W' => return Ok(Escape::Set(format!("[^{word}]"))),
        'd' | 'D' | 's' | 'S' => return Ok(Escape::Set(format!("\\{c}"))),
        'h' => return Ok(Escape::Set(format!("[{HEX}]"))),
        'H' => return Ok(Escape::Set(format!("[^{HEX}]"))),
        'p' | 'P' if parser.eat("{") => return property(parser, c == 'P', word).map(Escape::Set),
        c => c,
    }))
}

/// Parses `\ca` or `\C-a`.
fn control(parser: &mut Parser<'_>, c: char) -> Result<char, Fault> {
    if c == 'M' {
        return unsupported("\\M");
    }
    if c == 'C' && !parser.eat("-") {
        return bad("\\C without a hyphen");
    }
    match parser.next() {
        Some('?') => Ok('\u{7f}'),
        Some('\\') if !parser.eat("\\") => unsupported("an escape as a control character"),
        Some(c) if c.is_ascii() => Ok(char::from(c as u8 & 0x1f)),
        _ => bad("a control character is expected"),
    }
}

fn code_point(digits: &str, radix: u32, least: usize) -> Result<char, Fault> {
    if digits.contains(' ') {
        return unsupported("multiple code points in braces");
    }
    let number = u32::from_str_radix(digits, radix).ok().filter(|_| digits.len() >= least);
    number.and_then(char::from_u32).map_or_else(|| bad(format!("{digits:?} is not a code point")), Ok)
}

/// Parses `\x41` or `\101`; beyond ASCII, as many escapes as form a UTF-8 character.
fn bytes(parser: &mut Parser<'_>, c: char) -> Result<char, Fault> {
    let mut bytes = vec![byte(parser, c)?];
    loop {
        if let Ok(text) = std::str::from_utf8(&bytes) {
            return Ok(text.chars().next().expect("a byte"));
        }
        let next = if parser.eat("\\") { parser.next() } else { None };
        match next {
            Some(c @ ('x' | '0'..='7')) if bytes.len() < 4 => bytes.push(byte(parser, c)?),
            _ => return bad("bytes that are not UTF-8"),
        }
    }
}

fn byte(parser: &mut Parser<'_>, c: char) -> Result<u8, Fault> {
    let number = if c == 'x' {
        u32::from_str_radix(parser.digits(16, 2), 16).unwrap_or(0)
    } else {
        let first = c.to_digit(8).unwrap_or(0);
        let digits = parser.digits(8, 2);
        digits.chars().filter_map(|c| c.to_digit(8)).fold(first, |number, digit| number * 8 + digit)
    };
    number.try_into().map_or_else(|_| bad(format!("{number} is not a byte")), Ok)
}

/// Parses `{name}` or `{^name}` of a property after its brace. Names that are not handled here are left to `fancy-regex`.
fn property(parser: &mut Parser<'_>, negated: bool, word: &str) -> Result<String, Fault> {
    let Some(given) = parser.until('}') else { return bad("an unterminated property") };
    let (name, inverted) = given.strip_prefix('^').map_or((given, false), |name| (name, true));
    let name: String = name.chars().filter(|c| !" _-".contains(*c)).map(|c| c.to_ascii_lowercase()).collect();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) || name.starts_with("is") {
        return bad(format!("unknown property {given:?}"));
    }
    let negated = negated != inverted;
    let set = match name.as_str() {
        "word" => word,
        "punct" | "digit" | "space" => "", // Unicode's, not POSIX's
        "posixpunct" => r"\p{P}\p{S}",
        "newline" => r"\n",
        "unknown" | "zzzz" => r"\p{Cn}\p{Co}",
        "cs" | "surrogate" => "a&&b", // text has none
        _ => POSIX.iter().find(|(known, _)| *known == name).map_or("", |(_, set)| set),
    };
    Ok(match (set, negated) {
        ("", false) => format!("\\p{{{name}}}"),
        ("", true) => format!("\\P{{{name}}}"),
        (_, false) => format!("[{set}]"),
        (_, true) => format!("[^{set}]"),
    })
}
