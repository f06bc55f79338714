//! Scans a chat template's source before the template engine parses it.
//!
//! The engine's parser and code generator recurse over expressions and `elif` chains, so a small hostile template could
//! overflow the 1 MiB stack of WebAssembly. This scan, which does not recurse, bounds their depth first. It
//! also finds the string literals that a template compares contents with.

use std::ops::Range;

use crate::{Error, Result, TemplateKind};

/// Maximum bytes of a template's source.
pub(crate) const MAX_SOURCE: usize = 1 << 20;
/// Maximum characters of a line: the engine counts columns in 16 bits.
const MAX_LINE: usize = 60_000;
/// Maximum operators, attribute look-ups, filters and calls in one tag; published templates use fewer than 60.
const MAX_OPERATORS: usize = 300;
/// Maximum nesting of brackets in one tag.
const MAX_BRACKETS: usize = 48;
/// Maximum number of `elif`s in one `if`.
const MAX_ELIFS: usize = 64;
/// Maximum nesting of blocks.
const MAX_BLOCKS: usize = 48;

/// One `{{ … }}` or `{% … %}`.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) statement: bool,
    pub(super) tokens: Vec<Token>,
    /// The offset of the tag's end in the source.
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Byte range in the source; for a string, without its quotes.
    pub(super) range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word,
    Text,
    Number,
    Mark,
}

/// Operators that are words.
const OPERATOR_WORDS: &[&str] = &["and", "or", "not", "in", "is", "if", "else", "elif"];
/// Methods and filters whose first argument is searched for in a text.
const SEARCHES: &[&str] = &[
    "split",
    "rsplit",
    "startswith",
    "endswith",
    "find",
    "rfind",
    "index",
    "count",
    "replace",
    "partition",
    "rpartition",
    "strip",
    "lstrip",
    "rstrip",
    "removeprefix",
    "removesuffix",
];

fn limit(message: String) -> Error {
    Error::Template { kind: TemplateKind::Limit, message }
}

/// Checks the length of lines, which rewriting extends.
pub(crate) fn check_lines(source: &str) -> Result<()> {
    let longest = source.split('\n').map(|line| line.chars().count()).max().unwrap_or(0);
    if longest > MAX_LINE {
        return Err(limit(format!("a line of {longest} characters; at most {MAX_LINE}")));
    }
    Ok(())
}

/// Checks the bounds of a template's source.
pub(crate) fn check(source: &str) -> Result<()> {
    if source.len() > MAX_SOURCE {
        return Err(limit(format!("the source has {} bytes; at most {MAX_SOURCE}", source.len())));
    }
    check_lines(source)?;
    let mut open_ifs: Vec<usize> = Vec::new();
    let mut blocks = 0usize;
    for tag in Tags::new(source) {
        let line = || source[..tag.end].matches('\n').count() + 1;
        let mut operators = 0;
        let mut brackets = 0usize;
        for token in &tag.tokens {
            let text = &source[token.range.clone()];
            match token.kind {
                TokenKind::Word if OPERATOR_WORDS.contains(&text) => operators += 1,
                TokenKind::Mark => match text {
                    "(" | "[" | "{" => {
                        brackets += 1;
                        operators += 1;
                    }
                    ")" | "]" | "}" => brackets = brackets.saturating_sub(1),
                    "," | ":" => {}
                    _ => operators += 1,
                },
                _ => {}
            }
            if brackets > MAX_BRACKETS {
                return Err(limit(format!("line {}: more than {MAX_BRACKETS} nested brackets", line())));
            }
        }
        if operators > MAX_OPERATORS {
            return Err(limit(format!("line {}: {operators} operators in one tag; at most {MAX_OPERATORS}", line())));
        }
        if !tag.statement {
            continue;
        }
        match tag.first_word(source) {
            Some("if") => {
                open_ifs.push(0);
                blocks += 1;
            }
            Some("elif") => {
                let count = open_ifs.last_mut().map(|n| {
                    *n += 1;
                    *n
                });
                if count.is_some_and(|n| n > MAX_ELIFS) {
                    return Err(limit(format!("line {}: more than {MAX_ELIFS} elifs in one if", line())));
                }
            }
            Some("endif") => {
                open_ifs.pop();
                blocks = blocks.saturating_sub(1);
            }
            Some("for" | "macro" | "call" | "filter" | "block" | "with" | "autoescape") => blocks += 1,
            Some(word) if word.starts_with("end") => blocks = blocks.saturating_sub(1),
            _ => {}
        }
        if blocks > MAX_BLOCKS {
            return Err(limit(format!("line {}: more than {MAX_BLOCKS} nested blocks", line())));
        }
    }
    Ok(())
}

