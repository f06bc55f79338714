//! The record of a kernel: its shaders, parameters, variants, reference and self-test, and the macros that declare them.

use super::CpuMemory;
use super::small::{Maker, Small};
#[cfg(test)]
use crate::plan::Layout;
use crate::plan::{Shader, Step, Variant};

/// A kernel: its WGSL, what it computes, its variants and how it is tested at start-up.
pub struct Kernel {
    /// As in [`Step::kernel`].
    pub name: &'static str,
    /// The form that every device can run.
    pub shader: Shader,
    /// Whether it reads weights: there is a module for each layout.
    pub reads_weights: bool,
    /// Shaders of its variants, which run the same step: grid, bindings and parameters stay.
    pub variants: &'static [Shader],
    /// Field names of the `Params` uniform, all 4 bytes wide.
    pub params: &'static [&'static str],
    /// The same computation in f64 on the CPU.
    pub reference: fn(&Step, &mut CpuMemory),
    /// The same computation for processors, where it is another than the reference.
    pub cpu: Option<fn(&Step, &mut CpuMemory)>,
    /// A small step with a step's pipeline, for the self-test; none for kernels that are in no plan of a model.
    pub(super) small: Option<fn(&mut Maker, &Step) -> Small>,
}

/// A form for processors. The engine in a browser has none: its workers are instances of another module.
pub(super) const fn on_processors(form: fn(&Step, &mut CpuMemory)) -> Option<fn(&Step, &mut CpuMemory)> {
    if cfg!(all(target_arch = "wasm32", feature = "engine")) { None } else { Some(form) }
}

impl Kernel {
    /// The kernel's variant for a step.
    pub fn variant(&self, variant: Variant, step: &Step) -> Option<Shader> {
        let shader = *self.variants.iter().find(|shader| shader.id.variant == Some(variant))?;
        match step.shader.id.layout {
            None => Some(shader),
            Some(layout) => (variant.spec().layout_files)(layout).map(|_| shader.of(layout)),
        }
    }

    /// The kernel's modules: those of every variant, in every layout.
    #[cfg(test)]
    pub(super) fn modules(&self) -> Vec<Shader> {
        let shaders = std::iter::once(&self.shader).chain(self.variants);
        if !self.reads_weights {
            return shaders.copied().collect();
        }
        let has = |shader: &Shader, layout: Layout| match shader.id.variant {
            Some(variant) => (variant.spec().layout_files)(layout).is_some(),
            None => true,
        };
        let each = |shader: &Shader| Layout::ALL.map(|layout| has(shader, layout).then_some(shader.of(layout)));
        shaders.flat_map(each).flatten().collect()
    }
}

/// A `Params` uniform: a struct of 4-byte fields, in the order of the WGSL struct.
pub trait Params: bytemuck::Pod {
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
        impl $crate::kernels::kernel::Params for $name {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}
pub(super) use params;

/// A module made of library files and the kernel's own file. What it needs of a layout is added by [`Shader::of`]. A variant has its
/// name in front.
macro_rules! shader {
    ($name:literal $(, $lib:literal)*) => {
        $crate::plan::Shader::new($name, shader!(@files $name $(, $lib)*))
    };
    ($variant:ident $name:literal $(, $lib:literal)*) => {
        $crate::plan::Shader::variant($crate::plan::Variant::$variant, $name, shader!(@files $name $(, $lib)*))
    };
    (@files $name:literal $(, $lib:literal)*) => {
        &[
            $(include_str!(concat!(env!("OUT_DIR"), "/shaders/lib/", $lib, ".wgsl")),)*
            include_str!(concat!(env!("OUT_DIR"), "/shaders/", $name, ".wgsl")),
        ]
    };
}
pub(super) use shader;
