//! The GPU sampler: chooses the next token and makes the next step's input of it.

use super::{Control, CpuMemory, Kernel, Params, State, params, shader};
use crate::gpu::{Access, Binding, Shader, Step};

static SHADERS: [Shader; 1] = [shader!("sample", "state")];

/// See `shaders/sample.wgsl`.
pub static KERNEL: Kernel = Kernel { name: "sample", shaders: &SHADERS, params: SampleParams::FIELDS, reference };

params!(SampleParams { vocabulary: u32, ring: u32 });

/// Slots of the ring of sampled ids: more than the steps ever queued.
pub const RING: u32 = 64;

/// What the sampler obeys, as in `shaders/sample.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SamplerOptions {
    /// 0: greedy.
    pub temperature: f32,
    /// 1: off.
    pub top_p: f32,
    /// 0: off.
    pub min_p: f32,
    /// 0: off.
    pub top_k: u32,
    /// Low and high word of the seed.
    pub seed: [u32; 2],
}

impl SamplerOptions {
    /// The largest logit, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, min_p: 0.0, top_k: 0, seed: [0; 2] };
}

/// Sampling from the step's logits.
#[derive(Debug, Clone, Copy)]
pub struct Sample;

impl Sample {
    /// The step.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        let vocabulary = control.logits.width;
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let write = |slot, buffer| Binding { slot, buffer, access: Access::ReadWrite };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: &SHADERS[0],
            constants: Vec::new(),
            bindings: vec![
                write(1, control.state),
                read(2, control.logits.buffer),
                read(3, control.options),
                write(4, control.tokens),
                write(5, control.ring),
            ],
            params: SampleParams { vocabulary: vocabulary as u32, ring: RING }.words(),
            grid: [1, 1, 1],
            detail: format!("logits[{vocabulary}] → id"),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = SampleParams::of(step);
    let mut state: State = memory.read(step.buffer(1));
    let options: SamplerOptions = memory.read(step.buffer(3));
    let logits = &memory.floats(step.buffer(2))[..p.vocabulary as usize];
    let (id, finite) = sample_reference(logits, &options, state.draws);
    memory.words_mut(step.buffer(4))[0] = id;
    let slot = (state.ring % p.ring) as usize * 2;
    memory.words_mut(step.buffer(5))[slot..slot + 2].copy_from_slice(&[id, u32::from(!finite)]);
    state.position += state.count;
    state.count = 1;
    state.draws += 1;
    state.ring += 1;
    memory.write(step.buffer(1), 0, bytemuck::bytes_of(&state));
}

/// Threads of the shader, in whose order a draw walks the vocabulary.
const THREADS: usize = 256;

/// The sampler on the CPU: the id for draw number `draw`, and whether every logit was finite.
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
pub(crate) fn integer_masses(logits: &[f32], maximum: f32, temperature: f32) -> Vec<u32> {
    let exp = |v: f32| f64::from((v - maximum) / temperature).exp();
    let unit = 2_147_483_648.0 / logits.iter().map(|&v| exp(v)).sum::<f64>();
    logits.iter().map(|&v| (exp(v) * unit) as u32).collect()
}

