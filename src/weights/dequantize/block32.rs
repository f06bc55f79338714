//! Dequantises ggml's legacy formats: blocks of 32 weights with one f16 scale `d`, some with an f16 minimum `m`.

use super::{half_at, nibble};

/// w = d·(q − 8)
pub(super) fn q4_0(block: &[u8; 18], weights: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (i, w) in weights.iter_mut().enumerate() {
        *w = d * (f32::from(nibble(&block[2..], i)) - 8.0);
    }
}

/// w = d·q + m
pub(super) fn q4_1(block: &[u8; 20], weights: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (i, w) in weights.iter_mut().enumerate() {
        *w = d * f32::from(nibble(&block[4..], i)) + m;
    }
}

/// The 5-bit code of weight `i`: its fifth bit is bit `i` of `high`.
fn code5(high: &[u8], low: &[u8], i: usize) -> f32 {
    f32::from(nibble(low, i) | (high[i / 8] >> (i % 8) & 1) << 4)
}

/// w = d·(q − 16)
pub(super) fn q5_0(block: &[u8; 22], weights: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (i, w) in weights.iter_mut().enumerate() {
        *w = d * (code5(&block[2..6], &block[6..], i) - 16.0);
    }
}

/// w = d·q + m
pub(super) fn q5_1(block: &[u8; 24], weights: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (i, w) in weights.iter_mut().enumerate() {
        *w = d * code5(&block[4..8], &block[8..], i) + m;
    }
}

/// w = d·q, q an i8
pub(super) fn q8_0(block: &[u8; 34], weights: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (w, code) in weights.iter_mut().zip(&block[2..]) {
        *w = d * f32::from(*code as i8);
    }
}
