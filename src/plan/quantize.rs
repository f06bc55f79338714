//! Quantisation on the CPU: the rows of an unquantised matrix as `Q8` or `Q4`.
//!
//! Everything is decided by integers and by products that f32 holds exactly, so that the GPU's kernel
//! (`shaders/quantize.wgsl`) makes the same bits on every device:
//! - `Q8`: the scale is the group's largest magnitude / 127, rounded to f16; codes are the nearest multiples.
//! - `Q4`: the scale is the value of largest magnitude / -8, rounded to f16, as in ggml's `Q4_0`.
//!
//! A subnormal scale has few bits and is rounded up instead: the group's largest value is not to be cut off, nor lost.
//!
//! A code is the nearest multiple of the *rounded* scale, the smaller one where two are as near. A group with a value
//! that is not finite, or too large for an f16 scale, becomes NaN: it must not become a number.

use super::buffers::BufferId;
use super::layout::{GROUP, Layout};

/// f16's quiet NaN.
const NAN: u16 = 0x7e00;

/// Where published weights arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The weights, without gaps.
    pub input: BufferId,
    /// One [`QuantizeJob`].
    pub job: BufferId,
    /// Factors of e4m3, f32.
    pub factors: BufferId,
}

/// What the kernels that fill a part with published weights do next: the host writes it before each submit. See
/// `shaders/lib/published.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct QuantizeJob {
    /// Numbers of the input: 0 f32, 1 f16, 2 bf16, 3 e4m3 with factors.
    pub numbers: u32,
    /// Rows to be made.
    pub rows: u32,
    /// The part's row that the first becomes.
    pub first_row: u32,
    /// Rows of the part from one to the next.
    pub row_step: u32,
    /// Weights of a row that are here.
    pub k: u32,
    /// The group of the part's rows where they go; even.
    pub first_group: u32,
    /// Where the first weight is in the input, in weights.
    pub base: u32,
    /// Weights of the input from one row's to the next row's.
    pub row_stride: u32,
    /// Weights of the input from one of a row to the next.
    pub stride: u32,
    /// Weights of a stored row, for e4m3.
    pub width: u32,
    /// Weights before the input's first, from the first row of its block of 128 rows, for e4m3.
    pub origin: u32,
    /// Factors of a block of rows, for e4m3.
    pub across: u32,
}

impl QuantizeJob {
    /// Whole rows of `k` weights without gaps.
    pub fn whole(numbers: u32, rows: usize, k: usize) -> Self {
        let (rows, k) = (rows as u32, k as u32);
        Self { numbers, rows, row_step: 1, k, row_stride: k, stride: 1, ..Self::default() }
    }
}

/// The value of an E4M3 code (4 bits of exponent, 3 of mantissa, no infinities: arXiv 2209.05433) times a factor, rounded to
/// nearest, ties to even. Subnormals are zeros, NaN is one NaN.
pub fn e4m3_product(code: u8, factor: f32) -> f32 {
    let flushed = |v: f32| if v.to_bits() >> 23 & 255 == 0 { 0f32.copysign(v) } else { v };
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    // The product of 4 and 24 bits is exact in f64, which has subnormals of its own far below.
    let product = f64::from(if code >> 7 == 1 { -magnitude } else { magnitude }) * f64::from(flushed(factor));
    if product.is_nan() {
        return f32::NAN;
    }
    if product.abs() < f64::from(f32::MIN_POSITIVE) {
        return 0f32.copysign(product as f32);
    }
    product as f32
}

impl Layout {
    /// Whether rows of numbers can become this layout here.
    pub const fn can_quantize(self) -> bool {
        matches!(self, Self::Q8 | Self::Q4)
    }

    /// Appends a row in this layout to the planes.
    ///
    /// # Panics
    /// Unless the layout is `Q8` or `Q4`.
    pub fn quantize_row(self, values: &[f32], codes: &mut Vec<u8>, scales: &mut Vec<u8>) {
        assert!(self.can_quantize(), "{self:?}");
        let row_end = scales.len() + self.scale_row_bytes(values.len());
        for group in values.chunks(GROUP) {
            let mut padded = [0.0; GROUP];
            padded[..group.len()].copy_from_slice(group);
            // A subnormal is nothing: devices may flush it.
            padded.iter_mut().filter(|v| v.to_bits() >> 23 & 255 == 0).for_each(|v| *v = 0.0);
            let divisor = if self == Self::Q8 { 127 } else { 8 };
            let extreme = padded.iter().copied().fold(0.0, |a: f32, b| if b.abs() > a.abs() { b } else { a });
            let finite = padded.iter().all(|v| v.is_finite());
            let magnitude = if finite { scale_bits(extreme.abs(), divisor) } else { NAN };
            let negative = self == Self::Q4 && extreme > 0.0 && magnitude < NAN;
            scales.extend((magnitude | u16::from(negative) << 15).to_le_bytes());
            let step = if magnitude < 0x7c00 { f16_value(magnitude) } else { 0.0 };
            let level = |v: f32, most: u32| level(v.abs(), step, most) as i32;
            match self {
                Self::Q8 => codes.extend(padded.iter().map(|&v| {
                    let level = level(v, 127);
                    (if v < 0.0 { -level } else { level }) as u8
                })),
                _ => {
                    let code = |v: f32| {
                        let down = (v < 0.0) != negative;
                        if down { 8 - level(v, 8) } else { 8 + level(v, 7) }
                    };
                    codes.extend((0..16).map(|i| (code(padded[i]) | code(padded[i + 16]) << 4) as u8));
                }
            }
        }
        scales.resize(row_end, 0);
    }
}

