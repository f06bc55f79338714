//! Dequantisation on the CPU: plain reference code for tests, for the CPU interpreter, and for vectors such as norm
//! weights.
//!
//! One small function per format, `f(block, weights)`; the formulas are ggml's, in its own order of f32 operations, so
//! values agree to the last bit with the reference implementations.

mod block32;
mod float4;
mod grids;
mod i_quants;
pub(super) mod k_quants;
mod ternary;

use half::{bf16, f16};

use super::dtype::Dtype;

/// Dequantises whole rows of `k` weights stored as `dtype`; `None` if the format has no implementation here.
///
/// # Panics
/// If `bytes` are not whole rows: the parsers checked the sizes.
pub fn dequantize_rows(dtype: Dtype, k: usize, bytes: &[u8]) -> Option<Vec<f32>> {
    let row_bytes = dtype.bytes(k as u64).expect("rows of whole blocks") as usize;
    assert!(
        row_bytes > 0 && bytes.len().is_multiple_of(row_bytes),
        "{} bytes are not whole rows of {row_bytes}",
        bytes.len()
    );
    Some(match dtype {
        Dtype::F32 => each(bytes, |b: &[u8; 4], w: &mut [f32; 1]| w[0] = f32::from_le_bytes(*b)),
        Dtype::F64 => each(bytes, |b: &[u8; 8], w: &mut [f32; 1]| w[0] = f64::from_le_bytes(*b) as f32),
        Dtype::F16 => each(bytes, |b: &[u8; 2], w: &mut [f32; 1]| w[0] = f16::from_le_bytes(*b).to_f32()),
        Dtype::Bf16 => each(bytes, |b: &[u8; 2], w: &mut [f32; 1]| w[0] = bf16::from_le_bytes(*b).to_f32()),
        Dtype::Q4_0 => each(bytes, block32::q4_0),
        Dtype::Q4_1 => each(bytes, block32::q4_1),
        Dtype::Q5_0 => each(bytes, block32::q5_0),
        Dtype::Q5_1 => each(bytes, block32::q5_1),
        Dtype::Q8_0 => each(bytes, block32::q8_0),
        Dtype::Q2K => each(bytes, k_quants::q2_k),
        Dtype::Q3K => each(bytes, k_quants::q3_k),
        Dtype::Q4K => each(bytes, k_quants::q4_k),
        Dtype::Q5K => each(bytes, k_quants::q5_k),
        Dtype::Q6K => each(bytes, k_quants::q6_k),
        Dtype::Iq1S => each(bytes, i_quants::iq1_s),
        Dtype::Iq1M => each(bytes, i_quants::iq1_m),
        Dtype::Iq2Xxs => each(bytes, i_quants::iq2_xxs),
        Dtype::Iq2Xs => each(bytes, i_quants::iq2_xs),
        Dtype::Iq2S => each(bytes, i_quants::iq2_s),
        Dtype::Iq3Xxs => each(bytes, i_quants::iq3_xxs),
        Dtype::Iq3S => each(bytes, i_quants::iq3_s),
        Dtype::Iq4Nl => each(bytes, float4::iq4_nl),
        Dtype::Iq4Xs => each(bytes, float4::iq4_xs),
        Dtype::Mxfp4 => each(bytes, float4::mxfp4),
        Dtype::Nvfp4 => each(bytes, float4::nvfp4),
        Dtype::Tq1_0 => each(bytes, ternary::tq1_0),
        Dtype::Tq2_0 => each(bytes, ternary::tq2_0),
        _ => return None,
    })
}

/// Applies `f` to every block of `B` bytes, giving `N` weights each.
fn each<const B: usize, const N: usize>(bytes: &[u8], f: impl Fn(&[u8; B], &mut [f32; N])) -> Vec<f32> {
    let (blocks, rest) = bytes.as_chunks::<B>();
    assert!(rest.is_empty(), "the format's block size");
    let mut weights = vec![0.0; blocks.len() * N];
    let (groups, _) = weights.as_chunks_mut::<N>();
    for (block, group) in blocks.iter().zip(groups) {
        f(block, group);
    }
    weights
}

/// The f16 at byte `at`.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Code `i` of bytes that hold half of their codes in low nibbles and the other half in high nibbles.
fn nibble(codes: &[u8], i: usize) -> u8 {
    if i < codes.len() { codes[i] & 15 } else { codes[i - codes.len()] >> 4 }
}
