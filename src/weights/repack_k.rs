//! Repacks ggml's k-quants, super-block by super-block, to the layouts `Q4K`, `Q5K` and `Q6K`: the same codes and
//! scales in an order that a shader reads in whole words. Q3_K's codes and scales are narrower than Q6_K's, whose
//! layout holds them.

use super::dequantize::k_quants::{four_bits, scale_and_minimum, six_bit_scale, two_bits};
use super::dtype::Dtype;
use super::planes::Planes;
use crate::plan::layout::{GROUP, SUPER_BLOCK};

/// Appends one super-block of 256 weights.
pub(super) fn super_block(dtype: Dtype, block: &[u8], planes: &mut Planes) {
    match dtype {
        Dtype::Q4K => {
            put_nibbles(planes, |i| four_bits(&block[16..], 32, i));
            put_k_scales(planes, block);
        }
        Dtype::Q5K => {
            put_nibbles(planes, |i| four_bits(&block[48..], 32, i));
            put_k_scales(planes, block);
            for g in 0..SUPER_BLOCK / GROUP {
                put(planes, (0..GROUP).map(|i| u32::from(block[16 + i] >> g & 1) << i).sum());
            }
        }
        Dtype::Q6K => {
            let code = |i| four_bits(&block[..128], 64, i) | two_bits(&block[128..192], i) << 4;
            put_six_bits(planes, code, [block[208], block[209]], |s| block[192 + s]);
        }
        Dtype::Q3K => {
            // A weight is d · (s - 32) · (q - 4 where its high bit is clear): codes from -4 to 3, scales from -32 to 31.
            let high = |i: usize| block[i % 32] >> (i / 32) & 1;
            let code = |i| 32 + two_bits(&block[32..96], i) - 4 * (1 - high(i));
            let packed = &block[96..108];
            put_six_bits(planes, code, [block[108], block[109]], |s| six_bit_scale(packed, s).wrapping_sub(32));
        }
        other => unreachable!("{} is no k-quant with a layout", other.name()),
    }
}

fn put(planes: &mut Planes, word: u32) {
    planes.scales.extend(word.to_le_bytes());
}

/// The low nibbles of 256 codes, group by group: byte `j` holds weights `j` and `j + 16`.
fn put_nibbles(planes: &mut Planes, code: impl Fn(usize) -> u8) {
    for g in (0..SUPER_BLOCK).step_by(GROUP) {
        planes.codes.extend((g..g + 16).map(|i| code(i) & 15 | (code(i + 16) & 15) << 4));
    }
}

/// The four words of Q4_K's and Q5_K's scales: both begin with f16 `d` and `m` and 12 bytes of six-bit scales.
fn put_k_scales(planes: &mut Planes, block: &[u8]) {
    planes.scales.extend_from_slice(&block[..4]);
    let packed = &block[4..16];
    let (mut low_s, mut low_t, mut high) = (0u32, 0u32, 0u32);
    for j in 0..8 {
        let (s, t) = scale_and_minimum(packed, j);
        low_s |= u32::from(s & 15) << (4 * j);
        low_t |= u32::from(t & 15) << (4 * j);
        high |= u32::from(s >> 4) << (2 * j) | u32::from(t >> 4) << (16 + 2 * j);
    }
    [low_s, low_t, high].into_iter().for_each(|word| put(planes, word));
}

/// Six-bit codes around 32 with an i8 scale for every 16.
fn put_six_bits(planes: &mut Planes, code: impl Fn(usize) -> u8, d: [u8; 2], scale: impl Fn(usize) -> u8) {
    put_nibbles(planes, &code);
    put(planes, u32::from(u16::from_le_bytes(d)));
    planes.scales.extend((0..16).map(scale));
    for first in (0..SUPER_BLOCK).step_by(16) {
        put(planes, (0..16).map(|i| u32::from(code(first + i) >> 4) << (2 * i)).sum());
    }
}
