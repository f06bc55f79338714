//! Translates JavaScript's regular expressions to the syntax of `regex-syntax`, for a match of a whole text.
//!
//! What depends on more than the text that it takes has no counterpart in an automaton and is refused: look-around, `\b`, back
//! references, anchors in the middle.

mod parse;

use crate::Refusal;
use parse::{Alternatives, Flags, Term, literal, parse};

/// Characters of a pattern, at most.
const MAX_LENGTH: usize = 1 << 16;
/// A regular expression for whole texts that `source` matches from end to end; anchors at its ends add nothing.
pub(crate) fn whole(source: &str, flags: &str) -> Result<String, Refusal> {
    translate(source, flags, Edge::Closed)
}

/// A regular expression for whole texts in which `source` matches somewhere, as JSON Schema's `pattern` does.
pub(crate) fn anywhere(source: &str) -> Result<String, Refusal> {
    translate(source, "u", Edge::Open)
}

/// What is beside a part of the pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// Another part: an anchor cannot be honoured.
    Part,
    /// The text's end: an anchor adds nothing.
    Closed,
    /// Any text, unless there is an anchor.
    Open,
}

fn translate(source: &str, flags: &str, edge: Edge) -> Result<String, Refusal> {
    if source.len() > MAX_LENGTH {
        return Err(Refusal::new(format!("the pattern has {} bytes; at most {MAX_LENGTH} are possible", source.len())));
    }
    let (inline, source) = inline_flags(source);
    let mut set = Flags { ignore_case: false, dot_all: false, unicode: false, sets: false, json: edge == Edge::Open };
    for flag in flags.chars().chain(inline.chars()) {
        match flag {
            'i' => set.ignore_case = true,
            's' => set.dot_all = true,
            'u' => set.unicode = true,
            'v' => (set.unicode, set.sets) = (true, true),
            // Of a whole text, `m` changes anchors in its middle only, and those are refused.
            'd' | 'g' | 'm' | 'y' => {}
            _ => return Err(Refusal::at(&flag.to_string(), format!("the flag {flag:?} is not known"))),
        }
    }
    let alternatives = parse(source, &set)?;
    let body = write(&alternatives, edge, edge)?;
    let pattern = if set.ignore_case { format!("(?i:{body})") } else { body };
    match regex_syntax::Parser::new().parse(&pattern) {
        Ok(_) => Ok(pattern),
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            Err(Refusal::new(format!("the pattern {source:?} cannot be used: {last}")))
        }
    }
}

/// Flags at the start, as other dialects write them: `(?is)`.
fn inline_flags(source: &str) -> (&str, &str) {
    let inline = source.strip_prefix("(?").and_then(|rest| rest.split_once(')'));
    match inline {
        Some((flags, rest)) if !flags.is_empty() && flags.chars().all(|c| "ism".contains(c)) => (flags, rest),
        _ => ("", source),
    }
}

/// Writes alternatives that have `left` and `right` beside them.
fn write(alternatives: &Alternatives, left: Edge, right: Edge) -> Result<String, Refusal> {
    const ANY: &str = "(?s:.*)";
    let mut written = Vec::with_capacity(alternatives.len());
    for terms in alternatives {
        let (mut left, mut right) = (left, right);
        let mut terms = terms.as_slice();
        while let [Term::Start, rest @ ..] = terms {
            if left == Edge::Part {
                break;
            }
            (left, terms) = (Edge::Closed, rest);
        }
        while let [rest @ .., Term::End] = terms {
            if right == Edge::Part {
                break;
            }
            (right, terms) = (Edge::Closed, rest);
        }
        let mut text = String::new();
        let group = |term: Option<&Term>| matches!(term, Some(Term::Group(_, _, times)) if times.is_empty());
        if left == Edge::Open && !group(terms.first()) {
            text += ANY;
        }
        for (i, term) in terms.iter().enumerate() {
            match term {
                Term::Text(expression) => text += expression,
                Term::Group(begin, inner, times) => {
                    let outer = times.is_empty();
                    let left = if outer && i == 0 { left } else { Edge::Part };
                    let right = if outer && i + 1 == terms.len() { right } else { Edge::Part };
                    text += &format!("{begin}{}){times}", write(inner, left, right)?);
                }
                Term::Start => {
                    return Err(Refusal::at("^", "the anchor ^ is supported at the start of a pattern only"));
                }
                Term::End => return Err(Refusal::at("$", "the anchor $ is supported at the end of a pattern only")),
            }
        }
        if right == Edge::Open && !group(terms.last()) && !(terms.is_empty() && left == Edge::Open) {
            text += ANY;
        }
        written.push(text);
    }
    Ok(match <[String; 1]>::try_from(written) {
        Ok([one]) => one,
        Err(several) => format!("(?:{})", several.join("|")),
    })
}

