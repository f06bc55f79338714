//! Passes of the sampler over the vocabulary. Integers that they make are those of the sampler's reference.

use super::lanes::F32x4;

/// The largest of `values` and the first place that has it; none where a value is not finite, or there are no values.
pub fn largest(values: &[f32]) -> Option<(usize, f32)> {
    let mut most = F32x4::splat(f32::MIN);
    let mut zeros = F32x4::splat(0.0);
    let mut fours = values.chunks_exact(4);
    for four in &mut fours {
        let four = F32x4::new(four.try_into().expect("four"));
        most = most.max(four);
        zeros = zeros.add(four.mul(F32x4::splat(0.0))); // no number where one is not finite
    }
    let finite = zeros.values().iter().chain(fours.remainder()).all(|v| v.is_finite());
    let most = most.values().into_iter().chain(fours.remainder().iter().copied()).fold(f32::MIN, f32::max);
    let place = values.iter().position(|&v| v == most)?;
    finite.then_some((place, most))
}

/// Probabilities of logits, of which `maximum` is the largest, after temperature as 31-bit integers.
pub fn masses(logits: &[f32], maximum: f32, temperature: f32) -> Vec<u32> {
    let weights: Vec<f64> = logits.iter().map(|v| f64::from((v - maximum) / temperature).exp()).collect();
    let unit = 2_147_483_648.0 / weights.iter().sum::<f64>();
    weights.into_iter().map(|weight| (weight * unit) as u32).collect()
}

/// Walks the masses in the order of a shader of so many threads, of which each takes every so manieth: the first place up to
/// which they sum to more than `target`.
pub fn walk(masses: &[u32], threads: usize, target: u32) -> Option<usize> {
    let mut totals = vec![0u32; threads];
    for row in masses.chunks(threads) {
        totals.iter_mut().zip(row).for_each(|(total, mass)| *total += mass);
    }
    let mut below = 0;
    for (thread, total) in totals.into_iter().enumerate() {
        if below + total <= target {
            below += total;
            continue;
        }
        for place in (thread..masses.len()).step_by(threads) {
            below += masses[place];
            if below > target {
                return Some(place);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest() {
        for n in 1..40 {
            let mut values: Vec<f32> = (0..n).map(|i| (i * 7 % 11) as f32 - 20.0).collect();
            let want = values.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(largest(&values), Some((values.iter().position(|&v| v == want).unwrap(), want)));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                values[n / 2] = bad;
                assert_eq!(largest(&values), None, "{bad} of {n}");
            }
        }
        assert_eq!(largest(&[-0.0, 0.0, -1.0]).map(|(place, _)| place), Some(0));
        assert_eq!(largest(&[]), None);
    }

    #[test]
    fn a_walk_meets_each_mass_in_turn() {
        let masses: Vec<u32> = (0..23).map(|i| i % 4).collect();
        let order: Vec<usize> = (0..5).flat_map(|thread| (thread..23).step_by(5)).collect();
        let drawn: Vec<usize> = order.into_iter().flat_map(|i| vec![i; masses[i] as usize]).collect();
        for (target, want) in drawn.iter().enumerate() {
            assert_eq!(walk(&masses, 5, target as u32), Some(*want));
        }
        assert_eq!(walk(&masses, 5, drawn.len() as u32), None);
    }
}
