//! Inputs of products as 16-bit integers, each group of 32 with a scale of its own.
//!
//! 16 bits keep logits within 0.02 of those of f32 inputs; 8 bits, which other engines use, do not: single inputs of a
//! feed-forward layer reach thousands of times the others'.

use super::GROUP;
use super::lanes::{F32x4, I16x8};

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
            let fours = bytemuck::must_cast::<_, [[f32; 4]; GROUP / 4]>(padded).map(F32x4::new);
            let zero = F32x4::splat(0.0);
            let (mut most, mut nothing) = (zero, zero);
            for four in fours {
                most = most.max(four.max(zero.sub(four)));
                nothing = nothing.add(four.mul(zero)); // stays 0 where all are finite
            }
            let largest = most.values().into_iter().fold(0.0, f32::max);
            let finite = nothing.values().iter().all(|v| *v == 0.0);
            let scale = largest / f32::from(i16::MAX);
            let inverse = if scale > 0.0 && finite { 1.0 / scale } else { 0.0 };
            // A scale that is subnormal has no inverse: such inputs are nothing.
            let inverse = F32x4::splat(if inverse.is_finite() { inverse } else { 0.0 });
            // Floats of 1.5 · 2²³ and more are integers, whose lowest bits are those of what was added.
            let [a, b, c, d, e, f, g, h] = fours.map(|four| four.mul(inverse).add(F32x4::splat(12_582_912.0)));
            let planes = match order {
                Order::Natural => [[a, b], [c, d], [e, f], [g, h]],
                Order::Nibbles => {
                    let [[a, i], [b, j], [c, k], [d, l]] = [a.unzip(b), c.unzip(d), e.unzip(f), g.unzip(h)];
                    [[a, b], [c, d], [i, j], [k, l]]
                }
            };
            let [a, b, c, d] = planes.map(I16x8::lower_halves);
            let one = I16x8::splat(1);
            let sums = a.dot(one).add(b.dot(one)).add(c.dot(one)).add(d.dot(one));
            let sum: f32 = sums.to_floats().values().iter().sum(); // of integers: exact
            input.codes.push([[a, b], [c, d]]);
            let scale = if finite { scale } else { f32::NAN };
            input.scales.push(scale);
            input.sums.push(sum * scale);
        }
        input
    }
}
