//! The GPU sampler: chooses the next token and writes it as the input of the next step.
//!
//! Probabilities become 31-bit integers. The thresholds of top-k and top-p are found by radix selection, and sums of
//! integers do not depend on the order of addition, so the reference in `reference.rs` draws the same ids on the CPU. What
//! a token's history changes (bias and penalties) is a table on the GPU that the sampler itself keeps up to date, so steps
//! can be queued with penalties too.

mod cpu;
mod reference;

#[cfg(test)]
mod tests;

use super::small::{Maker, POSITION, Small};
use super::{Control, CpuMemory, Kernel, Params, State, on_processors, params, shader};
use crate::plan::{Access, Binding, Step};

pub use reference::{adjusted, logprobs, masked, sample_reference};

/// See `shaders/sample.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "sample",
    shader: shader!("sample", "state"),
    reads_weights: false,
    variants: &[],
    params: SampleParams::FIELDS,
    reference,
    cpu: on_processors(cpu::sample),
    small: Some(small),
};

params!(SampleParams { vocabulary: u32, ring: u32, slot: u32 });

/// Slots of the ring of sampled tokens: more than the steps ever queued.
pub const RING: u32 = 64;
/// Most probable tokens that a slot can name.
pub const MAX_TOP: u32 = 64;
/// Words of a slot: id, whether a logit was not finite, log-probability, how many follow; id and log-probability of each.
pub const SLOT: u32 = 4 + 2 * MAX_TOP;

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
    /// 1 where the tokens' [`History`] is to be obeyed and kept.
    pub adjust: u32,
    /// 0: no log-probabilities; 1 + n: the chosen token's and those of the n most probable, n at most [`MAX_TOP`].
    pub logprobs: u32,
    /// Multiplies negative logits of tokens that occurred, the prompt included, and its inverse the others. 1: off.
    pub repetition: f32,
    /// 1 / `repetition`.
    pub repetition_inverse: f32,
    /// Taken off the logit of every token generated before. 0: off.
    pub presence: f32,
    /// Taken off the logit of every token generated before, for each time. 0: off.
    pub frequency: f32,
    /// 1 where only tokens whose bit in the mask is set take part; at least one bit then is.
    pub masked: u32,
}

impl SamplerOptions {
    /// The largest logit, always.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        min_p: 0.0,
        top_k: 0,
        seed: [0; 2],
        adjust: 0,
        logprobs: 0,
        repetition: 1.0,
        repetition_inverse: 1.0,
        presence: 0.0,
        frequency: 0.0,
        masked: 0,
    };
}

/// What the sampler knows about a token.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct History {
    /// How often it was generated; [`History::IN_PROMPT`] where the prompt has it.
    pub times: u32,
    /// Added to its logit.
    pub bias: f32,
}

impl History {
    /// The bit of [`History::times`] for tokens of the prompt.
    pub const IN_PROMPT: u32 = 1 << 31;
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
            shader: KERNEL.shader,
            constants: Vec::new(),
            bindings: vec![
                write(1, control.state),
                read(2, control.logits.buffer),
                read(3, control.options),
                write(4, control.tokens),
                write(5, control.ring),
                write(6, control.history),
                read(7, control.mask),
            ],
            params: SampleParams { vocabulary: vocabulary as u32, ring: RING, slot: SLOT }.words(),
            grid: [1, 1, 1],
            detail: format!("logits[{vocabulary}] → id"),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = SampleParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let options: SamplerOptions = memory.read(step.buffer(3));
    let raw = &memory.floats(step.buffer(2))[..p.vocabulary as usize];
    let history: Vec<History> = bytemuck::cast_slice(&memory.words(step.buffer(6))[..2 * raw.len()]).to_vec();
    let logits = adjusted(raw, &options, &history);
    let finite = logits.iter().all(|v| v.is_finite());
    let (id, _) = match options.masked {
        1 if finite => sample_reference(&masked(&logits, memory.words(step.buffer(7))), &options, state.draws),
        _ => sample_reference(&logits, &options, state.draws),
    };
    let own = (options.logprobs > 0 && finite).then(|| logprobs(raw, id, (options.logprobs - 1) as usize));
    report(step, memory, id, finite, own);
}

/// Writes down what was sampled, with log-probabilities where they are asked for, and moves the state on.
fn report(step: &Step, memory: &mut CpuMemory, id: u32, finite: bool, own: Option<(f64, Vec<(u32, f64)>)>) {
    let p = SampleParams::of(step);
    let mut state: State = memory.read(step.buffer(1));
    let options: SamplerOptions = memory.read(step.buffer(3));
    let mut slot = vec![id, u32::from(!finite), 0, 0];
    if let Some((own, top)) = own {
        slot[2..].copy_from_slice(&[(own as f32).to_bits(), top.len() as u32]);
        slot.extend(top.iter().flat_map(|&(id, logprob)| [id, (logprob as f32).to_bits()]));
    }
    memory.words_mut(step.buffer(4))[0] = id;
    let at = (state.ring % p.ring * p.slot) as usize;
    memory.words_mut(step.buffer(5))[at..at + slot.len()].copy_from_slice(&slot);
    if options.adjust != 0 {
        memory.words_mut(step.buffer(6))[2 * id as usize] += 1;
    }
    state.position += state.count;
    state.count = 1;
    state.draws += 1;
    state.ring += 1;
    memory.write(step.buffer(1), 0, bytemuck::bytes_of(&state));
}

/// The small step: one draw of a token with every filter on, and its log-probabilities.
fn small(maker: &mut Maker, _: &Step) -> Small {
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
    let history: Vec<u32> = (0..vocabulary).flat_map(|i| [i % 3, (i as f32 / 1024.0).to_bits()]).collect();
    maker.state(POSITION, 1);
    maker.bytes(2, bytemuck::cast_slice(&logits).to_vec());
    maker.bytes(3, bytemuck::bytes_of(&options).to_vec());
    maker.zeros(4, 4);
    maker.zeros(5, (RING * SLOT) as usize);
    maker.bytes(6, bytemuck::cast_slice(&history).to_vec());
    let mask: Vec<u32> = (0..vocabulary.div_ceil(32)).map(|i| 0x6db6_db6d << (i % 3)).collect();
    maker.bytes(7, bytemuck::cast_slice(&mask).to_vec());
    let params = SampleParams { vocabulary, ring: RING, slot: SLOT };
    (params.words(), [1, 1, 1], vec![(1, None), (4, None), (5, None), (6, None)])
}
