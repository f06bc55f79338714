//! Dequantises ternary formats: weights of −1, 0 and 1 times one f16 scale per block of 256.

use super::half_at;

/// Five (or four) base-3 digits per byte, as the fraction digits/256: multiplying by 3 yields the next digit. 32 bytes
/// hold 160 weights, 16 hold 80, 4 hold 16; the distance between weights in one byte is the number of such bytes.
pub(super) fn tq1_0(block: &[u8; 54], weights: &mut [f32; 256]) {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let d = half_at(block, 52);
    for (i, w) in weights.iter_mut().enumerate() {
        let (byte, digit) = match i {
            0..160 => (i % 32, i / 32),
            160..240 => (32 + (i - 160) % 16, (i - 160) / 16),
            _ => (48 + (i - 240) % 4, (i - 240) / 4),
        };
        let shifted = block[byte].wrapping_mul(POWERS[digit]);
        *w = d * (f32::from(((u16::from(shifted) * 3) >> 8) as u8) - 1.0);
    }
}

/// Two bits per weight; a byte holds four weights that are 32 apart.
pub(super) fn tq2_0(block: &[u8; 66], weights: &mut [f32; 256]) {
    let d = half_at(block, 64);
    for (i, w) in weights.iter_mut().enumerate() {
        let code = block[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        *w = d * (f32::from(code) - 1.0);
    }
}
