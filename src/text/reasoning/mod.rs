//! Separates a model's reasoning from its answer while both stream.
//!
//! The format is a pair of tags or harmony's channels, as the chat template declares it, else the vocabulary. Marks may be
//! special tokens or plain text, and may arrive in pieces; no part of a mark is ever given out as text.

mod format;
mod harmony;
mod pieces;
mod tags;

pub use format::{DeclaredBy, ReasoningFormat, ReasoningTags};
pub use pieces::{Kind, Pieces, Stage};

use harmony::HarmonySplitter;
use tags::TagSplitter;

/// Splits streamed output into reasoning and answer. No part of a tag is ever emitted as text.
#[derive(Debug, Clone)]
pub struct ReasoningSplitter(Splitter);

#[derive(Debug, Clone)]
enum Splitter {
    Tags(TagSplitter),
    Harmony(HarmonySplitter),
}

impl ReasoningSplitter {
    /// Starts after a rendered prompt, which may have opened the reasoning.
    pub fn new(format: &ReasoningFormat, prompt: &str) -> Self {
        Self(match format {
            ReasoningFormat::Tags(tags) => Splitter::Tags(TagSplitter::new(tags, format.opened_by(prompt))),
            ReasoningFormat::Harmony => Splitter::Harmony(HarmonySplitter::after(prompt)),
        })
    }

    /// Starts inside reasoning that already has text, so that leading white space is kept.
    pub fn resumed(format: &ReasoningFormat) -> Self {
        Self(match format {
            ReasoningFormat::Tags(tags) => Splitter::Tags(TagSplitter::resumed(tags)),
            ReasoningFormat::Harmony => Splitter::Harmony(HarmonySplitter::within(Kind::Reasoning)),
        })
    }

    /// Starts after reasoning that the prompt closed: all output is the answer.
    pub fn closed(format: &ReasoningFormat) -> Self {
        Self(match format {
            ReasoningFormat::Tags(tags) => Splitter::Tags(TagSplitter::closed(tags)),
            ReasoningFormat::Harmony => Splitter::Harmony(HarmonySplitter::within(Kind::Text)),
        })
    }

    /// Has harmony's messages to functions be [`Kind::Call`], for a parser of calls; without it they are text.
    #[must_use]
    pub fn with_calls(mut self) -> Self {
        if let Splitter::Harmony(harmony) = &mut self.0 {
            harmony.expect_calls();
        }
        self
    }

    /// Whether the output is currently inside the reasoning.
    pub fn in_reasoning(&self) -> bool {
        match &self.0 {
            Splitter::Tags(tags) => tags.in_reasoning(),
            Splitter::Harmony(harmony) => harmony.in_reasoning(),
        }
    }

    /// Where in the output the next token is.
    pub fn stage(&self) -> Stage {
        match &self.0 {
            Splitter::Tags(tags) => tags.stage(),
            Splitter::Harmony(harmony) => harmony.stage(),
        }
    }

    /// The function that a message of harmony's is addressed to, so far: from the first letter of its name to the message's text.
    pub fn recipient(&self) -> Option<&str> {
        match &self.0 {
            Splitter::Tags(_) => None,
            Splitter::Harmony(harmony) => harmony.recipient(),
        }
    }

    /// The marks that may open the reasoning at the start of an output.
    pub fn openers(&self) -> Vec<String> {
        match &self.0 {
            Splitter::Tags(tags) => tags.openers(),
            Splitter::Harmony(_) => vec![harmony::CHANNEL.to_owned()],
        }
    }

    /// Has all that follows be the answer, white space included.
    pub fn begin_answer(&mut self) {
        match &mut self.0 {
            Splitter::Tags(tags) => tags.begin_answer(),
            Splitter::Harmony(harmony) => harmony.begin_answer(),
        }
    }

    /// The text that closes the current reasoning, so that the answer follows.
    pub fn end(&self) -> String {
        match &self.0 {
            Splitter::Tags(tags) => tags.tags().end(),
            Splitter::Harmony(_) => harmony::end(),
        }
    }

    /// The text between the reasoning and a call; `open` if the reasoning is still to be closed.
    pub fn end_before_call(&self, open: bool) -> String {
        match &self.0 {
            Splitter::Tags(tags) => {
                let end = tags.tags().end();
                let close = end.find(&tags.tags().close).unwrap_or(0) + tags.tags().close.len();
                if open { end } else { end[close..].to_owned() }
            }
            Splitter::Harmony(_) => harmony::start(open),
        }
    }

    /// Processes the next piece of text and returns the pieces that are certain, in order.
    pub fn push(&mut self, piece: &str) -> Pieces {
        match &mut self.0 {
            Splitter::Tags(tags) => tags.push(piece),
            Splitter::Harmony(harmony) => harmony.text(piece),
        }
    }

    /// Processes the text of a token for which [`ReasoningFormat::is_mark`] is true.
    pub fn push_mark(&mut self, mark: &str) -> Pieces {
        match &mut self.0 {
            Splitter::Tags(tags) => tags.push(mark),
            Splitter::Harmony(harmony) => harmony.mark(mark),
        }
    }

    /// Ends the stream and returns what was held back.
    pub fn finish(&mut self) -> Pieces {
        match &mut self.0 {
            Splitter::Tags(tags) => tags.finish(),
            Splitter::Harmony(harmony) => harmony.finish(),
        }
    }
}
