//! Kernels: typed parameters that become plan steps, each beside its plain-maths reference and its tests.
//!
//! Adding a kernel is one WGSL file in `shaders/`, one Rust file here with its [`Kernel`] record, and one line in [`KERNELS`].
//! ARCHITECTURE.md has the steps for adding one, a variant or a layout.

mod activation;
mod attention;
mod embed;
mod epilogue;
mod experts;
mod grouped;
mod interpret;
mod kernel;
mod kv;
mod latent;
mod matmul;
mod matvec;
mod norm;
mod product;
mod quantize;
#[cfg(test)]
mod real_shapes;
mod rope_append;
mod route;
mod sample;
mod self_test;
mod small;
#[cfg(test)]
pub(crate) mod testing;
mod tuning;
mod variants;

pub use activation::Activate;
pub use attention::{Attention, MAX_KEY_DIM, MAX_SPLITS, MAX_VALUE_DIM, Span, splits};
pub use embed::Embed;
pub use epilogue::{Epilogue, Gate};
pub use experts::{ExpertDown, ExpertUp, Experts};
pub use grouped::{ExpertSum, GroupedMatmul, Half, MAX_SLOTS, Sorted};
pub use interpret::{CpuMemory, Division, Peers, interpret, run};
pub use kernel::Kernel;
pub use kv::KvFormat;
pub use latent::{LatentQuery, LatentShape, LatentValue, Latents, Queries};
pub use matmul::{Matmul, TOKEN_TILE};
pub use matvec::{Matvec, RmsNorm};
pub use norm::Norm;
pub use quantize::Quantize;
pub use rope_append::{QkNorm, RopeAppend, Temperature, rope_table};
pub use route::{Groups, MAX_EXPERTS, MAX_GROUPS, MAX_TOP_K, Route, Router, Scoring, Shared};
pub use sample::{History, MAX_TOP, RING, SLOT, Sample, SamplerOptions, logprobs, sample_reference};
pub use self_test::SelfTest;
pub use tuning::Tuning;
pub use variants::{Variants, suited};

use crate::plan::{Activation, BufferId, Buffers, Role, Step};
use kernel::{Params, on_processors, params, shader};

/// WebGPU's guaranteed limit on workgroups per dimension.
pub(crate) const MAX_WORKGROUPS: u32 = 65_535;

/// Every kernel.
pub static KERNELS: [&Kernel; 21] = [
    &activation::KERNEL,
    &attention::KERNEL,
    &attention::REDUCE,
    &embed::KERNEL,
    &experts::DOWN,
    &experts::UP,
    &grouped::MATMUL,
    &grouped::SORT,
    &grouped::SUM,
    &latent::QUERY,
    &latent::VALUE,
    &matmul::KERNEL,
    &matvec::KERNEL,
    &norm::KERNEL,
    &quantize::ARRANGE,
    &quantize::KERNEL,
    &rope_append::KERNEL,
    &route::KERNEL,
    &sample::KEEP,
    &sample::KERNEL,
    &sample::SCAN,
];

/// The names of all `override`s that steps set.
pub const CONSTANTS: &[&str] = &[
    "ADD",
    "BIAS",
    "COLUMNS",
    "CORRECTED",
    "FACTOR",
    "FOUR_BITS",
    "GATE",
    "GATED",
    "HALVES",
    "INPUT_WEIGHT",
    "INTERLEAVED",
    "KV",
    "LANES",
    "LIMIT",
    "NORM",
    "PARTIALS",
    "QK_NORM",
    "Q_IN_OUT",
    "RENORMALIZE",
    "RESIDUAL",
    "ROWS",
    "SHARED_GATE",
    "SIGMOID",
    "SINKS",
    "SPLITS",
    "TEMPERATURE",
    "TOP_TWO",
    "WEIGHTED",
    "WIDE",
];

/// The record of a step's kernel.
///
/// # Panics
/// On a step whose kernel is not in the kernel table.
pub(crate) fn kernel_of(step: &Step) -> &'static Kernel {
    let found = KERNELS.iter().find(|kernel| kernel.name == step.kernel);
    found.unwrap_or_else(|| panic!("{}: no kernel is named {}", step.label, step.kernel))
}

/// What changes from step to step, as in `shaders/lib/state.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct State {
    /// Tokens in the KV cache before this step.
    pub position: u32,
    /// Tokens of this step.
    pub count: u32,
    /// Random draws of this generation so far.
    pub draws: u32,
    /// Tokens sampled so far.
    pub ring: u32,
}

/// The small buffers that every plan of a model shares.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// One [`State`].
    pub state: BufferId,
    /// Ids of the step's tokens, `u32[chunk]`.
    pub tokens: BufferId,
    /// One [`SamplerOptions`].
    pub options: BufferId,
    /// Sampled tokens, [`RING`] slots of [`SLOT`] words.
    pub ring: BufferId,
    /// A [`History`] for each token of the vocabulary.
    pub history: BufferId,
    /// A bit for each token of the vocabulary that a constraint allows: bit `id % 32` of word `id / 32`.
    pub mask: BufferId,
    /// What the sampler's steps leave to the next.
    pub sampling: BufferId,
    /// `f32[1, vocabulary]`: logits of the step's last token.
    pub logits: Activation,
}

impl Control {
    /// Declares them for chunks of at most `chunk` tokens.
    pub fn declare(buffers: &mut Buffers, chunk: usize, vocabulary: usize) -> Self {
        let mut add = |label: &str, bytes: usize| buffers.add(label, bytes as u64, Role::Scratch);
        Self {
            state: add("state", size_of::<State>()),
            tokens: add("tokens", chunk * 4),
            options: add("sampler options", size_of::<SamplerOptions>()),
            ring: add("ring", (RING * SLOT) as usize * 4),
            history: add("history", vocabulary * size_of::<History>()),
            mask: add("mask", vocabulary.div_ceil(32) * 4),
            sampling: add("sampling", sample::work_bytes(vocabulary)),
            logits: Activation::declare(buffers, "logits", 1, vocabulary),
        }
    }
}
