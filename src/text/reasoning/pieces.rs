//! What output is split into.

/// Which part of the output a text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The reasoning before the answer.
    Reasoning,
    /// The answer.
    Text,
    /// A message of harmony's that calls a tool, with its header and its last token.
    Call,
}

/// Pieces of output, in order.
pub type Pieces = Vec<(Kind, String)>;

/// Where in an output a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// At the start: the reasoning may begin, or the answer.
    Start,
    /// In the reasoning, or between messages of which one is.
    Free,
    /// After the reasoning, where white space belongs to nothing.
    Gap,
    /// In the answer.
    Answer,
}
