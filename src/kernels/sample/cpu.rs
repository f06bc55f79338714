//! The sampler on processors: the reference's integers and draws, in fewer passes.

use std::borrow::Cow;

use minke_vector::{largest, masses, walk};

use super::reference::{THREADS, adjusted, logprobs, masked, random, sample_reference};
use super::{History, SampleParams, SamplerOptions, report};
use crate::kernels::{CpuMemory, Params, State};
use crate::plan::Step;

/// See the module.
pub fn sample(step: &Step, memory: &mut CpuMemory) {
    let p = SampleParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let options: SamplerOptions = memory.read(step.buffer(3));
    let raw = &memory.floats(step.buffer(2))[..p.vocabulary as usize];
    let history: &[History] = bytemuck::cast_slice(&memory.words(step.buffer(6))[..2 * raw.len()]);
    let logits = match options.adjust {
        0 => Cow::Borrowed(raw),
        _ => Cow::Owned(adjusted(raw, &options, history)),
    };
    let logits = match options.masked {
        1 if largest(&logits).is_some() => Cow::Owned(masked(&logits, memory.words(step.buffer(7)))),
        _ => logits,
    };
    let (id, finite) = draw(&logits, &options, state.draws);
    let own = (options.logprobs > 0 && finite).then(|| logprobs(raw, id, (options.logprobs - 1) as usize));
    report(step, memory, id, finite, own);
}

/// What [`sample_reference`] returns.
pub fn draw(logits: &[f32], options: &SamplerOptions, draw: u32) -> (u32, bool) {
    let Some((id, maximum)) = largest(logits) else { return sample_reference(logits, options, draw) };
    if options.temperature <= 0.0 {
        return (id as u32, true);
    }
    let mut masses = masses(logits, maximum, options.temperature);
    let least = if options.min_p > 0.0 { maximum + options.min_p.ln() * options.temperature } else { f32::MIN };
    let least = least.max(threshold(logits, &masses, options));
    masses.iter_mut().zip(logits).filter(|(_, v)| **v < least).for_each(|(mass, _)| *mass = 0);
    let total: u32 = masses.iter().sum();
    let target = ((u64::from(random(options.seed, draw)) * u64::from(total)) >> 32) as u32;
    (walk(&masses, THREADS, target).unwrap_or(id) as u32, true)
}

/// The smallest logit that top-k and top-p keep.
pub fn threshold(logits: &[f32], masses: &[u32], options: &SamplerOptions) -> f32 {
    let mut threshold = f32::NEG_INFINITY;
    let k = options.top_k as usize;
    if k > 0 && k < logits.len() {
        threshold = *logits.to_vec().select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
    }
    if options.top_p < 1.0 {
        let kept: u32 = logits.iter().zip(masses).filter(|(v, _)| **v >= threshold).map(|(_, mass)| mass).sum();
        let wanted = ((options.top_p * kept as f32) as u32).max(1);
        // A logit without mass takes the sum no further.
        let mut left: Vec<(f32, u32)> =
            logits.iter().copied().zip(masses.iter().copied()).filter(|&(_, mass)| mass > 0).collect();
        let mut above = 0;
        for size in (6..).step_by(3).map(|bits| 1usize << bits) {
            let first = size.min(left.len());
            if first < left.len() {
                left.select_nth_unstable_by(first, |a, b| b.0.total_cmp(&a.0));
            }
            let rest = left.split_off(first);
            left.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            for (logit, mass) in left {
                above += mass;
                if above >= wanted {
                    return threshold.max(logit);
                }
            }
            left = rest;
            if left.is_empty() {
                break;
            }
        }
    }
    threshold
}
