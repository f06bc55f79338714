//! Plain arithmetic on rows of f32: norms, rotations, sums.

use super::exp::exp;
use super::lanes::F32x4;

/// `x · gain / sqrt(mean(x²) + eps)`
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let mut sums = [F32x4::splat(0.0); 4];
    let mut blocks = x.chunks_exact(16);
    for block in &mut blocks {
        for (sum, four) in sums.iter_mut().zip(block.chunks_exact(4)) {
            let four = F32x4::new(four.try_into().expect("four"));
            *sum = sum.add(four.mul(four));
        }
    }
    let rest: f32 = blocks.remainder().iter().map(|v| v * v).sum();
    let sum = F32x4::sums(sums).values().iter().sum::<f32>() + rest;
    let scale = 1.0 / (sum / x.len() as f32 + eps).sqrt();
    x.iter().zip(gain).map(|(v, g)| v * scale * g).collect()
}

/// Adds a row times `by` to another.
pub fn add_scaled(to: &mut [f32], row: &[f32], by: f32) {
    to.iter_mut().zip(row).for_each(|(to, v)| *to += v * by);
}

/// Rotates the first values of a row by angles whose cosines and sines are given: pairs of neighbours, or of halves of what rotates.
pub fn rotate(row: &mut [f32], angles: &[[f32; 2]], interleaved: bool) {
    let row = &mut row[..2 * angles.len()];
    let turn = |a: &mut f32, b: &mut f32, &[c, s]: &[f32; 2]| (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    if interleaved {
        for (pair, angle) in row.chunks_exact_mut(2).zip(angles) {
            let [a, b] = pair else { unreachable!("two") };
            turn(a, b, angle);
        }
    } else {
        let (first, last) = row.split_at_mut(angles.len());
        for ((a, b), angle) in first.iter_mut().zip(last).zip(angles) {
            turn(a, b, angle);
        }
    }
}

/// Combines what splits of attention left: rows of sums, then their largest score and the sum of their weights. `sink` is one
/// more score, without a value.
pub fn combine(splits: &[f32], value_dim: usize, sink: Option<f32>) -> Vec<f32> {
    let rows = || splits.chunks_exact(value_dim + 2);
    let maximum = rows().map(|row| row[value_dim]).chain(sink).fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: f32| exp(F32x4::splat(score - maximum)).values()[0];
    let mut sums = vec![0.0; value_dim];
    let mut denominator = sink.map_or(0.0, weight);
    for row in rows() {
        let weight = weight(row[value_dim]);
        denominator += row[value_dim + 1] * weight;
        add_scaled(&mut sums, &row[..value_dim], weight);
    }
    sums.iter_mut().for_each(|v| *v /= denominator);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_those_of_f64() {
        for n in [1, 3, 15, 16, 17, 64, 2049] {
            let x: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32 / 20.0 - 2.0).collect();
            let gain: Vec<f32> = (0..n).map(|i| 1.0 + (i % 7) as f32).collect();
            let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n as f64;
            for (i, got) in rms_norm(&x, &gain, 1e-5).into_iter().enumerate() {
                let want = f64::from(x[i]) * f64::from(gain[i]) / (mean + 1e-5).sqrt();
                assert!((f64::from(got) - want).abs() <= 1e-6 * want.abs().max(1e-3), "{n}: {got} {want}");
            }
        }
        assert!(rms_norm(&[1.0, f32::NAN], &[1.0; 2], 1e-5)[0].is_nan());
    }

    #[test]
    fn rotations_of_both_kinds() {
        let angles = [[0.6, 0.8], [0.0, 1.0]];
        let mut row = [1.0, 2.0, 3.0, 4.0, 5.0];
        rotate(&mut row, &angles, true);
        assert_eq!(row, [1.0 * 0.6 - 2.0 * 0.8, 2.0 * 0.6 + 1.0 * 0.8, -4.0, 3.0, 5.0]);
        let mut row = [1.0, 2.0, 3.0, 4.0, 5.0];
        rotate(&mut row, &angles, false);
        assert_eq!(row, [1.0 * 0.6 - 3.0 * 0.8, -4.0, 3.0 * 0.6 + 1.0 * 0.8, 2.0, 5.0]);
    }

    #[test]
    fn splits_combine_to_the_whole() {
        // Scores 0, 1 and 3 of values 2, 4 and 8, in two splits; a sink of score 2.
        let e = |x: f32| x.exp();
        let splits = [2.0 * e(-1.0) + 4.0, 1.0, e(-1.0) + 1.0, 8.0, 3.0, 1.0];
        let sum = 2.0 + 4.0 * e(1.0) + 8.0 * e(3.0);
        let whole = 1.0 + e(1.0) + e(3.0);
        assert!((combine(&splits, 1, None)[0] - sum / whole).abs() < 1e-5);
        assert!((combine(&splits, 1, Some(2.0))[0] - sum / (whole + e(2.0))).abs() < 1e-5);
    }
}
