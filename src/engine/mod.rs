//! The engine: loads a model and generates with it. The only place that sees everything.

mod cached;
mod conversations;
mod copies;
mod estimate;
mod generate;
mod generation;
mod load;
mod options;
mod output;
mod pace;
mod saved;
mod score;
mod session;

pub use copies::COPIES;
pub use estimate::{Estimate, FileSize, Fit, FitReason, Limits, estimate};
pub use generation::{FinishReason, GenerateResult, Input, StreamPart, TokenLogprob, Usage};
pub use load::{LoadOptions, ModelInfo, Progress, Source, Stage, accept, gguf_vocab, rope_factors, tokenizer};
pub use options::{GenerateOptions, Logprobs, Reasoning, ReasoningMode};
pub use score::LogitRows;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use copies::Conversations;
use session::Session;

use crate::gpu::{Device, MemoryUse};
use crate::model::config::GenerationDefaults;
use crate::text::{ChatTemplate, ReasoningFormat, Tokenizer, TokenizerConfig};
use crate::{Error, Result};

/// What the engine cannot know by itself.
#[derive(Clone, Copy)]
pub struct Host {
    /// A monotonic clock, in milliseconds.
    pub clock: fn() -> f64,
    /// The local time in seconds since 1970-01-01, for chat templates that print the date.
    pub local_time: fn() -> i64,
    /// A seed for generations that ask for none.
    pub seed: fn() -> u64,
    /// Tells a developer what is not as it should be, and does not stop anything.
    pub warn: fn(&str),
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

/// A loaded model.
pub struct Engine {
    id: String,
    info: ModelInfo,
    host: Host,
    session: Session,
    tokenizer: Tokenizer,
    tokenizer_config: TokenizerConfig,
    template: Option<ChatTemplate>,
    reasoning: ReasoningFormat,
    defaults: GenerationDefaults,
    stop_ids: Vec<u32>,
    /// Prompts are fed whole, whatever is in the KV cache.
    without_reuse: bool,
    conversations: RefCell<Conversations>,
    /// Bytes that copies of conversations take on the GPU, at most.
    copies_budget: u64,
    /// What tells this model from others, once it was asked for.
    digest: RefCell<Option<String>>,
    busy: Cell<bool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("id", &self.id).field("info", &self.info).finish()
    }
}

impl Engine {
    /// What was loaded: a repository, folder or file name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Facts about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// GPU bytes held, by role.
    pub fn memory(&self) -> MemoryUse {
        self.session.executor.memory()
    }

    /// The device the model is on.
    pub fn device(&self) -> &Device {
        self.session.executor.device()
    }

    /// What the GPU has been asked to do so far.
    pub fn counts(&self) -> crate::gpu::Counts {
        self.session.executor.counts()
    }

    /// The recorded plans.
    pub fn plans(&self) -> &crate::model::Plans {
        &self.session.plans
    }

    /// The chat template.
    ///
    /// # Errors
    /// [`Error::Template`] where the model has none.
    pub fn template(&self) -> Result<&ChatTemplate> {
        match &self.template {
            Some(template) => Ok(template),
            None => Err(self.tokenizer_config.chat_template(false).err().unwrap_or(Error::Template {
                kind: crate::TemplateKind::Missing,
                message: "the model has no chat template".into(),
            })),
        }
    }

    /// Takes the model for one call: its KV cache and state serve one at a time. The JavaScript side queues.
    fn take(&self) -> Result<Taken<'_>> {
        if self.busy.replace(true) {
            return Err(Error::Internal { message: "another call is running on this model".into() });
        }
        Ok(Taken(&self.busy))
    }

    /// The device, for [`Device::lost`].
    pub fn device_handle(&self) -> Rc<Device> {
        self.session.executor.device_handle()
    }
}

struct Taken<'a>(&'a Cell<bool>);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