/// f16 bits of `magnitude / divisor`, rounded to nearest, ties to even, or up to a subnormal; `magnitude` is finite and not
/// negative.
fn scale_bits(magnitude: f32, divisor: u32) -> u16 {
    let bits = magnitude.to_bits();
    let exponent = (bits >> 23) as i32;
    if exponent == 0 {
        return 0;
    }
    // magnitude = mantissa · 2^(exponent - 158)
    let mantissa = (bits & 0x7f_ffff | 0x80_0000) << 8;
    let (quotient, inexact) = (mantissa / divisor, !mantissa.is_multiple_of(divisor));
    let top = quotient.ilog2() as i32;
    let biased = top + exponent - 158 + 15;
    if biased >= 31 {
        return NAN;
    }
    let shift = (top - 10 + (1 - biased).max(0)) as u32;
    if shift > 31 {
        return 1;
    }
    let (kept, rest, half) = (quotient >> shift, quotient & ((1 << shift) - 1), 1 << (shift - 1));
    let up = if biased <= 0 { rest > 0 || inexact } else { rest > half || rest == half && (inexact || kept & 1 == 1) };
    let rounded = kept + u32::from(up) + if biased > 0 { (biased as u32 - 1) << 10 } else { 0 };
    if rounded >= 0x7c00 { NAN } else { rounded as u16 }
}

/// The value of a finite f16 that is not negative.
fn f16_value(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

/// The multiple of `step` nearest to `v`, the smaller one where two are as near; at most `most`.
fn level(v: f32, step: f32, most: u32) -> u32 {
    if step == 0.0 {
        return 0;
    }
    let mut n = ((v / step + 0.5) as u32).min(most);
    // The quotient is rounded; these products are exact.
    if (n as f32 + 0.5) * step < v {
        n += 1;
    }
    if n > 0 && (n as f32 - 0.5) * step >= v {
        n -= 1;
    }
    n.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantized(layout: Layout, values: &[f32]) -> Vec<f32> {
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        layout.quantize_row(values, &mut codes, &mut scales);
        assert_eq!(
            (codes.len(), scales.len()),
            (layout.code_row_bytes(values.len()), layout.scale_row_bytes(values.len()))
        );
        layout.dequantize_row(values.len(), &codes, &scales)
    }

    #[test]
    fn scales_are_rounded_as_f16_rounds() {
        let mut bits = 0x0080_0000u32;
        while bits < 0x7f80_0000 {
            let v = f32::from_bits(bits);
            for divisor in [8, 127] {
                let exact = f64::from(v) / f64::from(divisor);
                let nearest = half::f16::from_f64(exact);
                let want = match exact < 2f64.powi(-14) {
                    true => (exact * 2f64.powi(24)).ceil() as u16,
                    false if nearest.is_finite() => nearest.to_bits(),
                    false => NAN,
                };
                assert_eq!(scale_bits(v, divisor), want, "{v:e} / {divisor}");
            }
            bits += 104_729;
        }
    }

    #[test]
    fn every_value_is_within_half_a_step() {
        for (layout, steps) in [(Layout::Q8, 127.0), (Layout::Q4, 8.0)] {
            for size in [1e-3f32, 0.02, 1.0, 3e4] {
                let values: Vec<f32> = (0..77).map(|i| ((i * 37 % 71) as f32 / 35.0 - 1.0) * size).collect();
                for (group, got) in values.chunks(GROUP).zip(quantized(layout, &values).chunks(GROUP)) {
                    let most = group.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                    let step = most / steps * 1.01;
                    for (a, b) in group.iter().zip(got) {
                        // Q4 has no code for the extreme's opposite.
                        let limit = if layout == Layout::Q4 && a.abs() > 7.0 * step { step } else { step / 2.0 };
                        assert!((a - b).abs() <= limit * 1.01, "{layout:?}: {b} for {a}, step {step}");
                    }
                }
            }
            for tiny in [1e-6f32, 1e-5, 1.1e-5, 1e-4] {
                let got = quantized(layout, &[-tiny, tiny / 2.0])[0];
                let step = tiny / steps + 6e-8; // rounded up to a multiple of the least f16
                assert!((got + tiny).abs() <= step / 2.0, "{layout:?}: {got} for {}", -tiny);
            }
            assert_eq!(quantized(layout, &[0.0; 40]), [0.0; 40]);
            assert_eq!(quantized(layout, &[1e-40; 3]), [0.0; 3]);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
                let got = quantized(layout, &[[1.0; 32], [bad; 32]].concat());
                assert!(
                    got[..32].iter().all(|v| (v - 1.0).abs() < 1e-3) && got[32..].iter().all(|v| v.is_nan()),
                    "{bad}"
                );
            }
        }
    }
}
