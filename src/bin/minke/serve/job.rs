//! What the threads of HTTP and of the engine tell each other.

use minke::engine::{Engine, GenerateOptions, GenerateResult, Input, StreamPart};
use minke::{Cancel, Error};
use pollster::block_on;
use tokio::sync::mpsc::UnboundedSender;

/// Answers that a request asks for.
pub struct Ask {
    pub input: Input,
    pub options: GenerateOptions,
    /// How many.
    pub n: usize,
}

/// A generation to carry out.
pub struct Job {
    pub input: Input,
    pub options: GenerateOptions,
    /// Receives what happens. Once nobody listens any more, the generation is aborted.
    pub events: UnboundedSender<Event>,
}

/// What happens in a job.
pub enum Event {
    Part(StreamPart),
    /// The last event.
    Done(Box<Result<GenerateResult, Error>>),
}

impl Job {
    /// Carries it out, on the thread of the engine.
    pub fn carry_out(self, engine: &Engine) {
        let Self { input, options, events } = self;
        let cancel = Cancel::default();
        let mut emit = |part| {
            if events.send(Event::Part(part)).is_err() {
                cancel.abort();
            }
        };
        let result = block_on(engine.generate(input, &options, &cancel, &mut emit));
        let _ = events.send(Event::Done(Box::new(result))); // who asked may be gone
    }
}
