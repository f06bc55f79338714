//! Loads a checkpoint on an executor: allocates its buffers, builds its pipelines, fills its weights, and tests the kernels.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use serde::Serialize;

use super::choice::{Choice, failures, runs, without};
use super::description::Description;
use super::fit::{Fitting, choices};
use super::runner::{ModelRunner, Pipelines};

use super::load_options::{LoadOptions, RunOn};
use super::{Engine, Host};
use crate::cpu::{Arithmetic, Cpu};
use crate::gpu::Gpu;
use crate::kernels::Variants;
use crate::model::{CHUNK, Model, ModelOptions, QUEUED_STEPS, architecture, architecture_name, suited_chunk};
use crate::plan::{Allocation, DeviceFacts, Executor, Plan};
use crate::text::{ChatTemplate, DeclaredBy};
use crate::weights::checkpoint::{Checkpoint, ConfigFacts, Format};
use crate::weights::load::{bytes_to_read, load, staging};
use crate::weights::source::{ByteSource, Folder};
use crate::{Cancel, Error, Result, Warning, WarningCode};

/// The stage of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reading weights and writing them to the GPU, in bytes.
    Download,
    /// Building pipelines, counted.
    Compile,
}

/// How far a load is (`Progress` of the JavaScript API).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub struct Progress {
    pub stage: Stage,
    pub loaded: u64,
    pub total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    pub from_cache: bool,
}

/// Facts about a loaded model (`ModelInfo` of the JavaScript API).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub struct ModelInfo {
    pub architecture: String,
    pub parameters: u64,
    pub active_parameters: u64,
    pub quantization: String,
    pub context_length: usize,
    pub vocab_size: usize,
    /// What the model runs on.
    pub device: RunsOn,
    pub format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template_hash: Option<String>,
    pub capabilities: Capabilities,
    /// Faults that the load worked around.
    pub warnings: Vec<Warning>,
}

/// What a model runs on.
#[derive(Debug, Clone, Serialize)]
pub struct RunsOn {
    /// "gpu" or "cpu".
    pub kind: &'static str,
    /// The adapter's name, as far as the platform tells it.
    pub name: String,
    /// Why it was chosen.
    pub reason: String,
}

/// Capabilities of a model.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs)] // documented in pkg/src/types.ts
pub struct Capabilities {
    pub chat: bool,
    pub tools: bool,
    pub reasoning: bool,
}

/// Rejects an unsupported architecture before any weight is fetched.
pub fn accept(facts: &ConfigFacts) -> Result<()> {
    architecture(&architecture_name(facts)?).map(drop)
}

/// The source of a checkpoint.
#[derive(Clone)]
pub enum Source<'a> {
    /// A Hugging Face folder, or a GGUF file in it.
    Folder(&'a dyn Folder, Option<&'a str>),
    /// A GGUF file, with its siblings in a folder if it is split.
    Gguf(Rc<dyn ByteSource>, Option<&'a dyn Folder>),
}

impl Source<'_> {
    /// Reads the headers. An unsupported architecture is rejected before any weight is read.
    ///
    /// # Errors
    /// Faults of the files, [`Error::Architecture`].
    pub async fn open(self) -> Result<Checkpoint> {
        match self {
            Self::Folder(folder, file) => {
                let mut checkpoint = match file {
                    Some(name) => Checkpoint::open_gguf_in(folder, name, &accept).await?,
                    None => Checkpoint::open_folder(folder, &accept).await?,
                };
                checkpoint.id = folder.id().to_owned();
                Ok(checkpoint)
            }
            Self::Gguf(file, folder) => Checkpoint::open_gguf(file, folder, &accept).await,
        }
    }
}

impl Engine {
    /// Loads a Hugging Face folder, or the GGUF file `file` in it.
    pub async fn load_folder(
        folder: &dyn Folder,
        file: Option<&str>,
        options: LoadOptions,
        host: Host,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        Self::load(&Source::Folder(folder, file).open().await?, options, host, cancel, progress).await
    }

    /// Loads a GGUF file, with its siblings in `folder` if it is split.
    pub async fn load_gguf(
        file: Rc<dyn ByteSource>,
        folder: Option<&dyn Folder>,
        options: LoadOptions,
        host: Host,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        Self::load(&Source::Gguf(file, folder).open().await?, options, host, cancel, progress).await
    }

