//! Dequantises ggml's k-quants: super-blocks of 256 weights in 8 sub-blocks of 32 or 16 of 16, whose scales are
//! quantised too.

use super::half_at;

/// Two bits of weight `i`: a byte holds four weights that are 32 apart, 128 weights in 32 bytes.
pub(in crate::weights) fn two_bits(codes: &[u8], i: usize) -> u8 {
    codes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3
}

/// Four bits of weight `i`: a byte holds two weights that are `apart` apart.
pub(in crate::weights) fn four_bits(codes: &[u8], apart: usize, i: usize) -> u8 {
    codes[i / (2 * apart) * apart + i % apart] >> (i / apart % 2 * 4) & 15
}

/// w = d·s·q − m·t: 16 bytes of scales `s` (low nibble) and minimums `t` (high), 64 of codes, f16 `d`, f16 `m`.
pub(super) fn q2_k(block: &[u8; 84], weights: &mut [f32; 256]) {
    let (d, m) = (half_at(block, 80), half_at(block, 82));
    for (i, w) in weights.iter_mut().enumerate() {
        let scales = block[i / 16];
        let (scale, minimum) = (d * f32::from(scales & 15), m * f32::from(scales >> 4));
        *w = scale * f32::from(two_bits(&block[16..80], i)) - minimum;
    }
}

/// w = d·(s − 32)·(q − 4 where the high bit is clear): 32 bytes of high bits, 64 of codes, 12 of 6-bit scales, f16 `d`.
pub(super) fn q3_k(block: &[u8; 110], weights: &mut [f32; 256]) {
    let d = half_at(block, 108);
    let packed = &block[96..108];
    for (i, w) in weights.iter_mut().enumerate() {
        let scale = d * (f32::from(six_bit_scale(packed, i / 16)) - 32.0);
        let offset = if block[i % 32] >> (i / 32) & 1 == 1 { 0.0 } else { 4.0 };
        *w = scale * (f32::from(two_bits(&block[32..96], i)) - offset);
    }
}

/// The 6-bit scale and minimum of sub-block `j`, of Q4_K's and Q5_K's 12 bytes: the first four of each lie in bytes 0–3
/// and 4–7; the others have their low nibbles in bytes 8–11 and their two high bits above the first four.
pub(in crate::weights) fn scale_and_minimum(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    }
}

/// The 6-bit scale of sub-block `s` of Q3_K's 12 bytes: low nibbles in the first eight, the high bits in the last four.
pub(in crate::weights) fn six_bit_scale(packed: &[u8], s: usize) -> u8 {
    (packed[s % 8] >> (s / 8 * 4) & 15) | (packed[8 + s % 4] >> (s / 4 * 2) & 3) << 4
}

/// w = d·s·q − m·t: f16 `d`, f16 `m`, 12 bytes of 6-bit `s` and `t`, 128 of codes.
pub(super) fn q4_k(block: &[u8; 144], weights: &mut [f32; 256]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (i, w) in weights.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum(&block[4..16], i / 32);
        *w = d * f32::from(scale) * f32::from(four_bits(&block[16..], 32, i)) - m * f32::from(minimum);
    }
}

/// As Q4_K with a fifth bit: 32 bytes of high bits stand before the codes.
pub(super) fn q5_k(block: &[u8; 176], weights: &mut [f32; 256]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (i, w) in weights.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum(&block[4..16], i / 32);
        let high = block[16 + i % 32] >> (i / 32) & 1;
        *w = d * f32::from(scale) * f32::from(four_bits(&block[48..], 32, i) | high << 4) - m * f32::from(minimum);
    }
}

/// w = d·s·(q − 32): 128 bytes of low nibbles, 64 of two high bits, 16 i8 scales `s`, f16 `d`.
pub(super) fn q6_k(block: &[u8; 210], weights: &mut [f32; 256]) {
    let d = half_at(block, 208);
    for (i, w) in weights.iter_mut().enumerate() {
        let code = four_bits(&block[..128], 64, i) | two_bits(&block[128..192], i) << 4;
        let scale = d * f32::from(block[192 + i / 16] as i8);
        *w = scale * (f32::from(code) - 32.0);
    }
}
