//! The first two steps of the sampler: what a slice of the logits says of itself, and which tokens may be drawn. On processors they
//! do nothing, since one pass over the logits is short there and the last step makes it.

use super::reference::THREADS;
use super::{History, SampleParams, SamplerOptions, logits_of};
use crate::kernels::small::{Maker, Small};
use crate::kernels::{CpuMemory, Kernel, Params, on_processors, shader};
use crate::plan::{Access, Binding, Buffers, Role, Step};

/// See `shaders/sample_scan.wgsl`.
pub static SCAN: Kernel = Kernel {
    name: "sample_scan",
    shader: shader!("sample_scan", "sampler"),
    reads_weights: false,
    variants: &[],
    params: SampleParams::FIELDS,
    reference: scan,
    cpu: on_processors(|_, _| {}),
    small: Some(|maker, step| small(maker, step, &[])),
};
/// See `shaders/sample_keep.wgsl`.
pub static KEEP: Kernel = Kernel {
    name: "sample_keep",
    shader: shader!("sample_keep", "sampler"),
    reads_weights: false,
    variants: &[],
    params: SampleParams::FIELDS,
    reference: keep,
    cpu: on_processors(|_, _| {}),
    small: Some(|maker, step| small(maker, step, &[scan])),
};

/// Logits of a slice, where there are no more than [`THREADS`] such.
const SLICE: usize = 1024;
const NONE: u32 = u32::MAX;
/// Words of `Work` in `shaders/lib/sampler.wgsl`: before the parts, of a part, before the candidates.
const PARTS: usize = THREADS;
const PART: usize = 7;
const COUNT: usize = PARTS + THREADS * PART;
const CANDIDATES: usize = COUNT + 2;

/// Logits of a workgroup: whole rounds of its threads.
pub fn slice(vocabulary: usize) -> usize {
    SLICE.max(vocabulary.div_ceil(THREADS).next_multiple_of(THREADS))
}

/// Slices of a vocabulary.
pub fn count(vocabulary: usize) -> usize {
    vocabulary.div_ceil(slice(vocabulary))
}

/// Bytes of what the steps leave to the next.
pub fn work_bytes(vocabulary: usize) -> usize {
    (CANDIDATES + 2 * vocabulary) * 4
}

/// The options and logits of a step, the model's own and the adjusted, of which those that the mask leaves out are none.
struct Seen {
    options: SamplerOptions,
    raw: Vec<f32>,
    adjusted: Vec<Option<f32>>,
    slice: usize,
}

impl Seen {
    fn of(step: &Step, memory: &CpuMemory) -> Self {
        let options: SamplerOptions = memory.read(step.buffer(3));
        let (raw, adjusted) = logits_of(step, memory);
        let mask = memory.words(step.buffer(7));
        let allowed = |i: usize| options.masked == 0 || mask[i / 32] >> (i % 32) & 1 == 1;
        let adjusted = adjusted.into_iter().enumerate().map(|(i, v)| allowed(i).then_some(v)).collect();
        Self { options, raw: raw.to_vec(), adjusted, slice: SampleParams::of(step).slice as usize }
    }

    /// The largest finite logit and its id, the lowest of equals.
    fn largest(logits: impl Iterator<Item = (usize, f32)>) -> Option<(usize, f32)> {
        logits.filter(|(_, v)| v.is_finite()).fold(None, |best, (i, v)| match best {
            Some((_, most)) if v <= most => best,
            _ => Some((i, v)),
        })
    }

    /// A slice's part as `Part` in `shaders/lib/sampler.wgsl`.
    fn part(&self, slice: std::ops::Range<usize>) -> [u32; PART] {
        let own =
            || slice.clone().filter_map(|i| Some((i, self.adjusted[i]?))).filter(|(i, _)| self.raw[*i].is_finite());
        let raw = || slice.clone().map(|i| (i, self.raw[i])).filter(|(_, v)| v.is_finite());
        let word = |v: f64| (v as f32).to_bits();
        let bad = slice.clone().any(|i| !self.raw[i].is_finite());
        let mut part = [0, NONE, 0, u32::from(bad), 0, NONE, 0];
        if let Some((id, best)) = Self::largest(own()) {
            part[..2].copy_from_slice(&[best.to_bits(), id as u32]);
            if self.options.temperature > 0.0 {
                part[2] = word(own().map(|(_, v)| f64::from((v - best) / self.options.temperature).exp()).sum());
            }
        }
        if let Some((id, best)) = Self::largest(raw()).filter(|_| self.options.logprobs > 0) {
            let sum: f64 = raw().map(|(_, v)| f64::from(v - best).exp()).sum();
            part[4..].copy_from_slice(&[best.to_bits(), id as u32, word(sum)]);
        }
        part
    }
}

/// The step's reference.
pub(super) fn scan(step: &Step, memory: &mut CpuMemory) {
    let seen = Seen::of(step, memory);
    let work = memory.words_mut(step.buffer(8));
    work[..THREADS].fill(0);
    work[COUNT] = 0;
    for (i, first) in (0..seen.raw.len()).step_by(seen.slice).enumerate() {
        let part = seen.part(first..seen.raw.len().min(first + seen.slice));
        work[PARTS + i * PART..][..PART].copy_from_slice(&part);
    }
}

