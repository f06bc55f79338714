//! Variants of kernels by what a device can do. Each is the same step with some library files replaced, so that grid,
//! bindings and reference stay. Those of software adapters are in [`software`](super::software).
//!
//! *Subgroups* (`shaders/variants/join.wgsl`): invocations that share rows of a decode product add their sums by shuffles,
//! at any subgroup size from 4 to 128, with one barrier in place of three to six. *f16* (`stored.wgsl`): prefill's tiles
//! hold weights in 16 bits, which takes 6 KiB of workgroup memory in place of 10; inputs and sums stay f32, since a few
//! channels of many models exceed 65,504. *int8* (`tile_int8.wgsl`), for NVIDIA GPUs since Pascal that offer no f16: codes
//! stay bytes, an input becomes two bytes, and 32 products are 16 instructions. With one byte per input, as other engines
//! do it, logits of SmolLM2 differ by up to 1.1; with two, by 0.015. WGSL defines these products everywhere, but most other
//! GPUs without f16 emulate them.
//!
//! No kernel uses more than 16 KiB of workgroup memory, so there is no variant for devices with more. The gain of the
//! variants on real GPUs has not been measured.

use serde::Deserialize;

use super::software::software;
use super::{experts, grouped, latent, layout_shaders, matmul, matvec};
use crate::plan::{DeviceFacts, Extension, Layout, Plan, Shader, Step};

/// Which variants plans run in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variants {
    /// For adapters that are the CPU.
    pub software: bool,
    /// Threads that share rows of a product join their sums by subgroups: decode.
    pub subgroups: bool,
    /// Tiled products keep weights as 16-bit floats in a workgroup's memory: prefill.
    pub f16: bool,
    /// Tiled products of quantised weights in bytes, two for each input: prefill.
    pub int8: bool,
}

impl Variants {
    /// Those that suit a device. Products of bytes are for GPUs that are known to have an instruction for them and no
    /// 16-bit floats: NVIDIA's Pascal, and later ones where a driver keeps those back.
    pub fn of(facts: &DeviceFacts) -> Self {
        if facts.software {
            return Self { software: true, ..Self::default() };
        }
        let f16 = facts.shader_f16;
        let vendor = facts.vendor.to_lowercase();
        let before_pascal = ["fermi", "kepler", "maxwell"].contains(&&*facts.architecture);
        let int8 = !f16 && facts.packed_int8 && vendor.contains("nvidia") && !before_pascal;
        Self { software: false, subgroups: facts.subgroups, f16, int8 }
    }

    /// Each that a device can run, alone.
    pub fn each(facts: &DeviceFacts) -> impl Iterator<Item = Self> {
        let none = Self::default();
        let all = [
            (true, Self { software: true, ..none }),
            (facts.subgroups, Self { subgroups: true, ..none }),
            (facts.shader_f16, Self { f16: true, ..none }),
            (facts.packed_int8, Self { int8: true, ..none }),
        ];
        all.into_iter().filter_map(|(can, variant)| can.then_some(variant))
    }

    /// Those of them that compute in f32.
    pub fn in_f32(self) -> Self {
        Self { f16: false, int8: false, ..self }
    }

    /// Takes out those that shaders of such names are of: whether there were any.
    pub fn drop_wrong(&mut self, shaders: &[&str]) -> bool {
        let before = *self;
        for (name, flag) in [
            (SOFTWARE, &mut self.software),
            (SUBGROUPS, &mut self.subgroups),
            (F16, &mut self.f16),
            (INT8, &mut self.int8),
        ] {
            *flag &= !shaders.iter().any(|shader| shader.starts_with(name));
        }
        *self != before
    }
}

const SOFTWARE: &str = "software/";
const SUBGROUPS: &str = "subgroups/";
const F16: &str = "f16/";
const INT8: &str = "int8/";

/// How far numbers may be from a reference's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    /// Each, relative to the larger of 1 and its value.
    pub each: f64,
    /// All together: the root of their mean square error, relative to that of their values.
    pub all: f64,
}

