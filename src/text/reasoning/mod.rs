//! The thought and the answer of models that think, told apart while they stream.

mod format;
mod harmony;
mod pieces;
mod tags;

pub use format::{DeclaredBy, ReasoningFormat, ReasoningTags};
pub use pieces::{Kind, Pieces};

use harmony::HarmonySplitter;
use tags::TagSplitter;

/// Splits streamed output into thought and answer. No part of a mark is ever given out as text.
#[derive(Debug, Clone)]
pub struct ReasoningSplitter(Splitter);

#[derive(Debug, Clone)]
enum Splitter {
    Tags(TagSplitter),
    Harmony(HarmonySplitter),
}

impl ReasoningSplitter {
    /// Begins the stream that follows a rendered prompt, which may have opened the thought.
    pub fn new(format: &ReasoningFormat, prompt: &str) -> Self {
        Self(match format {
            ReasoningFormat::Tags(tags) => Splitter::Tags(TagSplitter::new(tags, format.opened_by(prompt))),
            ReasoningFormat::Harmony => Splitter::Harmony(HarmonySplitter::after(prompt)),
        })
    }

    /// Begins a stream that goes on inside a thought that has text already: its white space counts.
    pub fn resumed(format: &ReasoningFormat) -> Self {
        Self(match format {
            ReasoningFormat::Tags(tags) => Splitter::Tags(TagSplitter::resumed(tags)),
            ReasoningFormat::Harmony => Splitter::Harmony(HarmonySplitter::within(Kind::Reasoning)),
        })
    }

    /// Begins a stream after a thought that the prompt closed: all of it is answer.
    pub fn closed(format: &ReasoningFormat) -> Self {
        Self(match format {
            ReasoningFormat::Tags(tags) => Splitter::Tags(TagSplitter::closed(tags)),
            ReasoningFormat::Harmony => Splitter::Harmony(HarmonySplitter::within(Kind::Text)),
        })
    }

    /// Whether the output is in a thought now.
    pub fn in_reasoning(&self) -> bool {
        match &self.0 {
            Splitter::Tags(tags) => tags.in_reasoning(),
            Splitter::Harmony(harmony) => harmony.in_reasoning(),
        }
    }

    /// What ends the thought that the output is in, so that the answer follows.
    pub fn end(&self) -> String {
        match &self.0 {
            Splitter::Tags(tags) => tags.tags().end(),
            Splitter::Harmony(_) => harmony::end(),
        }
    }

    /// Takes the next piece of text and returns what is certain, in order.
    pub fn push(&mut self, piece: &str) -> Pieces {
        match &mut self.0 {
            Splitter::Tags(tags) => tags.push(piece),
            Splitter::Harmony(harmony) => harmony.text(piece),
        }
    }

    /// Takes the text of a token that [`ReasoningFormat::is_mark`] holds for one.
    pub fn push_mark(&mut self, mark: &str) -> Pieces {
        match &mut self.0 {
            Splitter::Tags(tags) => tags.push(mark),
            Splitter::Harmony(harmony) => harmony.mark(mark),
        }
    }

    /// Ends the stream: what was held back.
    pub fn finish(&mut self) -> Pieces {
        match &mut self.0 {
            Splitter::Tags(tags) => tags.finish(),
            Splitter::Harmony(harmony) => harmony.finish(),
        }
    }
}
