//! Splits off reasoning between a pair of tags at the start of the output.

use super::super::stop::partial_suffix;
use super::format::ReasoningTags;
use super::{Kind, Pieces, Stage};

/// Splits output whose reasoning is between tags at its start, or begins at the start if the prompt opened it.
/// Reasoning that is never closed takes the whole output. White space around the tags belongs to neither part. Tags may
/// arrive in pieces. A tag inside the answer is plain text.
#[derive(Debug, Clone)]
pub(super) struct TagSplitter {
    /// The pairs of tags that may mark the reasoning, the likeliest first.
    pairs: Vec<ReasoningTags>,
    /// The index of the pair in use.
    current: usize,
    state: State,
    held: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far: reasoning may begin.
    Start,
    /// In the reasoning; `true` once it has text.
    Thought(bool),
    /// After the reasoning, before the answer's first character.
    Gap,
    Answer,
}

impl TagSplitter {
    /// Starts a stream; `opened` if the prompt already opened the reasoning.
    pub(super) fn new(pairs: &[ReasoningTags], opened: bool) -> Self {
        Self::begun(pairs, if opened { State::Thought(false) } else { State::Start })
    }

    /// Starts inside reasoning that already has text, so that leading white space is kept.
    pub(super) fn resumed(pairs: &[ReasoningTags]) -> Self {
        Self::begun(pairs, State::Thought(true))
    }

    /// Starts after reasoning that the prompt closed: all output is the answer.
    pub(super) fn closed(pairs: &[ReasoningTags]) -> Self {
        Self::begun(pairs, State::Gap)
    }

    fn begun(pairs: &[ReasoningTags], state: State) -> Self {
        Self { pairs: pairs.to_vec(), current: 0, state, held: String::new() }
    }

    /// The tags in use.
    pub(super) fn tags(&self) -> &ReasoningTags {
        &self.pairs[self.current]
    }

    /// Whether the output is currently inside the reasoning.
    pub(super) fn in_reasoning(&self) -> bool {
        matches!(self.state, State::Thought(_))
    }

    pub(super) fn stage(&self) -> Stage {
        match self.state {
            State::Start => Stage::Start,
            State::Thought(_) => Stage::Free,
            State::Gap => Stage::Gap,
            State::Answer => Stage::Answer,
        }
    }

    pub(super) fn openers(&self) -> Vec<String> {
        self.pairs.iter().map(|pair| pair.open.clone()).collect()
    }

    pub(super) fn begin_answer(&mut self) {
        if self.state != State::Answer {
            self.held.clear(); // white space, or nothing
            self.state = State::Answer;
        }
    }

    /// Processes the next piece and returns the pieces that are certain, in order.
    pub(super) fn push(&mut self, piece: &str) -> Pieces {
        self.held.push_str(piece);
        let mut out = Vec::new();
        while self.step(&mut out) {}
        out
    }

    /// Ends the stream and returns what was held back.
    pub(super) fn finish(&mut self) -> Pieces {
        let rest = std::mem::take(&mut self.held);
        let seen = rest.trim_start();
        let cut = |pair: &ReasoningTags| seen.chars().count() > 1 && pair.open.starts_with(seen);
        let (kind, text) = match self.state {
            State::Start if self.pairs.iter().any(cut) => return Vec::new(), // within the opening tag
            State::Thought(_) => (Kind::Reasoning, rest.trim_end()),
            State::Gap => (Kind::Text, rest.trim_start()),
            State::Start | State::Answer => (Kind::Text, rest.as_str()),
        };
        if text.is_empty() { Vec::new() } else { vec![(kind, text.to_owned())] }
    }

    /// Advances by one step; `false` if more input is needed.
    fn step(&mut self, out: &mut Pieces) -> bool {
        match self.state {
            State::Start => {
                let seen = self.held.trim_start();
                let opened = |pair: &ReasoningTags| seen.starts_with(&pair.open);
                if let Some(current) = self.pairs.iter().position(opened) {
                    self.current = current;
                    self.held = seen[self.tags().open.len()..].to_owned();
                    // If the prompt ends in the opening tag and the model repeats it, the repetition is dropped.
                    self.state = State::Thought(false);
                    return true;
                }
                if self.pairs.iter().any(|pair| pair.open.starts_with(seen)) {
                    return false;
                }
                self.state = State::Answer;
                true
            }
            State::Thought(begun) => self.think(begun, out),
            State::Gap => {
                let answer = self.held.trim_start();
                if answer.is_empty() {
                    return false;
                }
                self.held = answer.to_owned();
                self.state = State::Answer;
                true
            }
            State::Answer => {
                if !self.held.is_empty() {
                    out.push((Kind::Text, std::mem::take(&mut self.held)));
                }
                false
            }
        }
    }