impl Tolerance {
    /// Of results of `shader`, where kernels that compute in f32 are within `each`. Variants that round their inputs are further off, in
    /// products by several times for single values, but not by much for all of them.
    pub fn of(shader: &Shader, each: f64) -> Self {
        if [F16, INT8].iter().any(|name| shader.name.starts_with(name)) {
            return Self { each: 1e-2, all: 1e-3 };
        }
        Self { each, all: f64::INFINITY }
    }

    /// The looser of two.
    #[cfg(test)]
    pub fn looser(self, other: Self) -> Self {
        if other.each > self.each { other } else { self }
    }

    /// The first number that is too far off, by its place; how many there are if all are together.
    pub fn first_beyond(self, got: &[f64], want: &[f64]) -> Option<usize> {
        let square = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|v| v * v).sum::<f64>();
        let values = square(&mut want.iter().copied());
        let error = square(&mut got.iter().zip(want).map(|(got, want)| got - want));
        // Where inputs are rounded, what cancels in a small value was as large as others.
        let usual = if self.all.is_finite() { (values / want.len() as f64).sqrt() } else { 0.0 };
        let within = |(got, want): (&f64, &f64)| (got - want).abs() <= self.each * want.abs().max(1.0).max(usual);
        let first = got.iter().zip(want).position(|pair| !within(pair));
        first.or((error > self.all.powi(2) * values).then_some(want.len()))
    }
}

static MATVEC: [Shader; 11] = layout_shaders!(["subgroups/", Some(Extension::Subgroups)] "matvec", "gate", "epilogue", "share", "x", "../variants/join");
static EXPERT_UP: [Shader; 11] = layout_shaders!(["subgroups/", Some(Extension::Subgroups)] "expert_up", "gate", "share", "x", "../variants/join", "route");
static EXPERT_DOWN: [Shader; 11] = layout_shaders!(["subgroups/", Some(Extension::Subgroups)] "expert_down", "share", "x", "../variants/join", "expert_rows");
static LATENT_VALUE: [Shader; 11] =
    layout_shaders!(["subgroups/", Some(Extension::Subgroups)] "latent_value", "share", "../variants/join");

static MATMUL_F16: [Shader; 11] =
    layout_shaders!(["f16/", Some(Extension::F16)] "matmul", "gate", "epilogue", "../variants/stored", "tile");
static EXPERT_MATMUL_F16: [Shader; 11] = layout_shaders!(["f16/", Some(Extension::F16)] "expert_matmul", "gate", "../variants/stored", "tile", "expert_rows");

/// Modules for the layouts whose codes fit in bytes, the kernel's other files in front.
macro_rules! byte_shaders {
    ($file:literal $(, $more:literal)*) => {
        [
            (Layout::Q8, byte_shaders!(@one $file, "q8", "../variants/q8" $(, $more)*)),
            (Layout::Q8Min, byte_shaders!(@one $file, "q8_min", "../variants/q8_min" $(, $more)*)),
            (Layout::Q4, byte_shaders!(@one $file, "q4", "nibbles", "../variants/q4" $(, $more)*)),
            (Layout::Q4Min, byte_shaders!(@one $file, "q4_min", "nibbles", "../variants/q4_min" $(, $more)*)),
            (Layout::Q4K, byte_shaders!(@one $file, "q4_k", "nibbles", "k_scales", "../variants/q4_k" $(, $more)*)),
            (Layout::Q5K, byte_shaders!(@one $file, "q5_k", "nibbles", "k_scales", "../variants/whole" $(, $more)*)),
            (Layout::Mxfp4, byte_shaders!(@one $file, "mxfp4", "../variants/whole" $(, $more)*)),
        ]
    };
    (@one $file:literal, $layout:literal $(, $lib:literal)*) => {
        layout_shaders!(@one ["int8/", None] $file, $layout, "../variants/packed", "../variants/tile_int8" $(, $lib)*)
    };
}

static MATMUL_INT8: [(Layout, Shader); 7] = byte_shaders!("matmul", "gate", "epilogue");
static EXPERT_MATMUL_INT8: [(Layout, Shader); 7] = byte_shaders!("expert_matmul", "gate", "expert_rows");

