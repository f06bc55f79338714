//! The engine: loads a model and generates with it. The only module that depends on all others.

mod binding;
mod bound;
mod cached;
mod choice;
mod choices;
mod constraint;
mod conversations;
mod copies;
mod description;
mod engine_options;
mod estimate;
mod fit;
mod generate;
mod generation;
mod linked;
mod load;
mod load_options;
mod options;
mod output;
mod pace;
mod request;
mod rules;
mod runner;
mod saved;
mod score;
mod tool_choice;
mod tools;

pub use choices::Choices;
pub use constraint::{Constraint, Grammars, Matcher, StartGrammars, Starting, Vocabulary};
pub use copies::COPIES;
pub use description::{gguf_vocab, rope_factors, tokenizer};
pub use engine_options::EngineOptions;
pub use estimate::{Devices, Estimate, FileSize, Fit, FitReason, Limits, estimate};
pub use generation::{FinishReason, GenerateResult, IncompleteToolCall, Input, StreamPart, TokenLogprob, Usage};
pub use linked::linked_grammars;
pub use load::{ModelInfo, Progress, RunsOn, Source, Stage, accept};
pub use load_options::{LoadOptions, RunOn};
pub use options::{GenerateOptions, Logprobs, Reasoning, ReasoningMode, ScoreOptions};
pub use score::{LogitRows, logit_rows};
pub use tool_choice::{ToolChoice, ToolChoiceMode};

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;

use copies::Conversations;
use runner::ModelRunner;

use crate::model::config::GenerationDefaults;
use crate::plan::{Counts, Executor, MemoryUse};
use crate::text::{ChatTemplate, ReasoningFormat, Tokenizer, TokenizerConfig, ToolFormat};
use crate::{Error, Result};

/// Starts workers on the processor.
pub type StartWorkers = fn(crate::cpu::Arithmetic, Option<usize>) -> crate::cpu::Starting;

/// Clocks, randomness and logging that the host environment provides.
#[derive(Clone, Copy)]
pub struct Host {
    /// A monotonic clock, in milliseconds.
    pub clock: fn() -> f64,
    /// The local time in seconds since 1970-01-01, for chat templates that print the date.
    pub local_time: fn() -> i64,
    /// A seed for generations without a `seed` option.
    pub seed: fn() -> u64,
    /// Logs a warning for developers.
    pub warn: fn(&str),
    /// Starts workers on the processor: so many, or as many as suit the machine.
    pub workers: StartWorkers,
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
    /// What the model runs on.
    device: RefCell<RunsOn>,
    /// The options of the load, with what was fitted to the device.
    fitted: LoadOptions,
    runner: RefCell<Rc<ModelRunner>>,
    tokenizer: Tokenizer,
    tokenizer_config: TokenizerConfig,
    template: Option<ChatTemplate>,
    /// The template for conversations with tools, if the model has a separate one.
    tool_template: Option<ChatTemplate>,
    reasoning: ReasoningFormat,
    tool_format: ToolFormat,
    defaults: GenerationDefaults,
    stop_ids: Vec<u32>,
    /// Whether prefix reuse is disabled: every prompt is prefilled from its first token.
    without_reuse: bool,
    conversations: RefCell<Conversations>,
    /// Bytes that snapshots of conversations may take on the GPU.
    copies_budget: u64,
    /// The digest that identifies this model's weights, computed on first use.
    digest: RefCell<Option<String>>,
    busy: Cell<bool>,
    /// Moves the model elsewhere when its device is lost.
    fallback: RefCell<Option<Fallback>>,
    /// Starts the source of masks of constraints.
    start_grammars: RefCell<StartGrammars>,
    /// The source of masks, once a constraint was used.
    grammars: RefCell<Option<Rc<dyn Grammars>>>,
}

/// Moves a model elsewhere: it calls [`Engine::move_to_cpu`].
pub type Fallback = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>>>>>;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("id", &self.id).field("info", &self.info).finish()
    }
}

impl Engine {
    /// The name of the loaded model: a repository, folder or file name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Facts about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// What the model runs on: [`Self::info`] says what it was loaded on.
    pub fn device(&self) -> RunsOn {
        self.device.borrow().clone()
    }

    /// Has calls that meet a lost device run `fallback` and go on.
    pub fn set_fallback(&self, fallback: Fallback) {
        self.fallback.replace(Some(fallback));
    }

    /// Sets where the masks of constraints come from: by default what is linked into this program.
    pub fn set_grammars(&self, start: StartGrammars) {
        self.start_grammars.replace(start);
        self.grammars.take();
    }

    /// The source of masks, which is started when it is first used.
    async fn grammars(&self) -> Result<Rc<dyn Grammars>> {
        if let Some(grammars) = self.grammars.borrow().clone().filter(|grammars| grammars.usable()) {
            return Ok(grammars);
        }
        let start = self.start_grammars.borrow().clone();
        let grammars = start(self.vocabulary()).await?;
        self.grammars.replace(Some(grammars.clone()));
        Ok(grammars)
    }

    /// The tokens of the model, as a source of masks wants them.
    pub fn vocabulary(&self) -> Vocabulary {
        Vocabulary::new(&self.tokenizer, self.info.vocab_size, &self.stop_ids)
    }

    /// Runs the fallback after `error`, if that is the loss of the device and there is one; otherwise returns the error.
    async fn fall_back(&self, error: Error) -> Result<()> {
        let fallback = self.fallback.borrow().clone().filter(|_| matches!(error, Error::DeviceLost { .. }));
        fallback.ok_or(error)?().await?;
        self.fallback.take(); // the processor is not lost
        Ok(())
    }

    /// Waits for what is under way, and runs the fallback if the device was lost meanwhile.
    async fn ready(&self) -> Result<()> {
        match self.runner().executor.idle().await {
            Ok(()) => Ok(()),
            Err(error) => self.fall_back(error).await,
        }
    }

    fn runner(&self) -> Rc<ModelRunner> {
        self.runner.borrow().clone()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Bytes held, by role.
    pub fn memory(&self) -> MemoryUse {
        self.runner().executor.memory()
    }

    /// What the model runs on.
    pub fn executor(&self) -> Rc<dyn Executor> {
        self.runner().executor.clone()
    }

    /// Counts of the work submitted so far.
    pub fn counts(&self) -> Counts {
        self.runner().executor.counts()
    }

    /// The recorded plans.
    pub fn plans(&self) -> crate::model::Plans {
        self.runner().plans.clone()
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

    /// Locks the model for one call, as its KV cache and state serve one call at a time. The JavaScript side queues
    /// calls.
    fn take(&self) -> Result<Taken<'_>> {
        if self.busy.replace(true) {
            return Err(Error::Internal { message: "another call is running on this model".into() });
        }
        Ok(Taken(&self.busy))
    }
}

struct Taken<'a>(&'a Cell<bool>);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