    fn think(&mut self, begun: bool, out: &mut Pieces) -> bool {
        if !begun {
            let seen = self.held.trim_start();
            if let Some(rest) = seen.strip_prefix(self.tags().open.as_str()) {
                self.held = rest.to_owned();
                return true;
            }
            if self.tags().open.starts_with(seen) {
                return false;
            }
            self.held = seen.to_owned();
            self.state = State::Thought(true);
        }
        if let Some(at) = self.held.find(self.tags().close.as_str()) {
            let thought = self.held[..at].trim_end();
            if !thought.is_empty() {
                out.push((Kind::Reasoning, thought.to_owned()));
            }
            let end = at + self.tags().close.len();
            self.held.drain(..end);
            self.state = State::Gap;
            return true;
        }
        // Trailing white space is held back, as the closing tag may follow.
        let certain = self.held.len() - partial_suffix(&self.held, &self.tags().close);
        let certain = self.held[..certain].trim_end().len();
        if certain > 0 {
            let rest = self.held.split_off(certain);
            out.push((Kind::Reasoning, std::mem::replace(&mut self.held, rest)));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `output` fed in pieces of `size` characters.
    fn split(output: &str, opened: bool, size: usize) -> (String, String) {
        let mut splitter = TagSplitter::new(&[ReasoningTags::default()], opened);
        let chars: Vec<char> = output.chars().collect();
        let mut parts: Vec<(Kind, String)> =
            chars.chunks(size).flat_map(|c| splitter.push(&c.iter().collect::<String>())).collect();
        parts.extend(splitter.finish());
        let join = |kind| parts.iter().filter(|(k, _)| *k == kind).map(|(_, t)| t.as_str()).collect();
        (join(Kind::Reasoning), join(Kind::Text))
    }

    #[test]
    fn resumed_reasoning_keeps_its_white_space() {
        let mut splitter = TagSplitter::resumed(&[ReasoningTags::default()]);
        let mut parts = splitter.push(" 2+2 is 4.\n</think>\n\n4");
        parts.extend(splitter.finish());
        let want = [(Kind::Reasoning, " 2+2 is 4."), (Kind::Text, "4")];
        assert_eq!(parts, want.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn the_same_however_the_tags_are_cut() {
        let cases = [
            ("<think>\na < b\n\nso\n</think>\n\n4 <think>", false, "a < b\n\nso", "4 <think>"),
            ("Okay.\n</think>\n\n4", true, "Okay.", "4"),
            ("<think>\nagain\n</think>x", true, "again", "x"),
            ("\n\n</think>\n\nno thought", true, "", "no thought"),
            ("<think>\n\n</think>\n\nempty", false, "", "empty"),
            ("<think>never closes </thin", false, "never closes </thin", ""),
            ("plain <think> text", false, "", "plain <think> text"),
            ("<thin air", false, "", "<thin air"),
            ("", true, "", ""),
            ("  indented", false, "", "  indented"),
        ];
        for (output, opened, reasoning, text) in cases {
            for size in [1, 2, 3, 5, 7, 100] {
                assert_eq!(split(output, opened, size), (reasoning.into(), text.into()), "{output:?} by {size}");
            }
        }
    }

    #[test]
    fn thoughts_stream_without_delay() {
        let mut splitter = TagSplitter::new(&[ReasoningTags::default()], true);
        assert_eq!(splitter.push("\nI think"), [(Kind::Reasoning, "I think".to_owned())]);
        assert!(splitter.in_reasoning());
        assert_eq!(splitter.push(" so"), [(Kind::Reasoning, " so".to_owned())]);
        assert!(splitter.push("\n</").is_empty());
        assert!(splitter.push("think>\n").is_empty());
        assert!(!splitter.in_reasoning());
        assert_eq!(splitter.push("\nyes"), [(Kind::Text, "yes".to_owned())]);
    }
}
