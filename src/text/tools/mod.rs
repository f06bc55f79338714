//! Finds the tool calls in a model's answer while it streams, in the form that its chat template declares.
//!
//! Forms differ in their markers and in what stands between them: JSON objects, a name and its JSON arguments, Python
//! calls, XML elements. Each has a row in `forms.rs`, and each kind of body a reader, which reads a call from its beginning
//! whenever text arrives: calls are short, and so a result cannot depend on how the text is cut.

mod braces;
mod cursor;
mod format;
mod forms;
mod grammar;
mod json;
mod literal;
mod named;
mod offer;
mod parser;
mod python;
mod schema;
mod xml;

pub use format::ToolFormat;
pub use grammar::CallRules;
pub(crate) use named::{END_OF_CALL, RECIPIENT};
pub(crate) use offer::{described, spelled_out};
pub use parser::{Beginning, IncompleteCall, ToolEvent, ToolParser};

/// What a reader found at the beginning of a text.
#[derive(Debug)]
enum Read {
    /// What may become a call; more text decides.
    Partial(Draft),
    /// A call, and the bytes that it takes.
    Call(Draft, usize),
    /// So many bytes that separate calls.
    Separators(usize),
    /// No further call: so many bytes belong to the calls before, and the rest does not.
    End(usize),
    /// Not a call.
    Not,
}

/// What is known of a call.
#[derive(Debug, Default)]
struct Draft {
    /// The name, once it is complete.
    name: Option<String>,
    /// The id, if the model writes one.
    id: Option<String>,
    /// The arguments: JSON text, or the beginning of it.
    input: String,
    /// Whether the text can be something else, so that a call that was cut is text instead.
    doubtful: bool,
    /// Whether only separators were read, and no call has begun.
    between: bool,
}

impl Draft {
    /// Separators after a call.
    fn between() -> Self {
        Self { between: true, ..Self::default() }
    }
}

/// Why a reader stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The text ends too early.
    More,
    /// The text is not of the form.
    Bad,
}

/// Where a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    Open,
    /// The token limit cut it.
    Cut,
    /// The model ended its turn.
    Turn,
}

/// The result of a reader that stopped with what it had.
fn stopped(stop: Stop, draft: Draft) -> Read {
    match stop {
        Stop::More => Read::Partial(draft),
        Stop::Bad => Read::Not,
    }
}