/// Replaces blocks that have no effect on a rendering with ones that the engine supports: Hugging Face's `{% generation
/// %}`, which only marks text for training, and Jinja's `{% block %}`, which no template can extend here.
pub(crate) fn without_idle_blocks(source: &str) -> String {
    let mut edits = Vec::new();
    for tag in Tags::new(source).filter(|t| t.statement) {
        let (Some(first), Some(last)) = (tag.tokens.first(), tag.tokens.last()) else { continue };
        let whole = first.range.start..last.range.end;
        match (tag.first_word(source), tag.tokens.len()) {
            (Some("generation"), 1) => edits.push((whole, "if true".to_owned())),
            (Some("endgeneration"), 1) => edits.push((whole, "endif".to_owned())),
            (Some("block"), _) => edits.push((whole, "with".to_owned())),
            (Some("endblock"), _) => edits.push((whole, "endwith".to_owned())),
            _ => {}
        }
    }
    apply(source, edits)
}

/// Wraps the value of every `set` in a call: of `variable`, or of `attribute` if the target is an attribute.
pub(crate) fn with_checked_sets(source: &str, variable: &str, attribute: &str) -> String {
    let mut edits = Vec::new();
    for tag in Tags::new(source).filter(|t| t.statement && t.first_word(source) == Some("set")) {
        // In `set x | filter(a=1)` the equals sign is inside brackets.
        let words: Vec<&str> = (0..tag.tokens.len()).map(|i| tag.word(source, i).unwrap_or("")).collect();
        let sign = words.iter().position(|w| *w == "=");
        let Some(sign) = sign.filter(|&at| at + 1 < words.len() && !words[..at].contains(&"|")) else { continue };
        let function = if words[..sign].contains(&".") { attribute } else { variable };
        let start = tag.tokens[sign].range.end;
        edits.push((start..start, format!(" {function}(")));
        let last = &tag.tokens[words.len() - 1];
        // An unterminated string has no closing quote; the engine rejects it.
        let end = (last.range.end + usize::from(last.kind == TokenKind::Text)).min(source.len());
        edits.push((end..end, ")".to_owned()));
    }
    apply(source, edits)
}

/// Renames strings in the literals that the template searches for in contents (`'</think>' in content`,
/// `content.split('</think>')`), but not in those that it writes.
pub(crate) fn rename_searched(source: &str, renames: &[(String, String)]) -> String {
    let mut edits = Vec::new();
    for tag in Tags::new(source) {
        for (i, token) in tag.tokens.iter().enumerate().filter(|(_, t)| t.kind == TokenKind::Text) {
            if !tag.is_searched(source, i) {
                continue;
            }
            let old = &source[token.range.clone()];
            let new = renames.iter().fold(old.to_owned(), |text, (from, to)| text.replace(from.as_str(), to));
            if new != old {
                edits.push((token.range.clone(), new));
            }
        }
    }
    apply(source, edits)
}

pub(super) fn apply(source: &str, edits: Vec<(Range<usize>, String)>) -> String {
    let mut out = String::with_capacity(source.len());
    let mut done = 0;
    for (range, new) in edits {
        out.push_str(&source[done..range.start]);
        out.push_str(&new);
        done = range.end;
    }
    out.push_str(&source[done..]);
    out
}

impl Tag {
    pub(super) fn word<'a>(&self, source: &'a str, i: usize) -> Option<&'a str> {
        self.tokens.get(i).filter(|t| t.kind != TokenKind::Text).map(|t| &source[t.range.clone()])
    }

    pub(super) fn first_word<'a>(&self, source: &'a str) -> Option<&'a str> {
        self.word(source, 0)
    }

    /// Whether the template searches for, or compares with, the literal at `i`.
    fn is_searched(&self, source: &str, i: usize) -> bool {
        let before = |n: usize| i.checked_sub(n).and_then(|i| self.word(source, i));
        let after = |n: usize| self.word(source, i + n);
        let compares = |word: Option<&str>| matches!(word, Some("==" | "!="));
        after(1) == Some("in")
            || (after(1) == Some("not") && after(2) == Some("in"))
            || compares(before(1))
            || compares(after(1))
            || (before(1) == Some("(")
                && before(2).is_some_and(|w| SEARCHES.contains(&w))
                && matches!(before(3), Some("." | "|")))
    }
}