/// An expression for one of some texts.
pub(crate) fn one_of(texts: &[String]) -> String {
    let each: Vec<String> = texts.iter().map(|text| text.chars().map(literal).collect()).collect();
    format!("(?:{})", each.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str, flags: &str) -> String {
        whole(source, flags).expect_err(source).keyword.unwrap_or_default()
    }

    #[test]
    fn what_an_automaton_lacks_is_refused_by_name() {
        for (source, keyword) in [
            ("(?=.*[0-9])[a-z]+", "(?="),
            ("a(?!b)", "(?!"),
            ("(?<=x)y", "(?<="),
            ("(?<!x)y", "(?<!"),
            (r"\bword\b", r"\b"),
            (r"(a|b)\1", r"\1"),
            (r"(?<n>a)\k<n>", r"\k"),
            ("a^b", "^"),
            ("(a$)+", "$"),
            ("(ab", "("),
            ("ab)", ")"),
            ("[ab", "["),
            ("*a", "*"),
        ] {
            assert_eq!(refused(source, ""), keyword, "{source}");
        }
        assert_eq!(refused("a", "x"), "x");
        assert!(whole("a++", "").is_err());
        assert!(whole(r"\p{Nonsense}", "u").is_err());
        assert!(whole(&"(".repeat(5000), "").is_err());
    }

    /// Compares with the `regex` syntax written by hand.
    #[test]
    fn dialects_are_translated_by_meaning() {
        for (source, flags, want) in [
            ("^[a-z]+$", "", "[a-z]+"),
            ("^a|b$", "", "(?:a|b)"),
            ("(^a$|^b$)", "", "(?:(?:a|b))"),
            ("a+?b*?", "", "a+b*"),
            ("a{2,3}?", "", "a{2,3}"),
            ("a{x", "", r"a\x{7B}x"),
            ("(?<year>[0-9]{4})", "", "(?:[0-9]{4})"),
            (r"\d\w", "", "[0-9][0-9A-Za-z_]"),
            (r"\p{L}", "", r"p\x{7B}L\x{7D}"),
            (r"\p{L}", "u", r"[\p{L}]"),
            (r"\u{1F600}", "u", r"\x{1F600}"),
            (r"\uD83D\uDE00", "", r"\x{1F600}"),
            (r"[^]", "", "(?s:.)"),
            (r"[\]\-^]", "", r"[\x{5D}\x{2D}\x{5E}]"),
            (r"[\p{L}--[a-z]]", "v", r"[\p{L}--[a-z]]"),
            ("a.b", "s", "a(?s:.)b"),
            ("a", "i", "(?i:a)"),
            ("(?i)a", "", "(?i:a)"),
            ("", "", ""),
        ] {
            assert_eq!(whole(source, flags).map_err(|r| r.message).as_deref(), Ok(want), "{source}");
        }
        for (source, want) in [
            ("[0-9]+", r"(?s:.*)[[0-9]&&[^\x00]]+(?s:.*)"),
            ("^a", "a(?s:.*)"),
            ("a$", "(?s:.*)a"),
            ("^$|^a$", "(?:|a)"),
            ("(^a$)", "(?:a)"),
            ("^(a|b)c", "(?:(?:a|b))c(?s:.*)"),
            ("", "(?s:.*)"),
        ] {
            assert_eq!(anywhere(source).map_err(|r| r.message).as_deref(), Ok(want), "{source}");
        }
    }
}
