//! WGSL modules: what identifies one, and the files that make it.

use std::fmt;

use super::facts::DeviceFacts;
use super::layout::Layout;

/// An extension of WGSL that a device may have been opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // WGSL's names
pub enum Extension {
    F16,
    Subgroups,
}

/// What distinguishes a variant.
#[derive(Debug)]
pub struct VariantSpec {
    /// The folder in front of the names of its shaders.
    pub name: &'static str,
    /// What its shaders need beyond WGSL's core.
    pub extension: Option<Extension>,
    /// Whether it rounds inputs or weights, so that it is not as near to a reference as f32 is.
    pub rounds: bool,
    /// Whether a device can run it.
    pub runs_on: fn(&DeviceFacts) -> bool,
    /// Whether a device that can run it gains by it.
    pub suits: fn(&DeviceFacts) -> bool,
    /// The files that it needs of a layout beside those that declare `weight_block`; none where it has no form of the layout.
    pub layout_files: fn(Layout) -> Option<&'static [&'static str]>,
}

/// The variants, one entry each: the enum, [`Variant::ALL`] and [`Variant::spec`].
macro_rules! variants {
    ($($(#[$doc:meta])* $variant:ident { $($spec:tt)* })*) => {
        /// A form of kernels for devices of some kind. [`Variant::ALL`] has them in the order in which a step prefers them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Variant { $($(#[$doc])* $variant),* }

        impl Variant {
            /// Every variant.
            pub const ALL: [Variant; [$(Variant::$variant),*].len()] = [$(Variant::$variant),*];

            /// The variant's entry.
            pub const fn spec(self) -> &'static VariantSpec {
                match self { $(Variant::$variant => &VariantSpec { $($spec)* }),* }
            }
        }
    };
}

variants! {
    /// Threads that share rows of a product reduce their sums by subgroups: decode.
    Subgroups {
        name: "subgroups",
        extension: Some(Extension::Subgroups),
        rounds: false,
        runs_on: |facts| facts.subgroups,
        suits: |_| true,
        layout_files: |_| Some(&[]),
    }
    /// Tiled products keep weights as 16-bit floats in a workgroup's memory: prefill.
    F16 {
        name: "f16",
        extension: Some(Extension::F16),
        rounds: true,
        runs_on: |facts| facts.shader_f16,
        suits: |_| true,
        layout_files: |layout| if layout == Layout::F32 { None } else { Some(&[]) },
    }
    /// Tiled products of quantised weights in bytes, two for each input: prefill. GPUs that are known to have an instruction for them and
    /// no 16-bit floats gain by it: NVIDIA's Pascal, and later ones where a driver keeps those back.
    Int8 {
        name: "int8",
        extension: None,
        rounds: true,
        runs_on: |facts| facts.packed_int8,
        suits: |facts| {
            let before_pascal = ["fermi", "kepler", "maxwell"].contains(&&*facts.architecture);
            !facts.shader_f16 && facts.vendor.to_lowercase().contains("nvidia") && !before_pascal
        },
        layout_files: |layout| layout.spec().packed,
    }
}

/// What identifies a module. It prints as `subgroups/matvec.q4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShaderId {
    /// None: the kernel's base form, which every device can run.
    pub variant: Option<Variant>,
    /// File name of the kernel without its ending.
    pub file: &'static str,
    /// Layout of the weights, where it reads some.
    pub layout: Option<Layout>,
}

impl fmt::Display for ShaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = String::new();
        if let Some(variant) = self.variant {
            name = name + variant.spec().name + "/";
        }
        name += self.file;
        if let Some(layout) = self.layout {
            name = name + "." + layout.name();
        }
        f.pad(&name)
    }
}

/// A WGSL module.
#[derive(Debug, Clone, Copy)]
pub struct Shader {
    /// Modules with the same id are the same.
    pub id: ShaderId,
    /// The kernel's file after the library files that it uses, but for those of the layout. The package holds each file once.
    pub files: &'static [&'static str],
}

impl Shader {
    /// A kernel's base form.
    pub const fn new(file: &'static str, files: &'static [&'static str]) -> Self {
        Self { id: ShaderId { variant: None, file, layout: None }, files }
    }

    /// A variant of a kernel.
    pub const fn variant(variant: Variant, file: &'static str, files: &'static [&'static str]) -> Self {
        Self { id: ShaderId { variant: Some(variant), file, layout: None }, files }
    }

    /// This module for weights in a layout.
    #[must_use]
    pub const fn of(mut self, layout: Layout) -> Self {
        self.id.layout = Some(layout);
        self
    }

    /// What it needs beyond WGSL's core.
    pub fn extension(&self) -> Option<Extension> {
        self.id.variant.and_then(|variant| variant.spec().extension)
    }

    /// The module's text. What the web asks for before subgroups may be used is added there: naga knows no directive for them.
    pub fn text(&self) -> String {
        let enable = if self.extension() == Some(Extension::F16) { "enable f16;\n" } else { "" };
        let (own, further) = match self.id.layout {
            None => (&[][..], &[][..]),
            Some(layout) => {
                let further = self.id.variant.and_then(|variant| (variant.spec().layout_files)(layout));
                (layout.spec().wgsl, further.unwrap_or_default())
            }
        };
        let files = own.iter().chain(further).chain(self.files);
        files.fold(enable.to_owned(), |text, file| text + file + "\n")
    }
}
