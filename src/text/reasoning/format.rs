//! Detects how a model marks its reasoning, from its chat template or else from its vocabulary.

use super::harmony;

/// The tags around reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningTags {
    /// The opening tag.
    pub open: String,
    /// The closing tag.
    pub close: String,
}

impl Default for ReasoningTags {
    fn default() -> Self {
        Self::new("<think>", "</think>")
    }
}

impl ReasoningTags {
    fn new(open: impl Into<String>, close: impl Into<String>) -> Self {
        Self { open: open.into(), close: close.into() }
    }

    /// Whether models were trained with line breaks around the tags.
    fn spaced(&self) -> bool {
        self.open.starts_with("<think")
    }

    /// The text that closes reasoning in the middle.
    pub(super) fn end(&self) -> String {
        if self.spaced() { format!("\n{}\n\n", self.close) } else { self.close.clone() }
    }
}

/// How a model's reasoning is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReasoningFormat {
    /// By a pair of tags at the beginning of the output: the first of these pairs or, if only the vocabulary declares
    /// them, any.
    Tags(Vec<ReasoningTags>),
    /// gpt-oss's harmony format: messages in channels, where `analysis` is the reasoning.
    Harmony,
}

/// The source that declared a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredBy {
    /// The chat template writes or searches for the tags.
    Template,
    /// The vocabulary has the tags as tokens.
    Vocabulary,
    /// Neither: the default is `<think>`, which most models use.
    Nothing,
}

/// Reasoning tags that cannot be recognised by their names.
const UNLIKELY: &[(&str, &str)] = &[("<|channel>thought\n", "<channel|>"), ("<|inner_prefix|>", "<|inner_suffix|>")];

/// Words in the names of reasoning tags.
const WORDS: [&str; 3] = ["think", "thought", "reason"];

/// Replacements that derive the name of a closing tag from the opening one.
const ENDS: [(&str, &str); 5] =
    [("START", "END"), ("start", "end"), ("BEGIN", "END"), ("begin", "end"), ("prefix", "suffix")];

impl Default for ReasoningFormat {
    fn default() -> Self {
        Self::Tags(vec![ReasoningTags::default()])
    }
}

impl ReasoningFormat {
    /// Detects the format of a model from its chat template's source and its added tokens.
    pub fn of(template: Option<&str>, tokens: &[String]) -> (Self, DeclaredBy) {
        let has = |token: &str| tokens.iter().any(|t| t == token);
        if ["<|start|>", "<|channel|>", "<|message|>"].into_iter().all(has) {
            return (Self::Harmony, DeclaredBy::Template);
        }
        let in_template = |tag: &str| template.is_some_and(|source| mentions(source, tag));
        let mut written = pairs(&template.map(tags_in).unwrap_or_default(), &in_template);
        if !written.is_empty() {
            written.truncate(1);
            return (Self::Tags(written), DeclaredBy::Template);
        }
        let spelled = pairs(tokens, &has);
        let tells = template.is_some_and(|source| source.contains("reasoning_content"));
        let by = match spelled.is_empty() {
            _ if tells => DeclaredBy::Template,
            true => DeclaredBy::Nothing,
            false => DeclaredBy::Vocabulary,
        };
        (if spelled.is_empty() { Self::default() } else { Self::Tags(spelled) }, by)
    }

    /// Whether a token separates reasoning from the answer, and so is processed even if it is special.
    pub fn is_mark(&self, token: &str) -> bool {
        match self {
            Self::Tags(pairs) => {
                let part_of = |pair: &ReasoningTags| pair.open.contains(token) || pair.close.contains(token);
                !token.is_empty() && pairs.iter().any(part_of)
            }
            Self::Harmony => harmony::MARKS.contains(&token),
        }
    }

