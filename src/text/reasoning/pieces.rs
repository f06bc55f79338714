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
