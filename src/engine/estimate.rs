//! Estimates the memory and context length of a load from file headers alone.

use serde::Serialize;

use super::description::{rope_factors, tokenizer};
use super::fit::{WEIGHT_BUDGET, choices, choose};
use super::load::Source;
use super::load_options::{LoadOptions, RunOn};
use super::runner::Pipelines;
use crate::cpu;
use crate::model::{Model, ModelConfig, ModelOptions, QUEUED_STEPS, suited_chunk};
use crate::plan::BufferSpec;
use crate::weights::load::{BLOCK, Form, IN_FLIGHT, Task, bytes_to_read, staging};
use crate::weights::{Checkpoint, unquantised};
use crate::{Error, Result};

/// Limits of a device that are known before it is opened.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest storage binding, bytes.
    pub max_binding: u64,
    /// Alignment of uniform buffer offsets, bytes.
    pub uniform_alignment: u64,
}

/// What a load would find.
#[derive(Debug, Clone, Copy)]
pub struct Devices {
    /// The limits of the GPU, if there is one.
    pub gpu: Option<Limits>,
    /// Threads on the processor.
    pub threads: usize,
    /// Bytes that each of them can hold.
    pub memory: u64,
}

impl Default for Limits {
    /// The limits that every WebGPU device has.
    fn default() -> Self {
        Self { max_binding: ModelOptions::default().max_binding, uniform_alignment: 256 }
    }
}

impl Default for Devices {
    /// No GPU, and a thread with as much memory as it takes.
    fn default() -> Self {
        Self { gpu: None, threads: 1, memory: u64::MAX }
    }
}

/// Whether a model will run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// It will run, as far as can be known.
    Yes,
    /// It will run only on a device with more memory than usual.
    Tight,
    /// It will not run.
    No,
}

/// Why a model will not, or may not, run.
#[derive(Debug, Clone, Serialize)]
pub struct FitReason {
    /// The code of the error that a load would fail with.
    pub code: &'static str,
    /// An explanation in words.
    pub message: String,
}

/// A weight file and its size.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the names are self-explanatory
pub struct FileSize {
    pub name: String,
    pub size: u64,
}

/// `Estimate` of the JavaScript API, without what is already stored on the device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Bytes of weights that a load reads.
    pub download_bytes: u64,
    /// Bytes of buffers, at `max_context_length`.
    pub gpu_bytes: u64,
    /// Bytes of the KV cache per token of context.
    pub kv_bytes_per_token: u64,
    /// Peak bytes outside the GPU while loading.
    pub peak_host_bytes: u64,
    /// Tokens of context that a load allocates.
    pub max_context_length: usize,
    /// Whether the model will run.
    pub fit: Fit,
    /// Why the model will not or may not run.
    pub reasons: Vec<FitReason>,
    /// The weight files.
    pub files: Vec<FileSize>,
}

/// Bytes of the wasm heap that a load takes: a constant, plus so many per byte of tokenizer.json (measured:
/// docs/evidence/memory.md).
const HEAP: u64 = 8 << 20;
const HEAP_PER_TOKENIZER: u64 = 4;
/// Bytes of files that the readers in JavaScript cache.
const READERS: u64 = 32 << 20;

