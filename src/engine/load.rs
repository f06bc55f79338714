//! Loads a checkpoint: chooses quantisation and context, allocates buffers, builds pipelines, fills the weights.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use serde::Serialize;

use super::runner::{ModelRunner, Pipelines};
use super::{Engine, Host};
use crate::gpu::{Device, DeviceOptions, Executor};
use crate::kernels::{KvFormat, SelfTest, Variants};
use crate::model::config::{GenerationDefaults, ModelConfig, RopeFactors};
use crate::model::{Model, ModelOptions, Plans, QUEUED_STEPS, Quantization, architecture, architecture_name};
use crate::plan::ShaderId;
use crate::text::{ChatTemplate, DeclaredBy, GgufVocab, ReasoningFormat, Tokenizer, TokenizerConfig};
use crate::weights::checkpoint::{Checkpoint, ConfigFacts, Format};
use crate::weights::load::{bytes_to_read, load, staging};
use crate::weights::source::{ByteSource, Folder};
use crate::weights::{GgufMetadata, dequantize_rows};
use crate::{Cancel, Error, FormatKind, Result, Warning, WarningCode};

/// Options of a load.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// Quantisation of weights that are stored unquantised. By default the most exact format that fits `WEIGHT_BUDGET`
    /// and the device's memory.
    pub quantization: Option<Quantization>,
    /// Bytes of weights that default quantisation stays within; 2 GiB.
    pub weight_budget: Option<u64>,
    /// Tokens of context; the largest that fits by default.
    pub context_length: Option<usize>,
    /// Number format of the KV cache; by default f16, or q8 where f16 would leave a short context.
    pub kv_cache: Option<KvFormat>,
    /// The KV cache in f32, to compare with f32 references.
    pub f32: bool,
    /// Tokens of a prefill chunk, at most; the default suits GPUs.
    pub chunk: Option<usize>,
    /// Decode steps in flight, at most [`QUEUED_STEPS`]; the default depends on the adapter.
    pub queued_steps: Option<usize>,
    /// Disables prefix reuse, for comparison: every prompt is prefilled from its first token.
    pub without_reuse: bool,
    /// Skips the self-test of kernels: for a device that computes nothing, to count the other work of a load or a token.
    pub without_self_test: bool,
    /// Bytes of KV-cache snapshots kept for inactive conversations; [`COPIES`](super::COPIES) by default.
    pub copies_budget: Option<u64>,
    /// Kernel variants to use; by default those that suit the device.
    pub variants: Option<Variants>,
    /// The device.
    pub device: DeviceOptions,
}

impl LoadOptions {
    /// The requested number format of the KV cache.
    pub(super) fn kv_format(&self) -> Option<KvFormat> {
        if self.f32 { Some(KvFormat::F32) } else { self.kv_cache }
    }
}

