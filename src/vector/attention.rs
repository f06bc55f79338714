//! The arithmetic of attention: scores, their softmax, and weighted sums of values.

use std::ops::Range;

use super::lanes::{F32x4, I16x8};

/// Rows of f32 values of one width, padded with zeros to fours.
#[derive(Debug)]
pub struct Rows {
    values: Vec<F32x4>,
    /// Vectors of a row.
    width: usize,
}

impl Rows {
    /// Room for `count` rows of `dim` values.
    pub fn new(count: usize, dim: usize) -> Self {
        let width = dim.div_ceil(4);
        Self { values: Vec::with_capacity(count * width), width }
    }

    /// Appends a row.
    pub fn push(&mut self, row: &[f32]) {
        let four = |four: &[f32]| F32x4::new(std::array::from_fn(|i| four.get(i).copied().unwrap_or(0.0)));
        self.values.extend(row.chunks(4).map(four));
    }

    /// Appends a row of f16, two in each word and padded to fours.
    pub fn push_halves(&mut self, words: &[u32]) {
        let end = self.values.len() + self.width;
        for four in words.chunks(4) {
            let mut padded = [0; 4];
            padded[..four.len()].copy_from_slice(four);
            self.values.extend(F32x4::from_halves(I16x8::from_bytes(bytemuck::must_cast(padded))));
        }
        self.values.truncate(end);
    }

    fn row(&self, row: usize) -> &[F32x4] {
        &self.values[row * self.width..][..self.width]
    }
}

fn dot(a: &[F32x4], b: &[F32x4]) -> f32 {
    let mut sums = [F32x4::splat(0.0); 2];
    let mut pairs = a.chunks_exact(2).zip(b.chunks_exact(2));
    for (a, b) in &mut pairs {
        sums[0] = sums[0].add(a[0].mul(b[0]));
        sums[1] = sums[1].add(a[1].mul(b[1]));
    }
    if a.len() % 2 == 1 {
        sums[0] = sums[0].add(a[a.len() - 1].mul(b[a.len() - 1]));
    }
    sums[0].add(sums[1]).values().iter().sum()
}

/// The values of rows `part` weighted by the exponentials of the products of query and key less the largest, and summed; the
/// largest product; and the sum of the weights. `sink` is one more score, without a value.
pub fn softmax_sums(
    query: &[f32],
    keys: &Rows,
    values: &Rows,
    part: Range<usize>,
    sink: Option<f32>,
) -> (Vec<f32>, f32, f32) {
    let mut padded = Rows::new(1, query.len());
    padded.push(query);
    let q = padded.row(0);
    let mut scores: Vec<f32> = part.clone().map(|key| dot(q, keys.row(key))).collect();
    let maximum = scores.iter().copied().chain(sink).fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|s| *s = (*s - maximum).exp());
    let denominator = scores.iter().sum::<f32>() + sink.map_or(0.0, |s| (s - maximum).exp());
    let mut sums = vec![F32x4::splat(0.0); values.width];
    for (key, weight) in part.zip(scores) {
        let weight = F32x4::splat(weight);
        sums.iter_mut().zip(values.row(key)).for_each(|(sum, v)| *sum = sum.add(v.mul(weight)));
    }
    (sums.iter().flat_map(|sum| sum.values()).collect(), maximum, denominator)
}
