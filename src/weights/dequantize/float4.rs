//! Dequantises formats whose 4-bit codes index unevenly spaced values: IQ4, MXFP4, NVFP4.

use super::{half_at, nibble};

/// The values of IQ4_NL and IQ4_XS (ggml).
const IQ4: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// The values of e2m1 floats (OCP Microscaling Formats 1.0), doubled so that they are whole.
const E2M1_DOUBLED: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// w = d·IQ4[q]: f16 `d`, 16 bytes of codes.
pub(super) fn iq4_nl(block: &[u8; 18], weights: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (i, w) in weights.iter_mut().enumerate() {
        *w = d * IQ4[usize::from(nibble(&block[2..], i))];
    }
}

/// w = d·(s − 32)·IQ4[q]: f16 `d`, the scales' two high bits in a u16, their low nibbles in 4 bytes, 128 bytes of codes.
pub(super) fn iq4_xs(block: &[u8; 136], weights: &mut [f32; 256]) {
    let d = half_at(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (j, (codes, group)) in block[8..].chunks_exact(16).zip(weights.chunks_exact_mut(32)).enumerate() {
        let low = block[4 + j / 2] >> (j % 2 * 4) & 15;
        let scale = d * (f32::from(u16::from(low) | (high >> (2 * j) & 3) << 4) - 32.0);
        for (i, w) in group.iter_mut().enumerate() {
            *w = scale * IQ4[usize::from(nibble(codes, i))];
        }
    }
}

/// w = 2^(e − 127)·e2m1[q]: one byte of exponent, 16 bytes of codes.
pub(super) fn mxfp4(block: &[u8; 17], weights: &mut [f32; 32]) {
    // Half the scale, because the table is doubled; below 2^-126 that is a subnormal.
    let bits = match u32::from(block[0]) {
        e @ 0..2 => 0x0020_0000 << e,
        e => (e - 1) << 23,
    };
    let d = f32::from_bits(bits);
    for (i, w) in weights.iter_mut().enumerate() {
        *w = d * E2M1_DOUBLED[usize::from(nibble(&block[1..], i))];
    }
}

/// w = s·e2m1[q]: four unsigned e4m3 scales, one for 16 weights, then 8 bytes of codes for each.
pub(super) fn nvfp4(block: &[u8; 36], weights: &mut [f32; 64]) {
    for (j, (codes, group)) in block[4..].chunks_exact(8).zip(weights.chunks_exact_mut(16)).enumerate() {
        let d = half_of_e4m3(block[j]);
        for (i, w) in group.iter_mut().enumerate() {
            *w = d * E2M1_DOUBLED[usize::from(nibble(codes, i))];
        }
    }
}

/// Half the value of an unsigned e4m3 float; its NaN counts as 0, as in ggml.
fn half_of_e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    match (byte, exponent) {
        (0x7f, _) => 0.0,
        (_, 0) => mantissa * 0.5f32.powi(10),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 8),
    }
}
