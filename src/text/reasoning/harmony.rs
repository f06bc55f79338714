//! Splits output in gpt-oss's harmony format: messages `<|start|>ROLE<|channel|>CHANNEL<|message|>TEXT<|end|>`, the
//! first of which the prompt has begun. `analysis` is the reasoning, `commentary` and `final` are the answer (OpenAI's
//! harmony response format).

use super::super::tools::{END_OF_CALL, RECIPIENT};
use super::{Kind, Pieces, Stage};

/// The tokens that structure messages. The same text without being a token is plain text.
pub(super) const MARKS: [&str; 7] =
    ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"];

/// Those of them after which a message is complete.
const END_OF_MESSAGE: [&str; 4] = ["<|start|>", "<|end|>", "<|call|>", "<|return|>"];
/// The token before a channel's name.
pub(super) const CHANNEL: &str = "<|channel|>";

/// The header of a message in a channel, as it follows a role.
pub(super) fn header(channel: &str) -> String {
    format!("<|channel|>{channel}<|message|>")
}

/// The text that closes reasoning in the middle and begins the answer.
pub(super) fn end() -> String {
    format!("<|end|><|start|>assistant{}", header("final"))
}

/// The text that begins another message of the answer, after the end of the reasoning if that is `open`.
pub(super) fn start(open: bool) -> String {
    format!("{}<|start|>assistant", if open { "<|end|>" } else { "" })
}

/// Whether a prompt ends inside reasoning.
pub(super) fn opened_by(prompt: &str) -> bool {
    last_message(prompt).is_some_and(|(header, text)| channel(header) == Kind::Reasoning && text.trim().is_empty())
}

/// Whether a prompt ends inside an answer.
pub(super) fn answered_by(prompt: &str) -> bool {
    last_message(prompt).is_some_and(|(header, _)| channel(header) == Kind::Text)
}

/// Header and text so far of the message that a prompt leaves open, if its text has begun.
fn last_message(prompt: &str) -> Option<(&str, &str)> {
    let message = &prompt[prompt.rfind("<|start|>")?..];
    let (header, text) = message.split_once("<|message|>")?;
    (!text.contains("<|end|>")).then_some((header, text))
}

/// The kind of a message, by its header.
fn channel(header: &str) -> Kind {
    let channel = header.rsplit_once("<|channel|>").map_or("", |(_, channel)| channel.trim_start());
    if channel.starts_with("analysis") { Kind::Reasoning } else { Kind::Text }
}

#[derive(Debug, Clone)]
pub(super) struct HarmonySplitter {
    state: State,
    /// Whether a message of each kind was emitted before: the next message of that kind begins on a new line.
    given: [bool; 2],
    /// Whether messages to functions are calls, and not text.
    calls: bool,
    /// Whether a mark was seen, so that what stands before a message is a header.
    marked: bool,
}

#[derive(Debug, Clone)]
enum State {
    /// Between `<|start|>` and `<|message|>`: the header so far.
    Header(String),
    /// In a message; `true` once it has text.
    Message(Kind, bool),
    /// After a message.
    Between,
}

impl HarmonySplitter {
    /// Continues from a prompt.
    pub(super) fn after(prompt: &str) -> Self {
        match last_message(prompt) {
            Some((header, _)) if header.contains("assistant") => Self::within(channel(header)),
            _ => Self { state: State::Header(String::new()), given: [false; 2], calls: false, marked: false },
        }
    }

    /// Continues within a message.
    pub(super) fn within(kind: Kind) -> Self {
        Self { state: State::Message(kind, true), given: [false; 2], calls: false, marked: false }
    }

    /// Has messages to functions be calls.
    pub(super) fn expect_calls(&mut self) {
        self.calls = true;
    }

    pub(super) fn in_reasoning(&self) -> bool {
        matches!(self.state, State::Message(Kind::Reasoning, _))
    }