/// Estimates what a load would cost on the GPU, or on the processor if it has to run or is to run there.
///
/// # Errors
/// Faults of the files. A valid model that cannot run on the device is not an error: the estimate says so.
pub async fn estimate(source: Source<'_>, options: LoadOptions, devices: Devices) -> Result<Estimate> {
    let limits = devices.gpu;
    let mut estimate = Estimate {
        download_bytes: 0,
        gpu_bytes: 0,
        kv_bytes_per_token: 0,
        peak_host_bytes: 0,
        max_context_length: 0,
        fit: Fit::Yes,
        reasons: Vec::new(),
        files: Vec::new(),
    };
    if limits.is_none() && options.run_on == RunOn::Gpu {
        estimate.refuse(&Error::NoWebGpu { reason: "this browser offers no adapter".to_owned() });
    }
    let on_cpu = options.run_on == RunOn::Cpu || limits.is_none() && options.run_on == RunOn::Auto;
    let limits = match limits {
        _ if on_cpu => Limits { max_binding: cpu::MAX_BUFFER, uniform_alignment: cpu::ALIGNMENT },
        limits => limits.unwrap_or_default(),
    };
    let checkpoint = match source.open().await {
        Err(error @ Error::Architecture { .. }) => {
            estimate.refuse(&error);
            return Ok(estimate);
        }
        checkpoint => checkpoint?,
    };
    estimate.files =
        checkpoint.shards.iter().map(|file| FileSize { name: file.name().to_owned(), size: file.len() }).collect();
    let config = ModelConfig::from_checkpoint(&checkpoint)?;
    tokenizer(&checkpoint)?;
    let wanted = ModelOptions {
        max_binding: limits.max_binding,
        context_length: options.context_length,
        kv_format: options.kv_format(),
        rope_factors: rope_factors(&checkpoint).await?,
        chunk: options.chunk.unwrap_or_else(|| suited_chunk(&config, on_cpu)),
        ..ModelOptions::default()
    };
    match choose(&checkpoint, &config, &options, &wanted, choices(&options)) {
        Err(error @ (Error::BufferLimit { .. } | Error::Dtype { .. })) => estimate.refuse(&error),
        model => {
            let (_, model) = model?;
            estimate.cost(&checkpoint, &model, &options, limits);
            if on_cpu {
                let Devices { threads, memory, .. } = devices;
                estimate.gpu_bytes = held(&model).map(|spec| cpu::bytes_held(spec, threads)).sum();
                if let Err(error) = cpu::check_memory(&model.buffers, threads, memory, 0) {
                    estimate.refuse(&error);
                }
            }
        }
    }
    Ok(estimate)
}

impl Estimate {
    fn refuse(&mut self, error: &Error) {
        self.fit = Fit::No;
        self.reasons.push(FitReason { code: error.code(), message: error.to_string() });
    }

    fn cost(&mut self, checkpoint: &Checkpoint, model: &Model, options: &LoadOptions, limits: Limits) {
        let queued_steps = options.queued_steps.unwrap_or(QUEUED_STEPS);
        self.gpu_bytes = held(model).map(|buffer| buffer.bytes).sum::<u64>()
            + Pipelines::bytes(model, queued_steps, limits.uniform_alignment);
        self.kv_bytes_per_token = model.kv_bytes() / model.context_length as u64;
        self.max_context_length = model.context_length;
        self.download_bytes = bytes_to_read(checkpoint, &model.tasks);
        let tokenizer = checkpoint.tokenizer_json.as_ref().map_or(0, |json| json.len() as u64);
        self.peak_host_bytes = HEAP
            + HEAP_PER_TOKENIZER * tokenizer
            + READERS
            + IN_FLIGHT
            + 2 * BLOCK
            + 3 * transposed_bytes(checkpoint, model);
        let weights = model.weight_bytes();
        if weights > WEIGHT_BUDGET {
            self.fit = self.fit.max_of(Fit::Tight);
            let message = format!("the weights take {weights} bytes on the GPU; {WEIGHT_BUDGET} are counted on");
            self.reasons.push(FitReason { code: "memory", message });
        }
    }
}

/// The buffers that stay after the load.
fn held(model: &Model) -> impl Iterator<Item = &BufferSpec> {
    let staging = staging(&model.tasks);
    let stays = move |id: usize| !staging.iter().any(|s| s.0 as usize == id);
    model.buffers.iter().enumerate().filter(move |(id, _)| stays(*id)).map(|(_, spec)| spec)
}

impl Fit {
    fn max_of(self, other: Self) -> Self {
        if self == Self::No { self } else { other }
    }
}

/// Bytes of the largest expert that is stored transposed and quantised, as f32: it is transposed as a whole.
fn transposed_bytes(checkpoint: &Checkpoint, model: &Model) -> u64 {
    let pieces = model.tasks.iter().flat_map(|task| match task {
        Task::Matrix { pieces, .. } => pieces.as_slice(),
        Task::Vector { .. } => &[],
    });
    let sources = pieces.flat_map(|piece| &piece.sources).filter_map(|source| match source.form {
        Form::Columns { k, .. } if !unquantised(checkpoint.tensors[&source.tensor].dtype) => {
            Some(k * checkpoint.tensors[&source.tensor].k() * 4)
        }
        _ => None,
    });
    sources.max().unwrap_or(0)
}
