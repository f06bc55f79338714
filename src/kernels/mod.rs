//! Kernels: typed parameters that become plan steps, each beside its plain-maths reference and its tests.
//!
//! A kernel is one WGSL file in `shaders/`, one Rust file here, and one line in [`KERNELS`]. ARCHITECTURE.md has the steps
//! for adding one, a variant or a layout.

mod activation;
mod attention;
mod embed;
mod epilogue;
mod experts;
mod grouped;
mod interpret;
mod kv;
mod latent;
mod matmul;
mod matvec;
mod norm;
mod quantize;
#[cfg(test)]
mod real_shapes;
mod rope_append;
mod route;
mod sample;
mod self_test;
mod software;
#[cfg(test)]
pub(crate) mod testing;
mod variants;

pub use activation::Activate;
pub use attention::{Attention, MAX_KEY_DIM, MAX_SPLITS, MAX_VALUE_DIM, Span, splits};
pub use embed::Embed;
pub use epilogue::{Epilogue, Gate};
pub use experts::{ExpertDown, ExpertUp, Experts};
pub use grouped::{ExpertSum, GroupedMatmul, Half, MAX_SLOTS, Sorted};
pub use interpret::{CpuMemory, interpret};
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
pub use variants::{Variants, suited};

use crate::plan::{Activation, BufferId, Buffers, Role, Shader, Step};

/// WebGPU's guaranteed limit on workgroups per dimension.
pub(crate) const MAX_WORKGROUPS: u32 = 65_535;

/// A kernel: its WGSL and what it computes.
pub struct Kernel {
    /// As in [`Step::kernel`].
    pub name: &'static str,
    /// Its modules: one, or one for each weight layout in the order of [`Layout::ALL`](crate::plan::Layout::ALL).
    pub shaders: &'static [Shader],
    /// Field names of the `Params` uniform, all 4 bytes wide.
    pub params: &'static [&'static str],
    /// The same computation in f64 on the CPU.
    pub reference: fn(&Step, &mut CpuMemory),
}

/// Every kernel.
pub static KERNELS: [&Kernel; 19] = [
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
    &sample::KERNEL,
];

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
            logits: Activation::declare(buffers, "logits", 1, vocabulary),
        }
    }
}

/// A `Params` uniform: a struct of 4-byte fields, in the order of the WGSL struct.
pub(crate) trait Params: bytemuck::Pod {
    const FIELDS: &'static [&'static str];

    fn words(&self) -> Vec<u32> {
        bytemuck::cast_slice(std::slice::from_ref(self)).to_vec()
    }

    fn of(step: &Step) -> Self {
        *bytemuck::from_bytes(bytemuck::cast_slice(&step.params))
    }
}

/// Declares a [`Params`] struct.
macro_rules! params {
    ($name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        pub(super) struct $name { $(pub(super) $field: $ty),* }
        impl $crate::kernels::Params for $name {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}
pub(crate) use params;

/// A module made of library files and the kernel's own, in `shaders/`.
macro_rules! shader {
    ($name:literal $(, $lib:literal)*) => {
        $crate::plan::Shader {
            name: $name,
            extension: None,
            files: &[
                $(include_str!(concat!("../../shaders/lib/", $lib, ".wgsl")),)*
                include_str!(concat!("../../shaders/", $name, ".wgsl")),
            ],
        }
    };
}
pub(crate) use shader;

/// One module for each weight layout, in the order of `Layout::ALL`: the kernel's file after the layout's and `$more`. A variant's
/// name begins with the variant's, and it may need an extension of WGSL.
macro_rules! layout_shaders {
    ($file:literal $(, $more:literal)*) => { layout_shaders!(["", None] $file $(, $more)*) };
    ($variant:tt $file:literal $(, $more:literal)*) => {
        [
            layout_shaders!(@one $variant $file, "f32" $(, $more)*),
            layout_shaders!(@one $variant $file, "f16" $(, $more)*),
            layout_shaders!(@one $variant $file, "bf16" $(, $more)*),
            layout_shaders!(@one $variant $file, "q8" $(, $more)*),
            layout_shaders!(@one $variant $file, "q8_min" $(, $more)*),
            layout_shaders!(@one $variant $file, "q4", "nibbles" $(, $more)*),
            layout_shaders!(@one $variant $file, "q4_min", "nibbles" $(, $more)*),
            layout_shaders!(@one $variant $file, "q4_k", "nibbles", "k_scales" $(, $more)*),
            layout_shaders!(@one $variant $file, "q5_k", "nibbles", "k_scales" $(, $more)*),
            layout_shaders!(@one $variant $file, "q6_k", "nibbles" $(, $more)*),
            layout_shaders!(@one $variant $file, "mxfp4" $(, $more)*),
        ]
    };
    (@one [$prefix:literal, $extension:expr] $file:literal, $layout:literal $(, $lib:literal)*) => {
        $crate::plan::Shader {
            name: concat!($prefix, $file, ".", $layout),
            extension: $extension,
            files: &[
                include_str!("../../shaders/lib/state.wgsl"),
                include_str!("../../shaders/lib/block.wgsl"),
                $(include_str!(concat!("../../shaders/lib/", $lib, ".wgsl")),)*
                include_str!(concat!("../../shaders/lib/", $layout, ".wgsl")),
                include_str!(concat!("../../shaders/", $file, ".wgsl")),
            ],
        }
    };
}
pub(crate) use layout_shaders;
