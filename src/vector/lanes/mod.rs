//! Vectors of 128 bits, made of instructions that every processor of a target has: simd128 in wasm, SSE2 on x86-64, NEON on
//! aarch64; arrays elsewhere. [`Wide`] vectors have 256 bits: two of these, or AVX2's where the processor has it. Results are the
//! same bits on all of them.
//!
//! One file for each set of instructions. The crate's unsafe code is here: calls of instructions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(
    test,
    not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        all(target_arch = "wasm32", target_feature = "simd128")
    ))
))]
mod plain;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(test)]
pub mod tests;
mod wide;

#[cfg(target_arch = "aarch64")]
pub use neon::{F32x4, I16x8, I32x4};
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
pub use plain::{F32x4, I16x8, I32x4};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use simd128::{F32x4, I16x8, I32x4};
#[cfg(target_arch = "x86_64")]
pub use sse2::{F32x4, I16x8, I32x4};
pub use wide::{Floats, Integers, Pairs, Sums, Wide, Work};

/// Does work on the widest vectors that the processor has.
pub fn dispatch<T: Work>(work: T) -> T::Made {
    #[cfg(test)]
    if tests::PAIRS.get() {
        return work.run(Pairs);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(wide) = avx2::Avx2::detect() {
        return wide.run(work);
    }
    work.run(Pairs)
}
