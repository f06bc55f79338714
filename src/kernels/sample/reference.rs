//! The sampler on the CPU: the same steps in plain code, in f64 where the GPU rounds.

use super::{History, SamplerOptions};

/// Logits after bias and penalties, as the sampler sees them.
pub fn adjusted(logits: &[f32], options: &SamplerOptions, history: &[History]) -> Vec<f32> {
    if options.adjust == 0 {
        return logits.to_vec();
    }
    let adjust = |(&logit, known): (&f32, &History)| {
        let mut v = logit + known.bias;
        if known.times != 0 {
            v *= if v > 0.0 { options.repetition_inverse } else { options.repetition };
            let generated = known.times & !History::IN_PROMPT;
            v -= generated as f32 * options.frequency + if generated > 0 { options.presence } else { 0.0 };
        }
        if v.is_finite() { v.clamp(-3.4e38, 3.4e38) } else { v }
    };
    logits.iter().zip(history).map(adjust).collect()
}

/// Logits of which only those take part whose bit is set in `mask`: the others have no mass, and are not the largest.
pub fn masked(logits: &[f32], mask: &[u32]) -> Vec<f32> {
    let bit = |i: usize| mask[i / 32] >> (i % 32) & 1 == 1;
    logits.iter().enumerate().map(|(i, &v)| if bit(i) { v } else { f32::MIN }).collect()
}

/// Logarithm of the probability of `id`, and of the `top` most probable tokens, the lowest id first among equals.
pub fn logprobs(logits: &[f32], id: u32, top: usize) -> (f64, Vec<(u32, f64)>) {
    let maximum = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - maximum).exp()).sum();
    let of = |id: u32| f64::from(logits[id as usize] - maximum) - sum.ln();
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let top = top.min(order.len());
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top, by_logit);
    }
    order.truncate(top);
    order.sort_unstable_by(by_logit);
    (of(id), order.into_iter().map(|id| (id, of(id))).collect())
}

/// Threads of the shader, in whose order a draw walks the vocabulary.
pub(super) const THREADS: usize = 256;

/// The id that draw number `draw` takes from adjusted logits, and whether every logit was finite.
pub fn sample_reference(logits: &[f32], options: &SamplerOptions, draw: u32) -> (u32, bool) {
    let finite = logits.iter().all(|v| v.is_finite());
    let mut best = None;
    for (i, &v) in logits.iter().enumerate().filter(|(_, v)| v.is_finite()) {
        if best.is_none_or(|(_, b)| v > b) {
            best = Some((i, v));
        }
    }
    let Some((id, maximum)) = best else { return (logits.len() as u32 - 1, finite) };
    if options.temperature <= 0.0 || !finite {
        return (id as u32, finite);
    }
    let masses = integer_masses(logits, maximum, options.temperature);
    let threshold = threshold(logits, &masses, options);
    let least = if options.min_p > 0.0 { maximum + options.min_p.ln() * options.temperature } else { f32::MIN };
    let kept = |i: usize| if logits[i] >= threshold && logits[i] >= least { masses[i] } else { 0 };
    let total: u32 = (0..logits.len()).map(kept).sum();
    let target = ((u64::from(random(options.seed, draw)) * u64::from(total)) >> 32) as u32;
    let mut below = 0;
    for start in 0..THREADS {
        for i in (start..logits.len()).step_by(THREADS) {
            below += kept(i);
            if below > target {
                return (i as u32, finite);
            }
        }
    }
    (id as u32, finite)
}

/// Probabilities after temperature as 31-bit integers.
pub(super) fn integer_masses(logits: &[f32], maximum: f32, temperature: f32) -> Vec<u32> {
    let exp = |v: f32| f64::from((v - maximum) / temperature).exp();
    let unit = 2_147_483_648.0 / logits.iter().map(|&v| exp(v)).sum::<f64>();
    logits.iter().map(|&v| (exp(v) * unit) as u32).collect()
}

/// The smallest logit that top-k and top-p keep.
pub(super) fn threshold(logits: &[f32], masses: &[u32], options: &SamplerOptions) -> f32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let mut threshold = f32::NEG_INFINITY;
    if options.top_k > 0 && (options.top_k as usize) < logits.len() {
        threshold = logits[order[options.top_k as usize - 1]];
    }
    if options.top_p < 1.0 {
        let kept: u32 = (0..logits.len()).filter(|&i| logits[i] >= threshold).map(|i| masses[i]).sum();
        let wanted = ((options.top_p * kept as f32) as u32).max(1);
        let mut above = 0;
        for &i in &order {
            above += masses[i];
            if above >= wanted {
                threshold = threshold.max(logits[i]);
                break;
            }
        }
    }
    threshold
}

/// PCG-3D (Jarzynski & Olano 2020), first component.
pub(super) fn random(seed: [u32; 2], counter: u32) -> u32 {
    let mix = |v: u32| v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let [mut x, mut y, mut z] = [mix(seed[0]), mix(seed[1]), mix(counter)];
    let round = |x: &mut u32, y: &mut u32, z: &mut u32| {
        *x = x.wrapping_add(y.wrapping_mul(*z));
        *y = y.wrapping_add(z.wrapping_mul(*x));
        *z = z.wrapping_add(x.wrapping_mul(*y));
    };
    round(&mut x, &mut y, &mut z);
    (x, y, z) = (x ^ (x >> 16), y ^ (y >> 16), z ^ (z >> 16));
    round(&mut x, &mut y, &mut z);
    x
}