    pub(super) fn stage(&self) -> Stage {
        match &self.state {
            State::Header(header) if header.is_empty() && self.given == [false; 2] => Stage::Start,
            State::Header(_) | State::Between | State::Message(Kind::Reasoning | Kind::Call, _) => Stage::Free,
            State::Message(Kind::Text, _) => Stage::Answer,
        }
    }

    /// What follows [`RECIPIENT`] in a header that is not complete, if messages to functions are calls.
    pub(super) fn recipient(&self) -> Option<&str> {
        let State::Header(header) = &self.state else { return None };
        header.split_once(RECIPIENT).filter(|_| self.calls).map(|(_, name)| name)
    }

    pub(super) fn begin_answer(&mut self) {
        if !matches!(self.state, State::Message(Kind::Text, _)) {
            self.state = State::Message(Kind::Text, false);
        }
    }

    pub(super) fn mark(&mut self, mark: &str) -> Pieces {
        let mut out = Vec::new();
        self.marked = true;
        if matches!(self.state, State::Message(Kind::Call, _)) && END_OF_MESSAGE.contains(&mark) {
            out.push((Kind::Call, END_OF_CALL.to_owned()));
        }
        match (&mut self.state, mark) {
            (_, "<|start|>") => self.state = State::Header(String::new()),
            (State::Header(header), "<|message|>") if self.calls && header.contains(RECIPIENT) => {
                out.push((Kind::Call, format!("{header}{mark}")));
                self.state = State::Message(Kind::Call, false);
            }
            (State::Header(header), "<|message|>") => self.state = State::Message(channel(header), false),
            (State::Header(header), mark) => header.push_str(mark),
            (_, "<|end|>" | "<|call|>" | "<|return|>") => self.state = State::Between,
            (State::Between, "<|channel|>") => self.state = State::Header(mark.into()),
            (State::Message(..) | State::Between, _) => {}
        }
        out
    }

    pub(super) fn text(&mut self, text: &str) -> Pieces {
        match &mut self.state {
            State::Header(header) => {
                header.push_str(text);
                // A model that was fine-tuned without channels answers without a header.
                let begun = header.trim_start();
                if ["<|channel|>", "to=", "assistant"].iter().any(|s| begun.starts_with(s) || s.starts_with(begun)) {
                    return Vec::new();
                }
                let text = std::mem::take(header);
                self.state = State::Message(Kind::Text, false);
                self.give(Kind::Text, &text)
            }
            State::Message(kind, _) => {
                let kind = *kind;
                self.give(kind, text)
            }
            State::Between if text.trim().is_empty() => Vec::new(),
            State::Between => {
                self.state = State::Message(Kind::Text, false);
                self.give(Kind::Text, text)
            }
        }
    }

    fn give(&mut self, kind: Kind, text: &str) -> Pieces {
        if text.is_empty() {
            return Vec::new();
        }
        if kind == Kind::Call {
            return vec![(kind, text.to_owned())];
        }
        let State::Message(_, begun) = &mut self.state else { return Vec::new() };
        let given = &mut self.given[usize::from(kind == Kind::Text)];
        let line = if !*begun && *given { "\n" } else { "" };
        (*begun, *given) = (true, true);
        vec![(kind, format!("{line}{text}"))]
    }

    pub(super) fn finish(&mut self) -> Pieces {
        match &mut self.state {
            State::Header(header) if self.calls && is_addressed(header) => {
                vec![(Kind::Call, std::mem::take(header))]
            }
            // The output was a short answer that looked like the beginning of a header.
            State::Header(header) if !self.marked && !header.trim().is_empty() => {
                let text = std::mem::take(header);
                self.state = State::Message(Kind::Text, false);
                self.give(Kind::Text, &text)
            }
            _ => Vec::new(),
        }
    }
}

