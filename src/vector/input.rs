//! Inputs of products as 16-bit integers, each group of 32 with a scale of its own.
//!
//! 16 bits keep logits within 0.02 of those of f32 inputs; 8 bits, which other engines use, do not: single inputs of a
//! feed-forward layer reach thousands of times the others'.

use super::GROUP;
use super::lanes::I16x8;

/// The order of a group's values, which is that of the codes they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// 0, 1, 2, ….
    Natural,
    /// The order of the nibbles of eight 16-bit words: those of the lowest four bits, 0, 2, …, 14; of the next, 16, 18, …, 30;
    /// then 1, 3, …, 15 and 17, 19, …, 31.
    Nibbles,
}

/// A row of inputs.
pub struct Input {
    /// Four vectors for each group.
    pub codes: Vec<[[I16x8; 2]; 2]>,
    /// Each group's scale.
    pub scales: Vec<f32>,
    /// Each group's sum, of the rounded values: what rounding takes from products with large codes, minimums give back.
    pub sums: Vec<f32>,
}

impl Input {
    /// Rounds inputs to 16 bits. A group with a value that is not finite has a scale that is not.
    pub fn new(values: &[f32], order: Order) -> Self {
        let groups = values.len().div_ceil(GROUP);
        let mut input = Self {
            codes: Vec::with_capacity(groups),
            scales: Vec::with_capacity(groups),
            sums: Vec::with_capacity(groups),
        };
        for group in values.chunks(GROUP) {
            let mut padded = [0.0; GROUP];
            padded[..group.len()].copy_from_slice(group);
            let largest = padded.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            let finite = padded.iter().all(|v| v.is_finite());
            let scale = largest / f32::from(i16::MAX);
            let inverse = if scale > 0.0 && finite { 1.0 / scale } else { 0.0 };
            // A scale that is subnormal has no inverse: such inputs are nothing.
            let inverse = if inverse.is_finite() { inverse } else { 0.0 };
            let mut codes = [0i16; GROUP];
            for (code, v) in codes.iter_mut().zip(padded) {
                // Floats of 1.5 · 2²³ and more are integers, whose lowest bits are those of what was added.
                *code = (v * inverse + 12_582_912.0).to_bits() as i16;
            }
            let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
            let [a, b, c, d] = match order {
                Order::Natural => bytemuck::must_cast::<_, [[i16; 8]; 4]>(codes).map(I16x8::new),
                Order::Nibbles => {
                    let mut planes = [[0; 8]; 4];
                    for i in 0..8 {
                        planes[0][i] = codes[2 * i];
                        planes[1][i] = codes[16 + 2 * i];
                        planes[2][i] = codes[2 * i + 1];
                        planes[3][i] = codes[17 + 2 * i];
                    }
                    planes.map(I16x8::new)
                }
            };
            input.codes.push([[a, b], [c, d]]);
            let scale = if finite { scale } else { f32::NAN };
            input.scales.push(scale);
            input.sums.push(sum as f32 * scale);
        }
        input
    }
}