/// Bytes of weights up to which a model is not quantised: what browsers grant a page on a machine of 8 GB
/// before they refuse an allocation.
pub const WEIGHT_BUDGET: u64 = 2 << 30;

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
    pub format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template_hash: Option<String>,
    pub capabilities: Capabilities,
    /// Faults that the load worked around.
    pub warnings: Vec<Warning>,
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

    /// Loads an opened checkpoint.
    ///
    /// # Errors
    /// Every fault of its files, [`Error::NoWebGpu`], [`Error::Memory`], [`Error::BufferLimit`], [`Error::Aborted`].
    /// Nothing stays allocated then.
    pub async fn load(
        checkpoint: &Checkpoint,
        options: LoadOptions,
        host: Host,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        cancel.check()?;
        let config = ModelConfig::from_checkpoint(checkpoint)?;
        let (tokenizer, tokenizer_config) = tokenizer(checkpoint)?;
        let template = match tokenizer_config.chat_template(false) {
            Ok(source) => Some(ChatTemplate::new(source, &tokenizer_config)?),
            Err(_) => None,
        };
        let source = template.as_ref().map(ChatTemplate::source);
        let (reasoning, declared_by) = ReasoningFormat::of(source, &tokenizer.added_tokens());
        let template = template.map(|template| template.with_reasoning(reasoning.clone()));
        let defaults = match &checkpoint.generation_config {
            Some(bytes) => GenerationDefaults::parse(bytes, config.vocab_size)?,
            None => GenerationDefaults::default(),
        };
        let stop_ids = stop_ids(checkpoint, &config, &defaults, &tokenizer, &tokenizer_config);
        let told = [&*checkpoint.warnings, &config.warnings, tokenizer.warnings(), &defaults.warnings];
        let mut warnings = told.concat();

        let device = Rc::new(Device::open(options.device).await?);
        let software = device.facts().software;
        let wanted = ModelOptions {
            max_binding: device.max_binding(),
            context_length: options.context_length,
            kv_format: options.kv_format(),
            rope_factors: rope_factors(checkpoint).await?,
            chunk: options.chunk.unwrap_or(ModelOptions::default().chunk),
            ..ModelOptions::default()
        };
        // A software adapter has no latency to hide: steps queued past the end would only cost time.
        let suited = if software { 1 } else { QUEUED_STEPS };
        let queued_steps = options.queued_steps.unwrap_or(suited).clamp(1, QUEUED_STEPS);
        let copies_budget = options.copies_budget.unwrap_or(super::COPIES);
        let mut fitting =
            Fitting { checkpoint, config: &config, options: &options, choices: choices(&options), wanted };
        let mut variants = options.variants.unwrap_or_else(|| Variants::of(device.facts()));
        if options.f32 {
            variants = variants.in_f32();
        }
        let (info, runner): (ModelInfo, ModelRunner) = loop {
            cancel.check()?;
            let mut model = fitting.choose()?;
            let own = model.plans.clone();
            model.plans = own.suited(variants, device.facts());
            let ready = async {
                let (mut executor, mut pipelines) =
                    fill(checkpoint, &model, device.clone(), queued_steps, cancel, progress).await?;
                if !options.without_self_test {
                    while let Some((left, warning)) = self_test(&own, variants, &mut executor).await? {
                        warnings.push(warning);
                        variants = left;
                        model.plans = own.suited(variants, device.facts());
                        drop(pipelines);
                        pipelines = Pipelines::build(&model, &executor, queued_steps, &|| {}).await?;
                    }
                }
                Ok((executor, pipelines))
            };
            match ready.await {
                Ok((executor, pipelines)) => {
                    let info = info(checkpoint, &config, &model, template.as_ref(), declared_by, warnings);
                    break (info, ModelRunner::new(model, executor, pipelines, host.clock));
                }
                Err(Error::Memory { .. }) if fitting.shrink(&model) => {}
                // A platform may reject a pipeline that only a kernel variant needs.
                Err(Error::Internal { message }) if variants != Variants::default() && message.starts_with("plan ") => {
                    let message = format!("kernel variants are not used: {message}");
                    warnings.push(Warning::new(WarningCode::Kernel, message));
                    variants = Variants::default();
                }
                Err(error) => return Err(error),
            }
        };
        cancel.check()?;
        info.warnings.iter().for_each(|warning| (host.warn)(&warning.message));
        Ok(Self {
            id: checkpoint.id.clone(),
            info,
            host,
            runner,
            tokenizer,
            tokenizer_config,
            template,
            reasoning,
            defaults,
            stop_ids,
            without_reuse: options.without_reuse,
            conversations: RefCell::default(),
            copies_budget,
            digest: RefCell::default(),
            busy: Cell::new(false),
        })
    }
}

/// The quantisations to try for weights that are stored unquantised, the most exact first.
pub(super) fn choices(options: &LoadOptions) -> &'static [Quantization] {
    match options.quantization {
        Some(Quantization::None) => &[Quantization::None],
        Some(Quantization::Q8) => &[Quantization::Q8],
        Some(Quantization::Q4) => &[Quantization::Q4],
        None if options.f32 => &[Quantization::None],
        None => &[Quantization::None, Quantization::Q8, Quantization::Q4],
    }
}

/// The model with the first of `choices` that fits the budget and the binding limit, or with the last; and the index of
/// that choice.
pub(super) fn choose(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    options: &LoadOptions,
    wanted: &ModelOptions,
    choices: &[Quantization],
) -> Result<(usize, Model)> {
    let budget = options.weight_budget.unwrap_or(WEIGHT_BUDGET);
    let last = choices.len() - 1;
    for (i, &quantization) in choices.iter().enumerate() {
        match Model::new(checkpoint, config, ModelOptions { quantization, ..wanted.clone() }) {
            Err(Error::BufferLimit { .. }) if i < last => {}
            Ok(model) if i < last && model.weight_bytes() > budget => {}
            model => return Ok((i, model?)),
        }
    }
    unreachable!("the last choice is always returned")
}