/// The smallest logit that top-k and top-p keep.
pub(crate) fn threshold(logits: &[f32], masses: &[u32], options: &SamplerOptions) -> f32 {
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
fn random(seed: [u32; 2], counter: u32) -> u32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Executor, Plan, Readback};
    use crate::kernels::testing::{self, Bench};

    /// Draws from one set of logits on the GPU, one submit a draw.
    fn draws(logits: &[f32], options: SamplerOptions, n: usize) -> Vec<[u32; 2]> {
        let mut b = Bench::new(1, logits.len());
        b.set(b.control.logits.buffer, bytemuck::cast_slice(logits));
        b.set(b.control.options, bytemuck::bytes_of(&options));
        let mut plan = Plan::new("sample");
        plan.push([Sample.step("sample", &b.control)]);
        testing::block_on(async {
            let executor: Executor = b.executor().await;
            let prepared = executor.prepare(&plan).await.unwrap();
            let staging = executor.staging(u64::from(RING) * 8).await.unwrap();
            let mut out = Vec::new();
            while out.len() < n {
                let batch = (n - out.len()).min(RING as usize);
                for i in 0..batch {
                    let read = Readback { from: b.control.ring, bytes: 0..u64::from(RING) * 8, to: &staging };
                    let last = i + 1 == batch;
                    executor.submit(&[&prepared], if last { std::slice::from_ref(&read) } else { &[] }).unwrap();
                }
                let ring = executor.fetch(&staging).await.unwrap();
                let ring: &[[u32; 2]] = bytemuck::cast_slice(&ring);
                out.extend((0..batch).map(|i| ring[(out.len() + i) % RING as usize]).collect::<Vec<_>>());
            }
            out
        })
    }

    fn options(temperature: f32, top_k: u32, top_p: f32, min_p: f32) -> SamplerOptions {
        SamplerOptions { temperature, top_p, min_p, top_k, seed: [7, 9] }
    }

    #[test]
    fn greedy_takes_the_largest_and_the_lowest_of_equals() {
        for n in [1, 2, 255, 256, 257, 1000, 49_152] {
            let mut logits = testing::normals(n as u64, n);
            assert_eq!(draws(&logits, SamplerOptions::GREEDY, 1)[0], [testing::argmax(&logits), 0], "n={n}");
            let top = logits.iter().copied().fold(f32::MIN, f32::max) + 1.0;
            logits[n / 2] = top;
            logits[n - 1] = top;
            assert_eq!(draws(&logits, SamplerOptions::GREEDY, 1)[0], [(n / 2).min(n - 1) as u32, 0], "n={n}");
        }
    }

    #[test]
    fn a_logit_that_is_not_finite_is_reported() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for temperature in [0.0, 0.8] {
                let mut logits = testing::normals(3, 999);
                logits[700] = bad;
                assert_eq!(draws(&logits, options(temperature, 0, 1.0, 0.0), 1)[0][1], 1, "{bad} at {temperature}");
            }
        }
        assert_eq!(draws(&[f32::NAN; 40], SamplerOptions::GREEDY, 1)[0][1], 1);
    }

    #[test]
    fn the_same_seed_draws_the_same_ids_as_the_reference() {
        for n in [5, 300, 5000] {
            let logits: Vec<f32> = testing::normals(n as u64, n).iter().map(|v| v * 3.0).collect();
            for o in [
                options(1.0, 0, 1.0, 0.0),
                options(0.6, 0, 0.95, 0.0),
                options(1.3, 40, 1.0, 0.0),
                options(0.9, 0, 1.0, 0.1),
                options(0.7, 20, 0.8, 0.05),
                options(1.0, 1, 1.0, 0.0),
                options(1.0, 0, 0.0, 0.0),
            ] {
                let got: Vec<u32> = draws(&logits, o, 64).iter().map(|d| d[0]).collect();
                let want: Vec<u32> = (0..64).map(|i| sample_reference(&logits, &o, i).0).collect();
                let differ = got.iter().zip(&want).filter(|(a, b)| a != b).count();
                assert!(differ <= 1, "n={n} {o:?}: {differ} of 64 draws differ"); // exp may round differently
            }
        }
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits: Vec<f32> = testing::normals(5, 30).iter().map(|v| v * 1.5).collect();
        for o in [options(1.0, 0, 1.0, 0.0), options(0.8, 12, 0.9, 0.02)] {
            let maximum = logits.iter().copied().fold(f32::MIN, f32::max);
            let masses = integer_masses(&logits, maximum, o.temperature);
            let threshold = threshold(&logits, &masses, &o);
            let least = maximum + o.min_p.ln() * o.temperature;
            let p: Vec<f64> =
                (0..30).map(|i| if logits[i] >= threshold.max(least) { f64::from(masses[i]) } else { 0.0 }).collect();
            let total: f64 = p.iter().sum();
            let n = 4096;
            let mut counts = [0.0; 30];
            draws(&logits, o, n).iter().for_each(|d| counts[d[0] as usize] += 1.0);
            let expected = |i: usize| p[i] / total * n as f64;
            assert!((0..30).all(|i| p[i] > 0.0 || counts[i] == 0.0), "a token outside the kept set was drawn");
            let kept: Vec<usize> = (0..30).filter(|&i| expected(i) >= 5.0).collect();
            let chi: f64 = kept.iter().map(|&i| (counts[i] - expected(i)).powi(2) / expected(i)).sum();
            let limit = kept.len() as f64 + 4.0 * (2.0 * kept.len() as f64).sqrt();
            assert!(chi < limit, "chi-square {chi:.1} over {} cells (limit {limit:.1}) for {o:?}", kept.len());
        }
    }
}