    /// Loads an opened checkpoint where the options say.
    ///
    /// # Errors
    /// [`Error::NoWebGpu`] where a GPU is requested and there is none, and the errors of [`Self::load_on`].
    pub async fn load(
        checkpoint: &Checkpoint,
        options: LoadOptions,
        host: Host,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        cancel.check()?;
        let mut description = Description::read(checkpoint).await?; // faults of the files are reported before those of the GPU
        let (executor, mut reason) = open(&options, host).await?;
        let on_gpu = !executor.facts().cpu;
        let of_files = description.warnings.len();
        let mut placed = place(executor, checkpoint, &mut description, &options, host, cancel, progress).await;
        match &placed {
            // A GPU that computes wrong results, or goes away, is as good as none.
            Err(error @ (Error::NoWebGpu { .. } | Error::DeviceLost { .. }))
                if on_gpu && options.run_on == RunOn::Auto =>
            {
                reason = error.to_string();
                let cpu = open_cpu(&options, host).await?;
                description.warnings.truncate(of_files); // those of the GPU go with it
                placed = place(cpu, checkpoint, &mut description, &options, host, cancel, progress).await;
            }
            _ => {}
        }
        let mut placed = placed?;
        placed.info.device.reason = reason;
        cancel.check()?;
        Ok(Self::of(checkpoint, description, host, placed))
    }

    /// Loads an opened checkpoint on an executor that holds nothing.
    ///
    /// # Errors
    /// Every fault of its files, [`Error::NoWebGpu`] where the executor computes wrong results, [`Error::Memory`],
    /// [`Error::BufferLimit`], [`Error::Aborted`]. Nothing stays allocated then.
    pub async fn load_on(
        executor: Rc<dyn Executor>,
        checkpoint: &Checkpoint,
        options: LoadOptions,
        host: Host,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        cancel.check()?;
        let mut description = Description::read(checkpoint).await?;
        let placed = place(executor, checkpoint, &mut description, &options, host, cancel, progress).await?;
        cancel.check()?;
        Ok(Self::of(checkpoint, description, host, placed))
    }

    /// Moves the model to the processor, after its GPU was lost. Conversations go on: what was cached of them is computed again.
    ///
    /// # Errors
    /// The errors of [`Self::load`]. The engine is unchanged then.
    pub async fn move_to_cpu(
        &self,
        checkpoint: &Checkpoint,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let mut description = Description::read(checkpoint).await?;
        let options = LoadOptions { run_on: RunOn::Cpu, ..self.fitted };
        let cpu = open_cpu(&options, self.host).await?;
        let Placed { info, runner, .. } =
            place(cpu, checkpoint, &mut description, &options, self.host, cancel, progress).await?;
        cancel.check()?;
        self.conversations.borrow_mut().forget();
        self.digest.take();
        self.device.replace(RunsOn { reason: "the GPU was lost".into(), ..info.device });
        self.runner.replace(Rc::new(runner)).executor.destroy();
        Ok(())
    }

    fn of(checkpoint: &Checkpoint, description: Description, host: Host, placed: Placed) -> Self {
        let Placed { info, runner, fitted } = placed;
        info.warnings.iter().for_each(|warning| (host.warn)(&warning.message));
        let Description { tokenizer, tokenizer_config, template, tool_template, .. } = description;
        let Description { reasoning, tool_format, defaults, stop_ids, .. } = description;
        Self {
            id: checkpoint.id.clone(),
            device: RefCell::new(info.device.clone()),
            fitted,
            info,
            host,
            runner: RefCell::new(Rc::new(runner)),
            tokenizer,
            tokenizer_config,
            template,
            tool_template,
            reasoning,
            tool_format,
            defaults,
            stop_ids,
            without_reuse: fitted.without_reuse,
            conversations: RefCell::default(),
            copies_budget: fitted.copies_budget.unwrap_or(super::COPIES),
            digest: RefCell::default(),
            busy: Cell::new(false),
            fallback: RefCell::default(),
            start_grammars: RefCell::new(super::linked::linked()),
            grammars: RefCell::default(),
        }
    }
}

/// A model on an executor.
struct Placed {
    info: ModelInfo,
    runner: ModelRunner,
    /// The options of the load, with what was fitted to the device: with them, the same model is placed elsewhere.
    fitted: LoadOptions,
}

