//! Dequantises ggml's i-quants: runs of 4 or 8 weights are points of a code book, with separate signs and scales, in
//! blocks of 256.

use half::f16;

use super::grids::{GRID_IQ1_S, GRID_IQ2_S, GRID_IQ2_XS, GRID_IQ2_XXS, GRID_IQ3_S, GRID_IQ3_XXS};
use super::half_at;

/// The values of the 2-bit codes of IQ2_XXS, IQ2_XS and IQ2_S.
const IQ2: [f32; 3] = [8.0, 25.0, 43.0];
/// The values of the 3-bit codes of IQ3_XXS.
const IQ3_XXS: [f32; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];
/// The offset that IQ1_S and IQ1_M add to or subtract from their points.
const IQ1_DELTA: f32 = 0.125;

fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Nibble `i`, low ones first.
fn nibble_at(bytes: &[u8], i: usize) -> f32 {
    f32::from((bytes[i / 2] >> (i % 2 * 4)) & 15)
}

/// Eight signs from seven bits: the eighth makes the number of minuses even.
fn signs7(bits: u32) -> u8 {
    let bits = (bits & 127) as u8;
    bits | (bits.count_ones() as u8 & 1) << 7
}

/// Two-bit code `i` of a point.
fn code2(point: u16, i: usize) -> usize {
    usize::from((point >> (2 * i)) & 3)
}

fn sign(signs: u8, i: usize) -> f32 {
    if (signs >> i) & 1 == 0 { 1.0 } else { -1.0 }
}

/// Eight weights from one point of two-bit codes.
fn run8(weights: &mut [f32], scale: f32, point: u16, signs: u8) {
    for (i, w) in weights.iter_mut().enumerate() {
        *w = scale * IQ2[code2(point, i)] * sign(signs, i);
    }
}

/// w = d·(½ + s)/4·point·sign: f16 `d`, then for 32 weights four bytes of points and a word of 4 × 7 signs and 4 bits
/// `s`.
pub(super) fn iq2_xxs(block: &[u8; 66], weights: &mut [f32; 256]) {
    let d = half_at(block, 0);
    for (group, weights) in block[2..].chunks_exact(8).zip(weights.chunks_exact_mut(32)) {
        let word = u32_at(group, 4);
        let scale = d * (0.5 + (word >> 28) as f32) * 0.25;
        for (j, run) in weights.chunks_exact_mut(8).enumerate() {
            run8(run, scale, GRID_IQ2_XXS[usize::from(group[j])], signs7(word >> (7 * j)));
        }
    }
}

/// As [`iq2_xxs`]: f16 `d`, 32 words of 9 bits of point and 7 signs, then a nibble `s` for 16 weights.
pub(super) fn iq2_xs(block: &[u8; 74], weights: &mut [f32; 256]) {
    let d = half_at(block, 0);
    for (j, run) in weights.chunks_exact_mut(8).enumerate() {
        let word = u16_at(block, 2 + 2 * j);
        let scale = d * (0.5 + nibble_at(&block[66..], j / 2)) * 0.25;
        run8(run, scale, GRID_IQ2_XS[usize::from(word & 511)], signs7(u32::from(word >> 9)));
    }
}

/// As [`iq2_xs`]: f16 `d`, 32 low bytes of points, 32 bytes of signs, 8 of the points' high bits, 8 of `s`.
pub(super) fn iq2_s(block: &[u8; 82], weights: &mut [f32; 256]) {
    let d = half_at(block, 0);
    for (j, run) in weights.chunks_exact_mut(8).enumerate() {
        let high = usize::from((block[66 + j / 4] >> (j % 4 * 2)) & 3);
        let scale = d * (0.5 + nibble_at(&block[74..], j / 2)) * 0.25;
        run8(run, scale, GRID_IQ2_S[usize::from(block[2 + j]) | high << 8], block[34 + j]);
    }
}

/// w = d·(½ + s)/2·point·sign: f16 `d`, 64 points of four weights, then for 32 weights a word of 4 × 7 signs and 4 bits
/// `s`.
pub(super) fn iq3_xxs(block: &[u8; 98], weights: &mut [f32; 256]) {
    let d = half_at(block, 0);
    for (i, w) in weights.iter_mut().enumerate() {
        let word = u32_at(block, 66 + i / 32 * 4);
        let scale = d * (0.5 + (word >> 28) as f32) * 0.5;
        let point = GRID_IQ3_XXS[usize::from(block[2 + i / 4])];
        let code = usize::from((point >> (i % 4 * 3)) & 7);
        *w = scale * IQ3_XXS[code] * sign(signs7(word >> (i % 32 / 8 * 7)), i % 8);
    }
}

/// w = d·(1 + 2s)·point·sign: f16 `d`, 64 low bytes of points, 8 of their high bits, 32 of signs, 4 of `s` for 32
/// weights.
pub(super) fn iq3_s(block: &[u8; 110], weights: &mut [f32; 256]) {
    let d = half_at(block, 0);
    for (i, w) in weights.iter_mut().enumerate() {
        let run = i / 4;
        let high = usize::from((block[66 + run / 8] >> (run % 8)) & 1);
        let point = GRID_IQ3_S[usize::from(block[2 + run]) | high << 8];
        let scale = d * (1.0 + 2.0 * nibble_at(&block[106..], i / 32));
        let value = f32::from(2 * ((point >> (i % 4 * 3)) & 7) + 1);
        *w = scale * value * sign(block[74 + i / 8], i % 8);
    }
}

/// Eight weights from one point of −1, 0 and 1.
fn run1(weights: &mut [f32], scale: f32, point: usize, minus: bool) {
    let delta = if minus { -IQ1_DELTA } else { IQ1_DELTA };
    for (i, w) in weights.iter_mut().enumerate() {
        *w = scale * (code2(GRID_IQ1_S[point], i) as f32 - 1.0 + delta);
    }
}

/// w = d·(2s + 1)·(point ± ⅛): f16 `d`, 32 low bytes of points, then for 32 weights a word of 4 × 3 high bits, 3 bits `s`
/// and the shift's sign.
pub(super) fn iq1_s(block: &[u8; 50], weights: &mut [f32; 256]) {
    let d = half_at(block, 0);
    for (j, run) in weights.chunks_exact_mut(8).enumerate() {
        let word = u16_at(block, 34 + j / 4 * 2);
        let high = usize::from((word >> (j % 4 * 3)) & 7);
        let scale = d * f32::from(2 * ((word >> 12) & 7) + 1);
        run1(run, scale, usize::from(block[2 + j]) | high << 8, word & 0x8000 != 0);
    }
}

/// As [`iq1_s`]: 32 low bytes of points, 16 bytes of nibbles (3 high bits and the shift's sign, for 8 weights), four
/// words of four `s` of 3 bits (for 16 weights); the words' top nibbles together are the f16 `d`.
pub(super) fn iq1_m(block: &[u8; 56], weights: &mut [f32; 256]) {
    let words = [48, 50, 52, 54].map(|at| u16_at(block, at));
    let d = words.iter().enumerate().fold(0, |bits, (i, word)| bits | (word >> 12) << (4 * i));
    let d = f16::from_bits(d).to_f32();
    for (j, run) in weights.chunks_exact_mut(8).enumerate() {
        let nibble = (block[32 + j / 2] >> (j % 2 * 4)) & 15;
        let s = (words[j / 8] >> (j / 2 % 4 * 3)) & 7;
        let point = usize::from(block[j]) | usize::from(nibble & 7) << 8;
        run1(run, d * f32::from(2 * s + 1), point, nibble & 8 != 0);
    }
}
