//! Variants of kernels by what a device can do: which of them suit it, and plans that run in them. Each is the same step with
//! some library files replaced, so that grid, bindings and reference stay. What a variant is stands in its
//! [`VariantSpec`](crate::plan::VariantSpec), its shaders in the records of the kernels.
//!
//! *Subgroups* (`shaders/variants/reduce.wgsl`): invocations that share rows of a decode product add their sums by shuffles,
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

use super::kernel_of;
use crate::plan::{DeviceFacts, Plan, Shader, ShaderId, Variant};

/// Which variants plans run in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variants {
    /// Threads that share rows of a product reduce their sums by subgroups: decode.
    pub subgroups: bool,
    /// Tiled products keep weights as 16-bit floats in a workgroup's memory: prefill.
    pub f16: bool,
    /// Tiled products of quantised weights in bytes, two for each input: prefill.
    pub int8: bool,
}

impl Variants {
    /// The variants that suit a device.
    pub fn of(facts: &DeviceFacts) -> Self {
        if facts.on_processor() {
            return Self::default(); // it runs no shaders, or gains nothing by them
        }
        let suits = |variant: &Variant| (variant.spec().runs_on)(facts) && (variant.spec().suits)(facts);
        let mut suited = Self::default();
        Variant::ALL.iter().filter(|variant| suits(variant)).for_each(|&variant| *suited.flag(variant) = true);
        suited
    }

    /// Each variant that a device can run, alone.
    pub fn each(facts: &DeviceFacts) -> impl Iterator<Item = Self> {
        Variant::ALL.into_iter().filter(|variant| (variant.spec().runs_on)(facts)).map(|variant| {
            let mut alone = Self::default();
            *alone.flag(variant) = true;
            alone
        })
    }

    /// The variants of these that compute in f32.
    pub fn in_f32(mut self) -> Self {
        Variant::ALL.iter().filter(|variant| variant.spec().rounds).for_each(|&variant| *self.flag(variant) = false);
        self
    }

    /// Takes out the variants that the shaders belong to; returns whether there were any.
    pub fn drop_wrong(&mut self, shaders: &[ShaderId]) -> bool {
        let before = *self;
        shaders.iter().filter_map(|id| id.variant).for_each(|variant| *self.flag(variant) = false);
        *self != before
    }

    /// The variants as a number below 2^3.
    pub fn bits(self) -> u8 {
        u8::from(self.subgroups) | u8::from(self.f16) << 1 | u8::from(self.int8) << 2
    }

    /// The variants of some [`Self::bits`].
    pub fn of_bits(bits: u8) -> Self {
        Self { subgroups: bits & 1 != 0, f16: bits & 2 != 0, int8: bits & 4 != 0 }
    }

    pub(super) fn flag(&mut self, variant: Variant) -> &mut bool {
        match variant {
            Variant::Subgroups => &mut self.subgroups,
            Variant::F16 => &mut self.f16,
            Variant::Int8 => &mut self.int8,
        }
    }
}

/// How far numbers may be from a reference's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    /// Each, relative to the larger of 1 and its value.
    pub each: f64,
    /// All together: the root of their mean square error, relative to that of their values.
    pub all: f64,
}

impl Tolerance {
    /// The tolerance of results of `shader`, where kernels that compute in f32 are within `each`. Variants that round their inputs
    /// are further off, in products by several times for single values, but not by much for all of them.
    pub fn of(shader: &Shader, each: f64) -> Self {
        if shader.id.variant.is_some_and(|variant| variant.spec().rounds) {
            return Self { each: 1e-2, all: 1e-3 };
        }
        Self { each, all: f64::INFINITY }
    }

    /// The looser of two tolerances.
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

/// The plan with each step in the first of the variants that has a form of it.
pub fn suited(plan: &Plan, mut variants: Variants) -> Plan {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        let kernel = kernel_of(step);
        let mut chosen = Variant::ALL.into_iter().filter(|&variant| *variants.flag(variant));
        if let Some(shader) = chosen.find_map(|variant| kernel.variant(variant, step)) {
            step.shader = shader;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::device;
    use crate::plan::Executor;

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
        assert_eq!(Variants::of(&cpu), Variants::default());
    }

    #[test]
    fn variants_are_numbers() {
        let numbers: Vec<u8> = (0..8).map(|bits| Variants::of_bits(bits).bits()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn wrong_variants_are_taken_out_and_others_stay() {
        let all = Variants { subgroups: true, f16: true, ..Variants::default() };
        let shader = |variant| ShaderId { variant, file: "matvec", layout: None };
        let mut left = all;
        assert!(!left.drop_wrong(&[shader(None), shader(None)]));
        assert_eq!(left, all);
        assert!(left.drop_wrong(&[shader(Some(Variant::F16)), shader(None)]));
        assert_eq!(left, Variants { f16: false, ..all });
        assert!(left.drop_wrong(&[shader(Some(Variant::Subgroups))]));
        assert_eq!(left, Variants::default());
    }
}