/// Places a model on an executor.
async fn place(
    executor: Rc<dyn Executor>,
    checkpoint: &Checkpoint,
    description: &mut Description,
    options: &LoadOptions,
    host: Host,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<Placed> {
    let facts = executor.facts();
    let wanted = ModelOptions {
        max_binding: facts.max_storage_buffer_binding_size,
        context_length: options.context_length,
        kv_format: options.kv_format(),
        rope_factors: description.rope_factors.clone(),
        chunk: options.chunk.unwrap_or_else(|| suited_chunk(&description.config, facts.cpu)),
        ..ModelOptions::default()
    };
    // A processor has no latency to hide: steps queued past the end would only cost time.
    let suited = if facts.on_processor() { 1 } else { QUEUED_STEPS };
    let queued_steps = options.queued_steps.unwrap_or(suited).clamp(1, QUEUED_STEPS);
    let mut choice = Choice::new(options, facts);
    let config = &description.config;
    let mut fitting = Fitting { checkpoint, config, options, choices: choices(options), wanted };
    loop {
        cancel.check()?;
        let mut model = fitting.choose()?;
        let own = model.plans.clone();
        let (mut variants, tuning) = choice.begin(&model, facts, host.clock);
        model.plans = own.suited(variants);
        let ready = async {
            let buffers = Allocation::new(&executor, &model.buffers).await?;
            let rivals = tuning.as_ref().map_or(&[][..], |tuning| &tuning.plans);
            let mut pipelines = fill(checkpoint, &model, rivals, &*executor, queued_steps, cancel, progress).await?;
            if options.without_self_test || facts.cpu {
                return Ok((buffers, pipelines));
            }
            // What passed the test before something else was chosen.
            let (mut rivals, mut passed) = (rivals, None);
            loop {
                let wrong = failures(&model.plans, rivals, &executor).await?;
                let next = match (runs(&model.plans, &wrong), passed.take(), &tuning) {
                    (true, Some(usual), Some(tuning)) => {
                        choice.keep(tuning, usual);
                        usual
                    }
                    (true, ..) => {
                        let (left, warning) = without(&wrong, variants)?;
                        description.warnings.push(warning);
                        choice.fall_back(left);
                        left
                    }
                    (false, None, Some(tuning)) if !rivals.is_empty() => {
                        passed = Some(variants);
                        let chosen = tuning.choose(&pipelines.rivals, &wrong, &*executor, &model.control).await?;
                        if let Some(chosen) = chosen {
                            choice.keep(tuning, chosen);
                        }
                        chosen.unwrap_or(variants)
                    }
                    _ => variants,
                };
                if next == variants {
                    return Ok((buffers, pipelines));
                }
                (variants, rivals) = (next, &[]);
                model.plans = own.suited(variants);
                drop(pipelines);
                pipelines = Pipelines::build(&model, rivals, &*executor, queued_steps, &|| {}).await?;
            }
        };
        match ready.await {
            Ok((buffers, pipelines)) => {
                let info = info(checkpoint, &model, description, facts);
                let fitted = LoadOptions {
                    quantization: Some(fitting.choices[0]),
                    kv_cache: Some(model.kv_format),
                    context_length: Some(model.context_length),
                    ..*options
                };
                let first = options.chunk.unwrap_or(CHUNK);
                let runner = ModelRunner::new(model, executor.clone(), buffers, pipelines, host.clock, first);
                return Ok(Placed { info, runner, fitted });
            }
            Err(Error::Memory { .. }) if fitting.shrink(&model) => {}
            // A platform may reject a pipeline that only a kernel variant needs.
            Err(error @ Error::Plan { .. }) if choice.fall_back(Variants::default()) => {
                let message = format!("kernel variants are not used: {error}");
                description.warnings.push(Warning::new(WarningCode::Kernel, message));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens what the options choose, and says why it was chosen.
async fn open(options: &LoadOptions, host: Host) -> Result<(Rc<dyn Executor>, String)> {
    let reason = match options.run_on {
        RunOn::Cpu => "it was requested".into(),
        RunOn::Gpu => return Ok((Rc::new(Gpu::open(options.device).await?), "it was requested".into())),
        RunOn::Auto => match Gpu::open(options.device).await {
            Ok(gpu) if !gpu.facts().software => return Ok((Rc::new(gpu), "there is a GPU".into())),
            Ok(gpu) => format!("the only adapter, {}, is software", gpu.facts().name),
            Err(error @ Error::NoWebGpu { .. }) => error.to_string(),
            Err(error) => return Err(error),
        },
    };
    Ok((open_cpu(options, host).await?, reason))
}

/// Starts workers on the processor.
async fn open_cpu(options: &LoadOptions, host: Host) -> Result<Rc<dyn Executor>> {
    let arithmetic = if options.f32 { Arithmetic::Exact } else { Arithmetic::Fast };
    let workers = (host.workers)(arithmetic, options.threads).await?;
    Ok(Rc::new(Cpu::new(workers)))
}

/// Builds a model's pipelines and fills its buffers concurrently: the platform compiles shaders while the weights
/// download.
async fn fill(
    checkpoint: &Checkpoint,
    model: &Model,
    rivals: &[Plan],
    executor: &dyn Executor,
    queued_steps: usize,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<Pipelines> {
    cancel.check()?;
    for (buffer, bytes) in &model.constants {
        executor.write(*buffer, 0, bytes);
    }
    let total = bytes_to_read(checkpoint, &model.tasks);
    let (read, built) = (Cell::new(0), Cell::new(0));
    let progress = RefCell::new(progress);
    // Pipeline progress is reported after the weights: most pipelines are built by then.
    let compiled = || {
        let (loaded, total) = (built.get(), Pipelines::COUNT as u64);
        progress.borrow_mut()(Progress { stage: Stage::Compile, loaded, total, file: None, from_cache: false });
    };
    let one_more = || {
        built.set(built.get() + 1);
        if read.get() >= total {
            compiled();
        }
    };
    let mut download = |bytes: u64, file: &str| {
        read.set((read.get() + bytes).min(total));
        let (loaded, file) = (read.get(), Some(file.to_owned()));
        progress.borrow_mut()(Progress { stage: Stage::Download, loaded, total, file, from_cache: false });
    };
    let weights = async {
        load(checkpoint, &model.tasks, executor, cancel, &mut download).await?;
        read.set(total);
        compiled();
        Ok(())
    };
    let (pipelines, ()) = both(Pipelines::build(model, rivals, executor, queued_steps, &one_more), weights).await?;
    executor.release(&staging(&model.tasks).into_iter().collect::<Vec<_>>());
    Ok(pipelines)
}

/// Runs two futures concurrently until both complete or one fails. The first is polled first.
async fn both<A, B>(a: impl Future<Output = Result<A>>, b: impl Future<Output = Result<B>>) -> Result<(A, B)> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut got_a, mut got_b) = (None, None);
    poll_fn(|context| {
        if got_a.is_none()
            && let Poll::Ready(result) = a.as_mut().poll(context)
        {
            got_a = Some(result?);
        }
        if got_b.is_none()
            && let Poll::Ready(result) = b.as_mut().poll(context)
        {
            got_b = Some(result?);
        }
        match (got_a.take(), got_b.take()) {
            (Some(a), Some(b)) => Poll::Ready(Ok((a, b))),
            (a, b) => {
                (got_a, got_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

fn info(checkpoint: &Checkpoint, model: &Model, description: &Description, facts: &DeviceFacts) -> ModelInfo {
    let Description { config, template, tool_template, declared_by, .. } = description;
    ModelInfo {
        architecture: config.architecture.clone(),
        parameters: model.parameters,
        active_parameters: model.active_parameters,
        quantization: model.quantization.clone(),
        context_length: model.context_length,
        vocab_size: config.vocab_size,
        device: RunsOn { kind: if facts.cpu { "cpu" } else { "gpu" }, name: facts.name.clone(), reason: String::new() },
        format: match checkpoint.format {
            Format::Safetensors => "safetensors",
            Format::Gguf => "gguf",
        },
        license: config.license.clone(),
        chat_template_hash: template.as_ref().map(ChatTemplate::hash),
        capabilities: Capabilities {
            chat: template.is_some(),
            tools: template.iter().chain(tool_template).any(|template| template.capabilities().tools),
            reasoning: template.is_some() && *declared_by != DeclaredBy::Nothing,
        },
        warnings: description.warnings.clone(),
    }
}