/// The options left while a model is fitted to the memory of a device. A platform does not report how much memory there
/// is: the engine finds out by allocating.
struct Fitting<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a ModelConfig,
    options: &'a LoadOptions,
    /// Remaining quantisations of weights that are stored unquantised, the most exact first.
    choices: &'static [Quantization],
    wanted: ModelOptions,
}

/// Context lengths, in tokens, down to which a default context shrinks: before weights go below 8 bits, and before a
/// load fails.
const CONTEXT_STEPS: [usize; 2] = [8192, 2048];

impl Fitting<'_> {
    /// The most exact remaining model that fits the budget.
    fn choose(&mut self) -> Result<Model> {
        let (chosen, model) = choose(self.checkpoint, self.config, self.options, &self.wanted, self.choices)?;
        self.choices = &self.choices[chosen..];
        Ok(model)
    }

    /// Shrinks the model after the device refused it; `false` if no smaller form is left. 8-bit weights come first,
    /// because their loss is not noticeable; then a default context longer than most conversations is halved, then
    /// weights go below 8 bits, then more of the context goes. Explicitly requested options are never changed.
    fn shrink(&mut self, refused: &Model) -> bool {
        let longer = |than: usize| self.options.context_length.is_none() && refused.context_length > than;
        match self.choices {
            [Quantization::None, _, ..] => self.choices = &self.choices[1..],
            _ if longer(CONTEXT_STEPS[0]) => self.wanted.kv_budget = refused.kv_bytes() / 2,
            [_, _, ..] => self.choices = &self.choices[1..],
            _ if longer(CONTEXT_STEPS[1]) => self.wanted.kv_budget = refused.kv_bytes() / 2,
            _ => return false,
        }
        true
    }
}

/// Allocates a model, then builds its pipelines and fills its buffers concurrently: the platform compiles shaders while
/// the weights download. On failure nothing stays allocated.
async fn fill(
    checkpoint: &Checkpoint,
    model: &Model,
    device: Rc<Device>,
    queued_steps: usize,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Executor, Pipelines)> {
    let mut executor = Executor::new(device, &model.buffers).await?;
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
        load(checkpoint, &model.tasks, &executor, cancel, &mut download).await?;
        read.set(total);
        compiled();
        Ok(())
    };
    let (pipelines, ()) = both(Pipelines::build(model, &executor, queued_steps, &one_more), weights).await?;
    staging(&model.tasks).into_iter().for_each(|buffer| executor.release(buffer));
    Ok((executor, pipelines))
}

/// Tests the kernel variants that plans use; returns the variants to fall back to, with a warning, if one computes a
/// wrong result.
async fn self_test(plans: &Plans, variants: Variants, executor: &mut Executor) -> Result<Option<(Variants, Warning)>> {
    let wrong = failures(plans, variants, executor).await?;
    if wrong.is_empty() {
        return Ok(None);
    }
    let names = wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut left = variants;
    if left.drop_wrong(&wrong) {
        let message = format!("kernel variants are not used: {names} computes wrong results on this device");
        return Ok(Some((left, Warning::new(WarningCode::Kernel, message))));
    }
    let reason = format!("it computes wrong results on this device ({names}); a newer driver or browser may fix this");
    Err(Error::NoWebGpu { reason })
}

