//! The GPU sampler: chooses the next token and writes it as the input of the next step.
//!
//! It is three steps. A vocabulary has 150,000 logits, which one workgroup would read one after the other, waiting each time: so a
//! workgroup for each slice looks for the largest and sums exponentials (`sample_scan`), and takes together the few tokens that have a
//! probability (`sample_keep`), before one workgroup chooses among these (`sample`).
//!
//! Probabilities become 31-bit integers. The thresholds of top-k and top-p are found by radix selection, and sums of
//! integers do not depend on the order of addition, so the reference in `reference.rs` draws the same ids on the CPU. What
//! a token's history changes (bias and penalties) is a table on the GPU that the sampler itself keeps up to date, so steps
//! can be queued with penalties too.

mod cpu;
mod reference;
mod slices;

#[cfg(test)]
mod tests;

use super::small::{Maker, POSITION, Small};
use super::{Control, CpuMemory, Kernel, Params, State, on_processors, params, shader};
use crate::plan::{Access, Binding, Step};

pub use reference::{adjusted, logprobs, masked, sample_reference};
pub use slices::{KEEP, SCAN, work_bytes};

/// See `shaders/sample.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "sample",
    shader: shader!("sample", "state", "sampler"),
    reads_weights: false,
    variants: &[],
    params: SampleParams::FIELDS,
    reference,
    cpu: on_processors(cpu::sample),
    small: Some(small),
};

params!(SampleParams { vocabulary: u32, slice: u32, ring: u32, slot: u32 });

impl SampleParams {
    fn new(vocabulary: usize) -> Self {
        Self { vocabulary: vocabulary as u32, slice: slices::slice(vocabulary) as u32, ring: RING, slot: SLOT }
    }
}

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
    /// The steps.
    pub fn steps(&self, label: &str, control: &Control) -> [Step; 3] {
        let vocabulary = control.logits.width;
        let slices = slices::count(vocabulary) as u32;
        [
            Self::step(&format!("{label}.scan"), control, &SCAN, slices, format!("logits[{vocabulary}] → [{slices}]")),
            Self::step(&format!("{label}.keep"), control, &KEEP, slices, format!("logits[{vocabulary}] → candidates")),
            Self::step(label, control, &KERNEL, 1, format!("[{slices}], candidates → id")),
        ]
    }

    fn step(label: &str, control: &Control, kernel: &'static Kernel, workgroups: u32, detail: String) -> Step {
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let write = |slot, buffer| Binding { slot, buffer, access: Access::ReadWrite };
        let mut bindings = vec![
            read(2, control.logits.buffer),
            read(3, control.options),
            write(6, control.history),
            read(7, control.mask),
            write(8, control.sampling),
        ];
        if kernel.name == KERNEL.name {
            bindings.extend([write(1, control.state), write(4, control.tokens), write(5, control.ring)]);
        }
        Step {
            label: label.to_owned(),
            kernel: kernel.name,
            shader: kernel.shader,
            constants: Vec::new(),
            bindings,
            params: SampleParams::new(control.logits.width).words(),
            grid: [workgroups, 1, 1],
            detail,
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let state: State = memory.read(step.buffer(1));
    let options: SamplerOptions = memory.read(step.buffer(3));
    let (raw, logits) = logits_of(step, memory);
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

/// The logits of a step as the sampler sees them: the model's own, and those after bias and penalties, without a mask.
fn logits_of<'a>(step: &Step, memory: &'a CpuMemory) -> (&'a [f32], Vec<f32>) {
    let raw = &memory.floats(step.buffer(2))[..SampleParams::of(step).vocabulary as usize];
    let history: &[History] = bytemuck::cast_slice(&memory.words(step.buffer(6))[..2 * raw.len()]);
    (raw, adjusted(raw, &memory.read(step.buffer(3)), history))
}

/// The small step: one draw of a token with every filter on, and its log-probabilities.
fn small(maker: &mut Maker, step: &Step) -> Small {
    maker.state(POSITION, 1);
    maker.zeros(4, 4);
    maker.zeros(5, (RING * SLOT) as usize);
    let params = slices::small_logits(maker, step, &[slices::scan, slices::keep]);
    (params.words(), [1, 1, 1], vec![(1, None), (4, None), (5, None), (6, None)])
}
