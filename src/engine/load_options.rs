//! The options of a load.

use super::choices::Choices;
use crate::gpu::DeviceOptions;
use crate::kernels::{KvFormat, Variants};
use crate::model::Quantization;

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
    /// The KV cache in f32, and on the processor all products in f64, to compare with f32 references.
    pub f32: bool,
    /// Tokens of a prefill chunk, at most, with which it begins; by default what suits the model and the device.
    pub chunk: Option<usize>,
    /// Decode steps in flight, at most [`QUEUED_STEPS`](crate::model::QUEUED_STEPS); the default depends on the adapter.
    pub queued_steps: Option<usize>,
    /// Disables prefix reuse, for comparison: every prompt is prefilled from its first token.
    pub without_reuse: bool,
    /// Has what a constraint forces sampled nevertheless, one token at a time, for comparison.
    pub without_jumps: bool,
    /// Skips the self-test of kernels: for a device that computes nothing, to count the other work of a load or a token.
    pub without_self_test: bool,
    /// Bytes of KV-cache snapshots kept for inactive conversations; [`COPIES`](super::COPIES) by default.
    pub copies_budget: Option<u64>,
    /// Kernel variants to use; by default those that suit the device.
    pub variants: Option<Variants>,
    /// Chooses among the variants by timing them, once for a device and shapes: the choices of earlier loads, to which this one adds its
    /// own. `None` times nothing.
    pub tuning: Option<&'static Choices>,
    /// What to run on.
    pub run_on: RunOn,
    /// Threads on the processor; by default as many as suit the machine.
    pub threads: Option<usize>,
    /// Which GPU.
    pub device: DeviceOptions,
}

/// What a model is to run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunOn {
    /// A GPU; the processor where there is none, or only a software adapter, which is slower.
    #[default]
    Auto,
    /// A GPU or software adapter.
    Gpu,
    /// The processor.
    Cpu,
}

impl LoadOptions {
    /// The requested number format of the KV cache.
    pub(super) fn kv_format(&self) -> Option<KvFormat> {
        if self.f32 { Some(KvFormat::F32) } else { self.kv_cache }
    }
}