/// The kernels that compute wrong results on this device. The test is skipped if its few hundred kilobytes cannot be
/// allocated.
async fn failures(plans: &Plans, variants: Variants, executor: &mut Executor) -> Result<Vec<ShaderId>> {
    match SelfTest::new(&plans.all(), variants).failures(executor).await {
        Err(Error::Memory { .. }) => Ok(Vec::new()),
        result => result,
    }
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

fn info(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    model: &Model,
    template: Option<&ChatTemplate>,
    declared_by: DeclaredBy,
    warnings: Vec<Warning>,
) -> ModelInfo {
    ModelInfo {
        architecture: config.architecture.clone(),
        parameters: model.parameters,
        active_parameters: model.active_parameters,
        quantization: model.quantization.clone(),
        context_length: model.context_length,
        vocab_size: config.vocab_size,
        format: match checkpoint.format {
            Format::Safetensors => "safetensors",
            Format::Gguf => "gguf",
        },
        license: config.license.clone(),
        chat_template_hash: template.map(ChatTemplate::hash),
        capabilities: Capabilities {
            chat: template.is_some(),
            tools: false, // a template may show tools; nothing here reads what a model calls
            reasoning: template.is_some() && declared_by != DeclaredBy::Nothing,
        },
        warnings,
    }
}

/// The tokenizer and its config, from `tokenizer.json` and `tokenizer_config.json` or from GGUF metadata.
pub fn tokenizer(checkpoint: &Checkpoint) -> Result<(Tokenizer, TokenizerConfig)> {
    let template =
        |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|b| String::from_utf8(b.clone())).transpose().map_err(|_| {
                Error::format(FormatKind::BadUtf8, "chat_template.jinja", "the chat template is not UTF-8")
            })
        };
    match &checkpoint.config {
        ConfigFacts::Json(_) => {
            let Some(json) = &checkpoint.tokenizer_json else {
                return Err(Error::format(FormatKind::MissingFile, &checkpoint.id, "tokenizer.json is missing"));
            };
            let mut config = match &checkpoint.tokenizer_config {
                Some(bytes) => TokenizerConfig::from_json(bytes, "tokenizer_config.json")?,
                None => TokenizerConfig::default(),
            };
            if let Some(source) = template(&checkpoint.chat_template)? {
                config.chat_templates.retain(|(name, _)| name != "default");
                config.chat_templates.push(("default".into(), source));
            }
            let tokenizer = Tokenizer::from_json(json, "tokenizer.json")?.with_config(&config);
            Ok((tokenizer, config))
        }
        ConfigFacts::Gguf(metadata) => {
            let vocab = gguf_vocab(metadata)?;
            let config = vocab.config(template(&checkpoint.chat_template)?);
            Ok((Tokenizer::from_gguf(vocab)?, config))
        }
    }
}

/// The vocabulary in GGUF metadata.
pub fn gguf_vocab(metadata: &GgufMetadata) -> Result<GgufVocab> {
    let v = metadata.vocabulary()?;
    Ok(GgufVocab {
        model: v.model,
        pre: v.pre,
        tokens: v.tokens,
        token_types: v.token_types,
        merges: v.merges,
        scores: v.scores,
        bos: v.bos,
        eos: v.eos,
        unk: v.unk,
        pad: v.pad,
        add_bos: v.add_bos,
        add_eos: v.add_eos,
        add_space_prefix: v.add_space_prefix,
    })
}

/// The token ids that end a turn: those that the model's files declare, and those with a known end-of-turn text.
fn stop_ids(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    defaults: &GenerationDefaults,
    tokenizer: &Tokenizer,
    tokenizer_config: &TokenizerConfig,
) -> Vec<u32> {
    let mut ids = defaults.eos_token_ids.clone();
    if ids.is_empty() {
        ids.clone_from(&config.eos_token_ids);
    }
    ids.extend(tokenizer_config.eos_token.as_deref().and_then(|token| tokenizer.id(token)));
    if let ConfigFacts::Gguf(metadata) = &checkpoint.config {
        let named = ["eot", "eom"].map(|name| metadata.u32(&format!("tokenizer.ggml.{name}_token_id")));
        ids.extend(named.into_iter().filter_map(|id| id.ok().flatten()));
    }
    ids.extend(tokenizer.turn_ends(checkpoint.format == Format::Gguf));
    ids.retain(|&id| !tokenizer.ends_message_only(id));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// GGUF's RoPE frequency factors (divisors), which llama.cpp writes for Llama 3's scaling and LongRoPE.
pub async fn rope_factors(checkpoint: &Checkpoint) -> Result<RopeFactors> {
    Ok(RopeFactors {
        any: numbers(checkpoint, "rope_freqs.weight").await?,
        short: numbers(checkpoint, "rope_factors_short.weight").await?,
        long: numbers(checkpoint, "rope_factors_long.weight").await?,
    })
}

/// The values of a small tensor, if the checkpoint has it.
async fn numbers(checkpoint: &Checkpoint, name: &str) -> Result<Option<Vec<f32>>> {
    let Some(entry) = checkpoint.tensors.get(name) else { return Ok(None) };
    if entry.elements() > 4096 {
        let message = format!("{name} has {} values", entry.elements());
        return Err(Error::format(FormatKind::BadShape, &checkpoint.id, message));
    }
    let bytes = checkpoint.read_rows(entry, 0..entry.rows()).await?;
    let factors = dequantize_rows(entry.dtype, entry.k() as usize, &bytes);
    factors.map(Some).ok_or_else(|| Error::Dtype { tensor: entry.name.clone(), dtype: entry.dtype.name().to_owned() })
}