/// Iterates over the tags of a source, skipping comments and raw blocks.
pub(super) struct Tags<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Tags<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    fn seek(&self, from: usize, what: &str) -> Option<usize> {
        self.source[from..].find(what).map(|i| from + i)
    }

    /// Reads the tokens of a tag whose content begins at `at`.
    fn read(&self, mut at: usize, statement: bool) -> Tag {
        let bytes = self.source.as_bytes();
        let close: &[u8] = if statement { b"%}" } else { b"}}" };
        let mut tokens = Vec::new();
        let mut braces = 0usize;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let closes = rest.starts_with(close) || (matches!(rest[0], b'-' | b'+') && rest[1..].starts_with(close));
            if closes && (statement || braces == 0) {
                let end = at + if rest.starts_with(close) { 2 } else { 3 };
                return Tag { statement, tokens, end };
            }
            let start = at;
            let kind = match rest[0] {
                b if b.is_ascii_whitespace() => {
                    at += 1;
                    continue;
                }
                quote @ (b'\'' | b'"') => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != quote {
                        at += if bytes[at] == b'\\' { 2 } else { 1 };
                    }
                    let end = at.min(bytes.len());
                    at = end + 1;
                    tokens.push(Token { kind: TokenKind::Text, range: start + 1..end });
                    continue;
                }
                b if b.is_ascii_digit() => {
                    at += rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                    TokenKind::Number
                }
                b if b.is_ascii_alphabetic() || b == b'_' || b >= 0x80 => {
                    at += rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b >= 0x80).count();
                    TokenKind::Word
                }
                b => {
                    match b {
                        b'{' => braces += 1,
                        b'}' => braces = braces.saturating_sub(1),
                        _ => {}
                    }
                    let pair =
                        matches!(rest, [b'=' | b'!' | b'<' | b'>', b'=', ..] | [b'*', b'*', ..] | [b'/', b'/', ..]);
                    at += if pair { 2 } else { 1 };
                    TokenKind::Mark
                }
            };
            tokens.push(Token { kind, range: start..at });
        }
        Tag { statement, tokens, end: bytes.len() }
    }
}

impl Iterator for Tags<'_> {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        loop {
            let start = self.seek(self.at, "{")?;
            let kind = self.source.as_bytes().get(start + 1).copied();
            if kind == Some(b'#') {
                self.at = self.seek(start + 2, "#}")? + 2;
                continue;
            }
            if !matches!(kind, Some(b'{' | b'%')) {
                self.at = start + 1;
                continue;
            }
            let mut inner = start + 2;
            if matches!(self.source.as_bytes().get(inner), Some(b'-' | b'+')) {
                inner += 1;
            }
            let tag = self.read(inner, kind == Some(b'%'));
            self.at = tag.end;
            if tag.statement && tag.first_word(self.source) == Some("raw") {
                self.at = self.seek(self.at, "endraw").unwrap_or(self.source.len());
                self.at = self.seek(self.at, "%}").map_or(self.source.len(), |i| i + 2);
            }
            return Some(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_searched_literals_are_renamed() {
        let renames = [("</t>".to_owned(), "X".to_owned())];
        let renamed = |source| rename_searched(source, &renames);
        assert_eq!(renamed("{{ '</t>' + a.split('</t>')[-1] }}"), "{{ '</t>' + a.split('X')[-1] }}");
        assert_eq!(renamed("{% if '</t>' not in b %}</t>{% endif %}"), "{% if 'X' not in b %}</t>{% endif %}");
        assert_eq!(renamed("{%- if c == \"</t>\" -%}"), "{%- if c == \"X\" -%}");
        assert_eq!(renamed("{{ b|replace('</t>', '</t>') }}"), "{{ b|replace('X', '</t>') }}");
        assert_eq!(
            renamed("{# '</t>' in #}{% raw %}{{ '</t>' in b }}{% endraw %}"),
            renamed("{# '</t>' in #}{% raw %}{{ '</t>' in b }}{% endraw %}")
        );
        assert_eq!(renamed("{% raw %}{{ '</t>' in b }}{% endraw %}"), "{% raw %}{{ '</t>' in b }}{% endraw %}");
    }

    #[test]
    fn idle_blocks_do_nothing() {
        assert_eq!(without_idle_blocks("{%- generation %}a{% endgeneration -%}"), "{%- if true %}a{% endif -%}");
        assert_eq!(without_idle_blocks("{% block x %}a{%- endblock x %}"), "{% with %}a{%- endwith %}");
    }

    #[test]
    fn sets_pass_their_values_through() {
        let checked = |source| with_checked_sets(source, "v", "a");
        assert_eq!(checked("{%- set x = 'y' -%}"), "{%- set x = v( 'y') -%}");
        assert_eq!(checked("{% set ns.x = [1, '='] %}"), "{% set ns.x = a( [1, '=']) %}");
        assert_eq!(checked("{% set a, b = c == d, 2 %}"), "{% set a, b = v( c == d, 2) %}");
        assert_eq!(checked("{% set x = 'never closed"), "{% set x = v( 'never closed)");
        for block in
            ["{% set x %}y{% endset %}", "{% set x | replace(a=1) %}y{% endset %}", "{% if x == 1 %}{% endif %}"]
        {
            assert_eq!(checked(block), block);
        }
    }

    #[test]
    fn strings_and_braces_do_not_confuse_the_scan() {
        let source = "{{ {'a': {'b': '}}'}} }}{% set x = '%}' %}{{ y }}";
        assert_eq!(Tags::new(source).count(), 3);
        assert!(check(source).is_ok());
        assert!(check("{{ 'never closed").is_ok());
    }
}