/// Every module of theirs.
#[cfg(test)]
pub(super) fn shaders() -> impl Iterator<Item = &'static Shader> {
    let by_layout = [&MATVEC, &EXPERT_UP, &EXPERT_DOWN, &LATENT_VALUE, &MATMUL_F16, &EXPERT_MATMUL_F16];
    let in_bytes = MATMUL_INT8.iter().chain(&EXPERT_MATMUL_INT8).map(|(_, shader)| shader);
    by_layout.into_iter().flatten().chain(in_bytes)
}

/// The plan in variants.
pub fn suited(plan: &Plan, variants: Variants, facts: &DeviceFacts) -> Plan {
    if variants.software {
        return software(plan, facts);
    }
    let steps = plan.steps.iter().map(|step| Step { shader: shader(step, variants), ..step.clone() }).collect();
    Plan { label: plan.label.clone(), steps }
}

fn shader(step: &Step, variants: Variants) -> &'static Shader {
    let layout = |shaders| matvec::layout_of(step, shaders);
    let in_bytes = |layout: Layout, shaders: &'static [(Layout, Shader)]| {
        let found = shaders.iter().find(|(of, _)| *of == layout).filter(|_| variants.int8);
        found.map_or(step.shader, |(_, shader)| shader)
    };
    if step.kernel == matmul::KERNEL.name {
        match layout(&matmul::SHADERS) {
            Layout::F32 => step.shader,
            layout if variants.f16 => &MATMUL_F16[layout as usize],
            layout => in_bytes(layout, &MATMUL_INT8),
        }
    } else if step.kernel == grouped::MATMUL.name {
        match layout(&grouped::MATMUL_SHADERS) {
            Layout::F32 => step.shader,
            layout if variants.f16 => &EXPERT_MATMUL_F16[layout as usize],
            layout => in_bytes(layout, &EXPERT_MATMUL_INT8),
        }
    } else if !variants.subgroups {
        step.shader
    } else if step.kernel == matvec::KERNEL.name {
        &MATVEC[layout(&matvec::SHADERS) as usize]
    } else if step.kernel == experts::UP.name {
        &EXPERT_UP[layout(&experts::UP_SHADERS) as usize]
    } else if step.kernel == experts::DOWN.name {
        &EXPERT_DOWN[layout(&experts::DOWN_SHADERS) as usize]
    } else if step.kernel == latent::VALUE.name {
        &LATENT_VALUE[layout(&latent::VALUE_SHADERS) as usize]
    } else {
        step.shader
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::device;

    #[test]
    fn bytes_are_for_gpus_with_an_instruction_for_them() {
        let facts = |vendor: &str, architecture: &str, shader_f16| DeviceFacts {
            vendor: vendor.into(),
            architecture: architecture.into(),
            shader_f16,
            subgroups: true,
            packed_int8: true,
            software: false,
            ..device().facts().clone()
        };
        let none = Variants { subgroups: true, ..Variants::default() };
        assert_eq!(Variants::of(&facts("nvidia", "pascal", false)), Variants { int8: true, ..none });
        assert_eq!(Variants::of(&facts("nvidia", "maxwell", false)), none);
        assert_eq!(Variants::of(&facts("amd", "gcn-4", false)), none);
        assert_eq!(Variants::of(&facts("", "", false)), none);
        assert_eq!(Variants::of(&facts("nvidia", "ampere", true)), Variants { f16: true, ..none });
        let cpu = DeviceFacts { software: true, ..facts("google", "swiftshader", true) };
        assert_eq!(Variants::of(&cpu), Variants { software: true, ..Variants::default() });
    }

    #[test]
    fn wrong_variants_are_taken_out_and_others_stay() {
        let all = Variants { software: false, subgroups: true, f16: true, int8: false };
        let mut left = all;
        assert!(!left.drop_wrong(&["matvec.q4", "norm"]));
        assert_eq!(left, all);
        assert!(left.drop_wrong(&["f16/matmul.q4", "norm"]));
        assert_eq!(left, Variants { f16: false, ..all });
        assert!(left.drop_wrong(&["subgroups/matvec.q4"]));
        assert_eq!(left, Variants::default());
    }
}