    /// Whether a prompt ends inside reasoning, so that the output begins with it: R1's templates end in `<think>\n`.
    pub fn opened_by(&self, prompt: &str) -> bool {
        match self {
            Self::Harmony => harmony::opened_by(prompt),
            // Only the very end counts: an earlier turn may also contain unfinished reasoning.
            Self::Tags(pairs) => match (prompt.rfind(&pairs[0].open), prompt.rfind(&pairs[0].close)) {
                (Some(open), close) => {
                    close.is_none_or(|close| close < open) && prompt[open + pairs[0].open.len()..].trim().is_empty()
                }
                _ => false,
            },
        }
    }

    /// Whether a prompt ends after reasoning that it closed.
    pub fn closed_by(&self, prompt: &str) -> bool {
        match self {
            Self::Tags(pairs) => prompt.trim_end().ends_with(pairs[0].close.trim_end()),
            Self::Harmony => harmony::answered_by(prompt),
        }
    }

    /// The text that opens reasoning, as a model writes it.
    pub fn begin(&self) -> String {
        match self {
            Self::Tags(pairs) if pairs[0].spaced() => format!("{}\n", pairs[0].open),
            Self::Tags(pairs) => pairs[0].open.clone(),
            Self::Harmony => harmony::header("analysis"),
        }
    }

    /// The text that closes reasoning in the middle, as a model writes it, so that the answer follows.
    pub fn end(&self) -> String {
        match self {
            Self::Tags(pairs) => pairs[0].end(),
            Self::Harmony => harmony::end(),
        }
    }

    /// The text that closes reasoning that a prompt has just opened, without the white space after the opening tag.
    pub fn end_at_once(&self) -> String {
        match self {
            Self::Tags(pairs) if pairs[0].spaced() => format!("\n\n{}\n\n", pairs[0].close),
            _ => self.end(),
        }
    }

    /// Empty reasoning, as models with optional reasoning were trained to see it.
    pub fn none(&self) -> String {
        match self {
            Self::Tags(pairs) if pairs[0].spaced() => format!("{}{}", pairs[0].open, self.end_at_once()),
            Self::Tags(pairs) => format!("{}{}", pairs[0].open, pairs[0].close),
            Self::Harmony => harmony::header("final"),
        }
    }
}

/// Whether a template contains a tag; a line break in it may be written as an escape.
fn mentions(source: &str, tag: &str) -> bool {
    source.contains(tag) || tag.contains('\n') && source.contains(&tag.replace('\n', "\\n"))
}

/// The pairs of tags of which `has` knows both or the closing one: templates that never render reasoning search for its
/// end. `<think>` precedes other pairs.
fn pairs(candidates: &[String], has: &dyn Fn(&str) -> bool) -> Vec<ReasoningTags> {
    let default = ReasoningTags::default();
    let mut found: Vec<_> = (has(&default.close) || has(&default.open)).then_some(default).into_iter().collect();
    let unlikely = UNLIKELY.iter().filter(|(open, close)| has(open.trim_end_matches("thought\n")) && has(close));
    found.extend(unlikely.map(|(open, close)| ReasoningTags::new(*open, *close)));
    for open in candidates.iter().filter(|tag| WORDS.iter().any(|word| tag.to_lowercase().contains(word))) {
        let close = closing(open).into_iter().find(|close| close != open && has(close));
        let pair = close.map(|close| ReasoningTags::new(open.clone(), close));
        found.extend(pair.filter(|pair| !found.contains(pair)));
    }
    found
}

/// The possible closing tags of `open`: `</x>` for `<x>`, `<|x_end|>` for `<|x_start|>`.
fn closing(open: &str) -> Vec<String> {
    let inside = open.find(|c: char| c.is_alphanumeric()).unwrap_or(0);
    let mut found = vec![format!("{}/{}", &open[..inside], &open[inside..])];
    found.extend(ENDS.iter().filter(|(begin, _)| open.contains(begin)).map(|(begin, end)| open.replace(begin, end)));
    found
}

