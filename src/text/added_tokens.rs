//! Finds added tokens in text as Hugging Face's `tokenizers` does, with the option to treat some occurrences as plain
//! text.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tokenizers::normalizer::Range as In;
use tokenizers::{AddedToken, NormalizedString, Normalizer};

/// A vocabulary's added tokens: those matched in the raw text, and those matched after normalisation.
#[derive(Debug, Default)]
pub(crate) struct AddedTokens {
    raw: Matcher,
    normalized: Matcher,
    ids: HashSet<u32>,
}

#[derive(Debug, Default)]
struct Matcher {
    entries: Vec<Entry>,
    /// First byte → entries, the longest first.
    by_first: HashMap<u8, Vec<usize>>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    pattern: String,
    markup: bool,
    lstrip: bool,
    rstrip: bool,
    single_word: bool,
}

impl AddedTokens {
    pub(crate) fn new(tokens: &[(u32, AddedToken)], normalizer: Option<&impl Normalizer>) -> Self {
        let entry = |(id, token): &(u32, AddedToken)| {
            let pattern = match normalizer.filter(|_| token.normalized) {
                Some(normalizer) => {
                    let mut s = NormalizedString::from(token.content.as_str());
                    normalizer.normalize(&mut s).map_or_else(|_| token.content.clone(), |()| s.get().to_owned())
                }
                None => token.content.clone(),
            };
            let markup = token.special || !token.content.trim().is_empty();
            let AddedToken { lstrip, rstrip, single_word, .. } = *token;
            Entry { id: *id, pattern, markup, lstrip, rstrip, single_word }
        };
        let of = |normalized: bool| Matcher::new(tokens.iter().filter(|t| t.1.normalized == normalized).map(entry));
        Self { raw: of(false), normalized: of(true), ids: tokens.iter().map(|(id, _)| *id).collect() }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.ids.iter().copied()
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// The byte ranges in `text` of tokens that have a meaning to a model: leftmost, longest, not overlapping.
    /// Runs of white space, which Gemma's vocabulary adds as tokens, do not count.
    pub(crate) fn find_markup(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let here = [&self.raw, &self.normalized].into_iter().filter_map(|m| m.longest_at(text, at, |e| e.markup));
            match here.map(|e| e.pattern.len()).max() {
                Some(len) => {
                    found.push(at..at + len);
                    at += len;
                }
                None => at += 1,
            }
        }
        found
    }

    /// Splits raw `text` at added tokens, except those that overlap `plain`.
    pub(crate) fn find_raw(&self, text: &str, plain: &[Range<usize>]) -> Vec<(Option<u32>, Range<usize>)> {
        self.raw.split(text, |range| plain.iter().any(|p| overlap(p, range)))
    }

    /// Splits a normalised segment at the tokens that match after normalisation; `plain` holds byte ranges of the
    /// original text.
    pub(crate) fn find_normalized(
        &self,
        string: &NormalizedString,
        plain: &[Range<usize>],
    ) -> Vec<(Option<u32>, Range<usize>)> {
        let start = string.offsets_original().0;
        self.normalized.split(string.get(), |range| {
            string.convert_offsets(In::Normalized(range.clone())).is_some_and(|original| {
                let whole = start + original.start..start + original.end;
                plain.iter().any(|p| overlap(p, &whole))
            })
        })
    }
}

impl Matcher {
    fn new(entries: impl Iterator<Item = Entry>) -> Self {
        let entries: Vec<Entry> = entries.filter(|e| !e.pattern.is_empty()).collect();
        let mut by_first: HashMap<u8, Vec<usize>> = HashMap::new();
        for (i, entry) in entries.iter().enumerate() {
            by_first.entry(entry.pattern.as_bytes()[0]).or_default().push(i);
        }
        for list in by_first.values_mut() {
            list.sort_by_key(|&i| std::cmp::Reverse(entries[i].pattern.len()));
        }
        Self { entries, by_first }
    }

    /// The longest token accepted by `wanted` that begins at byte `at`.
    fn longest_at(&self, text: &str, at: usize, wanted: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let rest = &text.as_bytes()[at..];
        let candidates = self.by_first.get(rest.first()?)?;
        candidates.iter().map(|&i| &self.entries[i]).find(|e| rest.starts_with(e.pattern.as_bytes()) && wanted(e))
    }

    /// Splits `text` into segments of text and tokens, in order.
    fn split(&self, text: &str, is_plain: impl Fn(&Range<usize>) -> bool) -> Vec<(Option<u32>, Range<usize>)> {
        let mut pieces = Vec::new();
        let (mut done, mut at) = (0, 0);
        while at < text.len() {
            let Some(entry) = self.longest_at(text, at, |e| !is_plain(&(at..at + e.pattern.len()))) else {
                at += 1;
                continue;
            };
            let mut range = at..at + entry.pattern.len();
            at = range.end;
            if entry.single_word && (ends_word(&text[..range.start]) || starts_word(&text[range.end..])) {
                continue;
            }
            if entry.lstrip {
                range.start = text[..range.start].trim_end().len().max(done);
            }
            if entry.rstrip {
                range.end = text.len() - text[range.end..].trim_start().len();
            }
            if done < range.start {
                pieces.push((None, done..range.start));
            }
            done = range.end;
            at = at.max(done);
            pieces.push((Some(entry.id), range));
        }
        if done < text.len() {
            pieces.push((None, done..text.len()));
        }
        pieces
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn ends_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_word)
}

fn starts_word(text: &str) -> bool {
    text.chars().next().is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> AddedTokens {
        let add = |id, s: &str| (id, AddedToken::from(s, true));
        let tokens = [add(0, "<a>"), add(1, "<a><b>"), add(2, "<c>").clone()];
        AddedTokens::new(&tokens, None::<&crate::text::stages::Normalizers>)
    }

    #[test]
    fn leftmost_longest_unless_plain() {
        let found = tokens().find_raw("x<a><b>y<c>", &[]);
        assert_eq!(found, vec![(None, 0..1), (Some(1), 1..7), (None, 7..8), (Some(2), 8..11)]);
        let found = tokens().find_raw("x<a><b>y<c>", std::slice::from_ref(&(1..7)));
        assert_eq!(found, vec![(None, 0..8), (Some(2), 8..11)]);
    }

    #[test]
    fn stripping_tokens_take_the_white_space_beside_them() {
        let token = AddedToken::from("<m>", true).lstrip(true).rstrip(true);
        let tokens = AddedTokens::new(&[(7, token)], None::<&crate::text::stages::Normalizers>);
        assert_eq!(tokens.find_raw("a  <m> \nb", &[]), vec![(None, 0..1), (Some(7), 1..8), (None, 8..9)]);
    }
}