/// Whether a header has a recipient, or the beginning of one at its end.
fn is_addressed(header: &str) -> bool {
    let begun = header.trim_start();
    header.contains("to=") || begun.len() > 1 && "to=".starts_with(begun)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, ReasoningFormat, ReasoningSplitter, Stage};
    use super::MARKS;

    /// Reasoning and text of an output, fed with whole marks and the rest in pieces of `size` characters.
    fn split(prompt: &str, output: &str, size: usize) -> (String, String) {
        let mut splitter = ReasoningSplitter::new(&ReasoningFormat::Harmony, prompt);
        let (mut parts, mut rest) = (Vec::new(), output);
        while !rest.is_empty() {
            if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                parts.extend(splitter.push_mark(mark));
                rest = &rest[mark.len()..];
                continue;
            }
            let end = MARKS.iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
            let chars: Vec<char> = rest[..end].chars().collect();
            chars.chunks(size).for_each(|c| parts.extend(splitter.push(&c.iter().collect::<String>())));
            rest = &rest[end..];
        }
        parts.extend(splitter.finish());
        let join = |kind| parts.iter().filter(|(k, _)| *k == kind).map(|(_, t)| t.as_str()).collect();
        (join(Kind::Reasoning), join(Kind::Text))
    }

    #[test]
    fn channels_are_reasoning_and_answer() {
        let start = "<|start|>assistant";
        let cases = [
            (
                start,
                "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi!",
                "Hm.",
                "Hi!",
            ),
            (start, "<|channel|>analysis<|message|>We need to", "We need to", ""),
            (
                start,
                "<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>analysis<|message|>B<|end|><|start|>assistant\
                 <|channel|>commentary<|message|>c<|end|><|start|>assistant<|channel|>final<|message|>d",
                "A\nB",
                "c\nd",
            ),
            (start, "Hello there", "", "Hello there"),
            (start, "to", "", "to"),
            (
                "<|start|>assistant<|channel|>analysis<|message|>",
                "so<|end|><|start|>assistant<|channel|>final<|message|>x",
                "so",
                "x",
            ),
            ("<|start|>assistant<|channel|>final<|message|>", "yes", "", "yes"),
            ("<|start|>user<|message|>hi<|end|><|start|>assistant", " to=user<|channel|>final<|message|>x", "", "x"),
        ];
        for (prompt, output, reasoning, text) in cases {
            for size in [1, 2, 3, 7, 100] {
                assert_eq!(split(prompt, output, size), (reasoning.into(), text.into()), "{output} by {size}");
            }
        }
    }

    #[test]
    fn a_token_is_free_until_the_answer() {
        let mut splitter = ReasoningSplitter::new(&ReasoningFormat::Harmony, "<|start|>assistant");
        assert_eq!((splitter.stage(), splitter.openers()), (Stage::Start, vec!["<|channel|>".to_owned()]));
        for piece in [
            "<|channel|>",
            "analysis",
            "<|message|>",
            "Hm.",
            "<|end|>",
            "<|start|>",
            "assistant",
            "<|channel|>",
            "final",
        ] {
            if MARKS.contains(&piece) {
                splitter.push_mark(piece)
            } else {
                splitter.push(piece)
            };
            assert_eq!(splitter.stage(), Stage::Free, "after {piece}");
        }
        splitter.push_mark("<|message|>");
        assert_eq!(splitter.stage(), Stage::Answer);
        // An answer without a header.
        let mut splitter = ReasoningSplitter::new(&ReasoningFormat::Harmony, "<|start|>assistant");
        splitter.begin_answer();
        assert_eq!((splitter.stage(), splitter.push("to")), (Stage::Answer, vec![(Kind::Text, "to".to_owned())]));
    }

    #[test]
    fn prompts_say_where_they_end() {
        let harmony = ReasoningFormat::Harmony;
        assert!(harmony.opened_by("<|start|>assistant<|channel|>analysis<|message|>"));
        assert!(!harmony.opened_by("<|start|>assistant"));
        assert!(harmony.closed_by("<|start|>assistant<|channel|>final<|message|>"));
        assert!(!harmony.closed_by("<|start|>user<|message|>hi<|end|><|start|>assistant"));
    }
}