/// All distinct texts in a template that look like tags.
fn tags_in(source: &str) -> Vec<String> {
    const LONGEST: usize = 48;
    let mut tags: Vec<String> = Vec::new();
    for (start, bracket) in source.char_indices() {
        let end = match bracket {
            '<' => '>',
            '[' => ']',
            '◁' => '▷',
            _ => continue,
        };
        let rest = &source[start + bracket.len_utf8()..];
        let Some((at, last)) = rest.char_indices().find(|(_, c)| *c == end || *c == bracket || c.is_whitespace())
        else {
            continue;
        };
        if last == end && (1..=LONGEST).contains(&at) {
            let tag = format!("{bracket}{}{end}", &rest[..at]);
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(template: &str, tokens: &[&str]) -> (Option<ReasoningTags>, DeclaredBy) {
        let tokens: Vec<String> = tokens.iter().map(|t| (*t).to_owned()).collect();
        match ReasoningFormat::of(Some(template), &tokens) {
            (ReasoningFormat::Tags(mut pairs), by) => (Some(pairs.remove(0)), by),
            (ReasoningFormat::Harmony, by) => (None, by),
        }
    }

    #[test]
    fn formats_are_detected_in_templates_then_vocabularies() {
        let tags = |open: &str, close: &str| Some(ReasoningTags::new(open, close));
        for (template, tokens, expected, by) in [
            ("{{ c.split('</think>')[-1] }}", &[][..], tags("<think>", "</think>"), DeclaredBy::Template),
            ("[THINK]{{ t }}[/THINK]", &["<think>"], tags("[THINK]", "[/THINK]"), DeclaredBy::Template),
            ("<seed:think>{{ t }}</seed:think>", &[], tags("<seed:think>", "</seed:think>"), DeclaredBy::Template),
            ("{{ m.content }}", &["[THINK]", "[/THINK]"], tags("[THINK]", "[/THINK]"), DeclaredBy::Vocabulary),
            (
                "<|START_THINKING|>{{ t }}<|END_THINKING|>",
                &[],
                tags("<|START_THINKING|>", "<|END_THINKING|>"),
                DeclaredBy::Template,
            ),
            (
                "'<|channel>thought\\n' + t + '<channel|>'",
                &[],
                tags("<|channel>thought\n", "<channel|>"),
                DeclaredBy::Template,
            ),
            ("", &["<|channel>", "<channel|>"], tags("<|channel>thought\n", "<channel|>"), DeclaredBy::Vocabulary),
            (
                "",
                &["<|inner_prefix|>", "<|inner_suffix|>"],
                tags("<|inner_prefix|>", "<|inner_suffix|>"),
                DeclaredBy::Vocabulary,
            ),
            ("", &["◁think▷", "◁/think▷"], tags("◁think▷", "◁/think▷"), DeclaredBy::Vocabulary),
            (
                "{{ m.reasoning_content }}",
                &["<thought>", "</thought>"],
                tags("<thought>", "</thought>"),
                DeclaredBy::Template,
            ),
            ("<think_fast>{{ x }}", &["<reason>"], tags("<think>", "</think>"), DeclaredBy::Nothing),
            ("x", &["<|start|>", "<|channel|>", "<|message|>"], None, DeclaredBy::Template),
        ] {
            assert_eq!(of(template, tokens), (expected, by), "{template}");
        }
    }

    #[test]
    fn a_vocabulary_may_have_several() {
        let tokens = ["</think>", "<think>", "[THINK]", "[/THINK]"].map(str::to_owned);
        let (format, by) = ReasoningFormat::of(Some("{{ m.content }}"), &tokens);
        let both = vec![ReasoningTags::default(), ReasoningTags::new("[THINK]", "[/THINK]")];
        assert_eq!((format, by), (ReasoningFormat::Tags(both), DeclaredBy::Vocabulary));
    }

    #[test]
    fn prompts_that_open_the_thought() {
        let tags = ReasoningFormat::default();
        assert!(tags.opened_by("<｜Assistant｜><think>\n"));
        assert!(!tags.opened_by("<｜Assistant｜>"));
        assert!(!tags.opened_by("<|assistant|><think>\n\n</think>\n\n"));
        assert!(!tags.opened_by("what is <think>?<｜Assistant｜>"));
    }
}