/// The step's reference. On a GPU the candidates of several slices are in any order.
pub(super) fn keep(step: &Step, memory: &mut CpuMemory) {
    let Seen { options, raw, adjusted, slice } = Seen::of(step, memory);
    let seen = |i: usize| adjusted[i].map(|v| (i, v));
    if options.temperature <= 0.0 {
        return;
    }
    let Some((_, maximum)) = Seen::largest((0..raw.len()).filter_map(seen)) else { return };
    let scaled = |v: f32| f64::from((v - maximum) / options.temperature).exp();
    let unit = 2_147_483_648.0 / adjusted.iter().flatten().map(|&v| scaled(v)).sum::<f64>();
    let work = memory.words_mut(step.buffer(8));
    if (options.top_k == 0 || options.top_k as usize >= raw.len()) && options.top_p >= 1.0 {
        let least = if options.min_p > 0.0 { maximum + options.min_p.ln() * options.temperature } else { f32::MIN };
        for (i, v) in (0..raw.len()).filter_map(seen).filter(|(_, v)| *v >= least) {
            work[i % THREADS] += (scaled(v) * unit) as u32;
        }
        return;
    }
    let least = maximum - 22.0 * options.temperature;
    for first in (0..raw.len()).step_by(slice) {
        let end = raw.len().min(first + slice);
        let in_order = (first..end.min(first + THREADS)).flat_map(|thread| (thread..end).step_by(THREADS));
        for (i, v) in in_order.filter_map(seen).filter(|(_, v)| *v >= least) {
            let at = CANDIDATES + 2 * work[COUNT] as usize;
            work[at..at + 2].copy_from_slice(&[i as u32, v.to_bits()]);
            work[COUNT] += 1;
        }
    }
}

/// Logits, options with every filter on, history and mask of the small steps, and what the sampler's steps before this one make of them.
pub fn small_logits(maker: &mut Maker, step: &Step, before: &[fn(&Step, &mut CpuMemory)]) -> SampleParams {
    let vocabulary = 300;
    let options = SamplerOptions {
        temperature: 0.5,
        top_p: 0.9,
        min_p: 0.05,
        top_k: 40,
        seed: [1, 2],
        adjust: 1,
        logprobs: 4,
        repetition: 1.25,
        repetition_inverse: 0.8,
        presence: 0.25,
        frequency: 0.125,
        masked: 1,
    };
    let logits: Vec<f32> = (0..vocabulary).map(|_| 4.0 * maker.random()).collect();
    let history: Vec<History> = (0..vocabulary).map(|i| History { times: i % 3, bias: i as f32 / 1024.0 }).collect();
    let mask: Vec<u32> = (0..vocabulary.div_ceil(32)).map(|i| 0x6db6_db6d << (i % 3)).collect();
    let params = SampleParams::new(vocabulary as usize);
    let inputs: [(u32, &[u8]); 4] = [
        (2, bytemuck::cast_slice(&logits)),
        (3, bytemuck::bytes_of(&options)),
        (6, bytemuck::cast_slice(&history)),
        (7, bytemuck::cast_slice(&mask)),
    ];
    inputs.iter().for_each(|&(slot, bytes)| maker.bytes(slot, bytes.to_vec()));
    let mut own = Buffers::default();
    let mut binding =
        |slot, bytes| Binding { slot, buffer: own.add("small", bytes, Role::Scratch), access: Access::Read };
    let mut bindings: Vec<Binding> = inputs.iter().map(|(slot, bytes)| binding(*slot, bytes.len() as u64)).collect();
    bindings.push(binding(8, work_bytes(vocabulary as usize) as u64));
    let mut memory = CpuMemory::new(&own);
    bindings.iter().zip(inputs).for_each(|(binding, (_, bytes))| memory.write(binding.buffer, 0, bytes));
    let step = Step { params: params.words(), bindings, ..step.clone() };
    before.iter().for_each(|run| run(&step, &mut memory));
    maker.bytes(8, memory.bytes(step.buffer(8)).to_vec());
    params
}

fn small(maker: &mut Maker, step: &Step, before: &[fn(&Step, &mut CpuMemory)]) -> Small {
    let params = small_logits(maker, step, before);
    (params.words(), [1, 1, 1], vec![(8, None)])
}

/// What the steps left, with the candidates in order.
#[cfg(test)]
pub struct Left {
    totals: Vec<u32>,
    parts: Vec<Vec<u32>>,
    candidates: Vec<[u32; 2]>,
}

#[cfg(test)]
impl Left {
    pub fn of(work: &[u32], vocabulary: usize) -> Self {
        let pairs: &[[u32; 2]] = bytemuck::cast_slice(&work[CANDIDATES..]);
        let mut candidates = pairs[..work[COUNT] as usize].to_vec();
        candidates.sort_unstable();
        let parts = work[PARTS..COUNT].chunks(PART).take(count(vocabulary)).map(<[u32]>::to_vec).collect();
        Self { totals: work[..THREADS].to_vec(), parts, candidates }
    }

    pub fn assert_near(&self, want: &Self, what: &str) {
        let near = |got: u32, want: u32| {
            let [got, want] = [got, want].map(|v| f64::from(f32::from_bits(v)));
            (got - want).abs() <= 1e-5 * want.abs()
        };
        for (got, want) in self.parts.iter().zip(&want.parts) {
            assert_eq!([got[1], got[3], got[5]], [want[1], want[3], want[5]], "{what}");
            [0, 2, 4, 6].iter().for_each(|&i| assert!(near(got[i], want[i]), "{what}: {got:?} for {want:?}"));
        }
        if want.parts.iter().any(|part| part[3] == 1) {
            return; // the last step looks no further
        }
        for (&got, &want) in self.totals.iter().zip(&want.totals) {
            let far = f64::from(got.abs_diff(want));
            assert!(far <= 1e-5 * f64::from(want) + 2000.0, "{what}: a total of {got} for {want}");
        }
        assert_eq!(self.candidates.len(), want.candidates.len(), "{what}");
        for (got, want) in self.candidates.iter().zip(&want.candidates) {
            assert!(got[0] == want[0] && near(got[1], want[1]), "{what}: {got:?} for {want:?}");
        }
    }
}
