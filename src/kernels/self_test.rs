//! The self-test of a load: each pipeline of the model's plans runs once on small data and is compared with its reference,
//! before anybody reads an answer. A driver that miscompiles a shader is found here.
//!
//! The pipelines are the ones that will run, so the test compiles nothing. All steps are one submit, and their few hundred
//! kilobytes are released again. A variant that computes wrong results is dropped, for every kernel that it covers, and the
//! load's warnings name it. A base kernel that computes wrong results ends the load with `no-webgpu`.

mod mixtures;

use half::f16;

use super::activation::{self, ActivationParams};
use super::attention::{self, AttentionParams, ReduceParams};
use super::embed::{self, EmbedParams};
use super::latent;
use super::matmul::{self, MatmulParams};
use super::matvec::{self, MatvecParams};
use super::norm::{self, NormParams};
use super::rope_append::{self, RopeParams};
use super::sample::{self, RING, SLOT, SampleParams, SamplerOptions};
use super::software::fewer_stretches;
use super::variants::Tolerance;
use super::{CpuMemory, KvFormat, Params, State, Variants, experts, grouped, interpret, rope_table, route, suited};
use crate::Result;
use crate::gpu::Executor;
use crate::plan::{BufferId, Buffers, GROUP, Layout, Plan, Role, Step};

/// Weights of a row of the small matrices: a super-block of the k-quants.
const K: usize = 256;
const ROWS: usize = 12;
/// Tokens of the small caches, and where the small steps are.
const CAPACITY: usize = 96;
const POSITION: usize = 70;
/// Query heads of a small attention, at most.
const HEADS: u32 = 8;
/// Of f32 sums of a few hundred products of order one, relative to the larger of 1 and the value.
const TOLERANCE: f64 = 2e-3;

/// What a small step writes.
struct Output {
    buffer: BufferId,
    /// Rows of a KV cache, of so many values; numbers otherwise.
    rows: Option<(KvFormat, usize)>,
}

/// Small steps with the pipelines of a model's plans.
pub struct SelfTest {
    plan: Plan,
    /// Of each step.
    outputs: Vec<Vec<Output>>,
    contents: Vec<(BufferId, Vec<u8>)>,
    buffers: Buffers,
    /// The steps run in these.
    variants: Variants,
}

impl SelfTest {
    /// A test of every pipeline of `plans` in variants.
    pub fn new(plans: &[&Plan], variants: Variants) -> Self {
        let mut maker = Maker { own: Buffers::default(), contents: Vec::new(), seed: 1, slots: Vec::new() };
        let (mut plan, mut outputs) = (Plan::new("self-test"), Vec::new());
        let mut seen = Vec::new();
        let plans = plans.iter().map(|plan| if variants.software { fewer_stretches(plan) } else { (*plan).clone() });
        for step in plans.flat_map(|plan| plan.steps) {
            let key = (step.shader.name, step.constants.clone());
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let (step, written) = maker.small(&step);
            plan.steps.push(step);
            outputs.push(written);
        }
        Self { plan, outputs, contents: maker.contents, buffers: maker.own, variants }
    }

    /// The names of the shaders that compute something else than their references, each once.
    ///
    /// # Errors
    /// Those of [`Executor::add`] and [`Executor::prepare`].
    pub async fn failures(&self, executor: &mut Executor) -> Result<Vec<&'static str>> {
        let first = executor.add(&self.buffers).await?;
        let failed = self.run(executor, first).await;
        executor.remove(first);
        failed
    }

    async fn run(&self, executor: &Executor, first: BufferId) -> Result<Vec<&'static str>> {
        let mut memory = CpuMemory::new(&self.buffers);
        let shifted = |id: BufferId| BufferId(first.0 + id.0);
        for (id, bytes) in &self.contents {
            memory.write(*id, 0, bytes);
            executor.write(shifted(*id), 0, bytes);
        }
        interpret(&self.plan, &mut memory);
        let mut plan = suited(&self.plan, self.variants, executor.device().facts());
        for binding in plan.steps.iter_mut().flat_map(|step| &mut step.bindings) {
            binding.buffer = shifted(binding.buffer);
        }
        let prepared = executor.prepare(&plan).await?;
        executor.submit(&[&prepared], &[])?;
        let outputs: Vec<&Output> = self.outputs.iter().flatten().collect();
        let stretches: Vec<_> =
            outputs.iter().map(|o| (shifted(o.buffer), 0..self.buffers.get(o.buffer).bytes)).collect();
        let bytes = executor.read_all(&stretches).await?;
        let mut rest = bytes.as_slice();
        let mut failed = Vec::new();
        for (step, outputs) in plan.steps.iter().zip(&self.outputs) {
            let mut same = true;
            for output in outputs {
                let want = memory.bytes(output.buffer);
                let (got, after) = rest.split_at(want.len());
                rest = after;
                same &= output.agree(got, want, Tolerance::of(step.shader, TOLERANCE));
            }
            if !same {
                failed.push(step.shader.name);
            }
        }
        failed.sort_unstable();
        failed.dedup();
        Ok(failed)
    }
}

impl Output {
    /// `tolerance` is that of numbers which lie as they are.
    fn agree(&self, got: &[u8], want: &[u8], tolerance: Tolerance) -> bool {
        let words = |bytes: &[u8]| -> Vec<u32> { bytemuck::pod_collect_to_vec(bytes) };
        // What is a count, a token or a place, and no number of any size.
        let is_word = |word: u32| (1..0x80_0000).contains(&word);
        let same_word = |(got, want): (u32, u32)| got == want || !(is_word(got) || is_word(want));
        if self.rows.is_none() && !words(got).into_iter().zip(words(want)).all(same_word) {
            return false;
        }
        let numbers = |bytes: &[u8]| -> Vec<f64> {
            match self.rows {
                None => words(bytes).into_iter().map(|w| f32::from_bits(w).into()).collect(),
                Some((format, dim)) => {
                    words(bytes).chunks(format.row_words(dim)).flat_map(|row| format.values(row, dim)).collect()
                }
            }
        };
        let tolerance = match self.rows {
            Some((KvFormat::Q8, _)) => Tolerance { each: 0.04, ..tolerance }, // one step of 127 where a value lies halfway
            Some(_) => Tolerance { each: 4e-3, ..tolerance },
            None => tolerance,
        };
        tolerance.first_beyond(&numbers(got), &numbers(want)).is_none()
    }
}

/// Weights of a row that threads share: a group for each of them, and a second one for some.
fn shared_row(step: &Step) -> usize {
    (step.constant("LANES") as usize + K / GROUP) * GROUP
}

/// Makes small steps of large ones.
struct Maker {
    own: Buffers,
    contents: Vec<(BufferId, Vec<u8>)>,
    seed: u32,
    /// Buffers of the step that is being made.
    slots: Vec<(u32, BufferId)>,
}

impl Maker {
    /// The step's pipeline over small shapes, and what it writes.
    fn small(&mut self, step: &Step) -> (Step, Vec<Output>) {
        self.slots.clear();
        self.seed = 1; // the same contents in every model
        let (params, grid, outputs) = if step.kernel == matvec::KERNEL.name {
            self.matvec(step)
        } else if step.kernel == matmul::KERNEL.name {
            self.matmul(step)
        } else if step.kernel == embed::KERNEL.name {
            self.embed(step)
        } else if step.kernel == norm::KERNEL.name {
            self.norm(step)
        } else if step.kernel == attention::KERNEL.name {
            self.attention(step)
        } else if step.kernel == attention::REDUCE.name {
            self.reduce(step)
        } else if step.kernel == rope_append::KERNEL.name {
            self.rope_append(step)
        } else if step.kernel == activation::KERNEL.name {
            self.activation()
        } else if step.kernel == sample::KERNEL.name {
            self.sample()
        } else if step.kernel == route::KERNEL.name {
            self.route(step)
        } else if step.kernel == experts::UP.name {
            self.expert_up(step)
        } else if step.kernel == experts::DOWN.name {
            self.expert_down(step)
        } else if step.kernel == grouped::SORT.name {
            self.expert_sort()
        } else if step.kernel == grouped::MATMUL.name {
            self.expert_matmul(step)
        } else if step.kernel == grouped::SUM.name {
            self.expert_sum()
        } else if step.kernel == latent::QUERY.name {
            self.latent_query(step)
        } else if step.kernel == latent::VALUE.name {
            self.latent_value(step)
        } else {
            unreachable!("{}: no small step is made of it", step.kernel)
        };
        let mut small = Step { label: "self-test".into(), params, grid, ..step.clone() };
        for binding in &mut small.bindings {
            let made = self.slots.iter().find(|(slot, _)| *slot == binding.slot);
            binding.buffer = made.unwrap_or_else(|| panic!("{}: nothing is made for {}", step.kernel, binding.slot)).1;
        }
        let outputs = outputs.into_iter().map(|(slot, rows)| Output { buffer: small.buffer(slot), rows }).collect();
        (small, outputs)
    }

    fn matvec(&mut self, step: &Step) -> Small {
        let p = MatvecParams::of(step);
        let k = shared_row(step);
        let params = MatvecParams {
            groups: (k / GROUP) as u32,
            rows: ROWS as u32,
            row_offset: 0,
            x_stride: k as u32 / 4,
            x_from: 0,
            width: k as u32,
            eps: p.eps,
        };
        self.state(0, 1);
        self.weights(matvec::layout_of(step, &matvec::SHADERS), ROWS, k);
        self.floats(4, k);
        self.floats(5, ROWS);
        self.floats(6, k);
        self.floats(7, ROWS);
        (params.words(), [ROWS as u32 / 4, 1, 1], vec![(5, None)])
    }

    fn matmul(&mut self, step: &Step) -> Small {
        let params = MatmulParams {
            groups: (K / GROUP) as u32,
            rows: ROWS as u32,
            row_offset: 0,
            x_stride: K as u32 / 4,
            y_stride: ROWS as u32,
        };
        self.state(0, 3);
        self.weights(matvec::layout_of(step, &matmul::SHADERS), ROWS, K);
        self.floats(4, 3 * K);
        self.floats(5, 3 * ROWS);
        self.floats(7, ROWS);
        (params.words(), [1, 1, 1], vec![(5, None)])
    }

    fn embed(&mut self, step: &Step) -> Small {
        let params = EmbedParams {
            groups: (K / GROUP) as u32,
            row_start: 0,
            row_end: ROWS as u32,
            stride: K as u32 / 4,
            scale: EmbedParams::of(step).scale,
        };
        self.state(0, 3);
        self.weights(matvec::layout_of(step, &embed::SHADERS), ROWS, K);
        self.bytes(4, bytemuck::cast_slice(&[5u32, ROWS as u32 - 1, 0]).to_vec());
        self.floats(5, 3 * K);
        (params.words(), [1, 3, 1], vec![(5, None)])
    }

    fn norm(&mut self, step: &Step) -> Small {
        let width = 192u32;
        let eps = NormParams::of(step).eps;
        let params = NormParams { x_stride: width, x_from: 0, y_stride: width, width, eps };
        self.state(0, 3);
        self.floats(4, 3 * width as usize);
        self.floats(5, 3 * width as usize);
        self.floats(6, width as usize);
        (params.words(), [3, 1, 1], vec![(5, None)])
    }

    fn attention(&mut self, step: &Step) -> Small {
        let p = AttentionParams::of(step);
        let splits = step.constant("SPLITS") as u32;
        let (heads, count) = ((p.heads / p.kv_heads).min(HEADS), if splits > 1 { 1 } else { 2 });
        let params = AttentionParams {
            heads,
            kv_heads: 1,
            window: p.window.min(CAPACITY as u32),
            chunk: p.chunk.min(CAPACITY as u32),
            q_stride: heads * p.key_dim,
            out_stride: heads * p.value_dim,
            scale: 1.0 / (p.key_dim as f32).sqrt(),
            capacity: CAPACITY as u32,
            ..p
        };
        let format = KvFormat::of(step);
        self.state(POSITION, count as usize);
        self.floats(2, (count * heads * p.key_dim) as usize);
        self.cache(3, format, p.key_dim as usize);
        self.cache(4, format, p.value_row as usize);
        let out = if splits > 1 { heads * splits * (p.value_dim + 2) } else { count * heads * p.value_dim };
        self.zeros(5, out as usize);
        self.floats(6, heads as usize);
        let grid = [1, splits, (heads * count).div_ceil(step.constant("ROWS") as u32)];
        (params.words(), grid, vec![(5, None)])
    }

    fn reduce(&mut self, step: &Step) -> Small {
        let p = ReduceParams::of(step);
        let splits = step.constant("SPLITS") as usize;
        let params = ReduceParams { window: p.window.min(CAPACITY as u32), chunk: p.chunk.min(CAPACITY as u32), ..p };
        self.state(POSITION, 1);
        self.partials(2, 2 * splits, p.value_dim as usize);
        self.zeros(3, 2 * p.value_dim as usize);
        self.floats(6, 2);
        (params.words(), [2, 1, 1], vec![(3, None)])
    }

    fn rope_append(&mut self, step: &Step) -> Small {
        let p = RopeParams::of(step);
        let (heads, dim, format) = (p.heads.min(2), p.head_dim as usize, KvFormat::of(step));
        let all = (heads + 2) as usize * dim;
        let params = RopeParams {
            heads,
            kv_heads: 1,
            x_stride: all as u32,
            q_stride: heads * p.head_dim,
            capacity: CAPACITY as u32,
            ..p
        };
        let pairs = p.rotary as usize / 2;
        let frequencies: Vec<f64> = (0..pairs).map(|i| 10_000f64.powf(-(i as f64) / pairs as f64)).collect();
        self.state(POSITION, 2);
        self.floats(2, 2 * all);
        self.bytes(3, bytemuck::cast_slice(&rope_table(&frequencies, 1.0, CAPACITY)).to_vec());
        self.zeros(4, 2 * heads as usize * dim);
        self.zeros(5, CAPACITY * format.row_words(dim));
        self.zeros(6, CAPACITY * format.row_words(dim));
        self.floats(7, heads as usize * dim);
        self.floats(8, dim);
        let grid = [((heads + 2) * p.head_dim.div_ceil(64)).div_ceil(2), 2, 1];
        (params.words(), grid, vec![(4, None), (5, Some((format, dim))), (6, Some((format, dim)))])
    }

    fn activation(&mut self) -> Small {
        let width = 48u32;
        self.state(0, 3);
        self.floats(4, 6 * width as usize);
        self.zeros(5, 3 * width as usize);
        let params = ActivationParams { width, x_stride: 2 * width, y_stride: width };
        (params.words(), [1, 3, 1], vec![(5, None)])
    }

    /// One draw of a token with every filter on, and what is said of its probability.
    fn sample(&mut self) -> Small {
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
        };
        let logits: Vec<f32> = (0..vocabulary).map(|_| 4.0 * self.random()).collect();
        let history: Vec<u32> = (0..vocabulary).flat_map(|i| [i % 3, (i as f32 / 1024.0).to_bits()]).collect();
        self.state(POSITION, 1);
        self.bytes(2, bytemuck::cast_slice(&logits).to_vec());
        self.bytes(3, bytemuck::bytes_of(&options).to_vec());
        self.zeros(4, 4);
        self.zeros(5, (RING * SLOT) as usize);
        self.bytes(6, bytemuck::cast_slice(&history).to_vec());
        let params = SampleParams { vocabulary, ring: RING, slot: SLOT };
        (params.words(), [1, 1, 1], vec![(1, None), (4, None), (5, None), (6, None)])
    }

    fn bytes(&mut self, slot: u32, mut bytes: Vec<u8>) {
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let id = self.own.add(format!("slot {slot}"), bytes.len() as u64, Role::Scratch);
        self.contents.push((id, bytes));
        self.slots.push((slot, id));
    }

    fn zeros(&mut self, slot: u32, words: usize) {
        self.bytes(slot, vec![0; words * 4]);
    }

    fn floats(&mut self, slot: u32, n: usize) {
        let values: Vec<f32> = (0..n).map(|_| self.random()).collect();
        self.bytes(slot, bytemuck::cast_slice(&values).to_vec());
    }

    /// What stretches of attention leave: `width` sums each, their maximum and denominator.
    fn partials(&mut self, slot: u32, stretches: usize, width: usize) {
        let mut parts: Vec<f32> = (0..stretches * (width + 2)).map(|_| self.random()).collect();
        parts.chunks_mut(width + 2).for_each(|part| part[width + 1] = part[width + 1].abs() + 0.5);
        self.bytes(slot, bytemuck::cast_slice(&parts).to_vec());
    }

    fn state(&mut self, position: usize, count: usize) {
        let state = State { position: position as u32, count: count as u32, ..State::default() };
        self.bytes(1, bytemuck::bytes_of(&state).to_vec());
    }

    fn cache(&mut self, slot: u32, format: KvFormat, dim: usize) {
        let mut words = vec![0; CAPACITY * format.row_words(dim)];
        for row in words.chunks_mut(format.row_words(dim)) {
            let values: Vec<f64> = (0..dim).map(|_| self.random().into()).collect();
            format.store(row, &values);
        }
        self.bytes(slot, bytemuck::cast_slice(&words).to_vec());
    }

    /// `[rows, k]` in slots 2 and 3, weights of a tenth or so.
    fn weights(&mut self, layout: Layout, rows: usize, k: usize) {
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let numbers: Vec<f32> = (0..k).map(|_| 0.1 * self.random()).collect();
            match layout {
                Layout::F32 => codes.extend(numbers.iter().flat_map(|v| v.to_le_bytes())),
                Layout::F16 => codes.extend(numbers.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
                Layout::Bf16 => codes.extend(numbers.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes())),
                _ => codes.extend((0..layout.code_row_bytes(k)).map(|_| self.bits() as u8)),
            }
            let bytes = layout.scale_row_bytes(k);
            match layout {
                Layout::Mxfp4 => scales.extend((0..bytes).map(|_| 120 + (self.bits() % 4) as u8)),
                Layout::Q4K | Layout::Q5K | Layout::Q6K => {
                    for _ in 0..k / 256 {
                        scales.extend([1e-3, 2e-3].map(f16::from_f32).iter().flat_map(|v| v.to_le_bytes()));
                        scales.extend((4..layout.scale_row_bytes(256)).map(|_| self.bits() as u8));
                    }
                }
                _ => scales.extend((0..bytes / 2).flat_map(|_| f16::from_f32(0.01 * self.random()).to_le_bytes())),
            }
        }
        self.bytes(2, codes);
        if layout.has_scales() {
            self.bytes(3, scales);
        }
    }

    /// 24 bits (Numerical Recipes' generator, without its weak low bits).
    fn bits(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed >> 8
    }

    /// From -1 to 1.
    fn random(&mut self) -> f32 {
        self.bits() as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Parameters, grid, and the slots that are written.
type Small = (Vec<u32>, [u32; 3], Vec<(u32, Option<(KvFormat, usize)>)>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Bench, block_on, device};
    use crate::kernels::{Attention, Epilogue, Matmul, Matvec, RmsNorm, Span};
    use crate::plan::Shader;

    /// A plan of two products in each layout.
    fn products(b: &mut Bench) {
        for layout in Layout::ALL {
            let w = b.matrix("w", 128, 512, layout, u64::MAX);
            let x = b.activation("x", 1, 512);
            let y = b.scratch("y", 1, 128);
            let gain = b.vector("gain", 512);
            let norm = Some(RmsNorm { gain, eps: 1e-5 });
            let matvec = Matvec { w: &w, x, from: 0, y, norm, epilogue: Epilogue::default() };
            b.plan.push(matvec.steps("w", &b.control));
            b.plan.push(Matmul { w: &w, x, y, epilogue: Epilogue::default() }.steps("w", &b.control));
        }
    }

    const NONE: Variants = Variants { software: false, subgroups: false, f16: false, int8: false };
    const SOFTWARE: Variants = Variants { software: true, ..NONE };

    fn failures(b: &Bench, variants: Variants) -> Vec<&'static str> {
        let test = SelfTest::new(&[&b.plan], variants);
        assert_eq!(test.plan.steps.len(), b.plan.steps.len());
        block_on(async { test.failures(&mut b.executor().await).await.unwrap() })
    }

    #[test]
    fn kernels_that_are_right_pass() {
        let mut b = Bench::new(1, 8);
        products(&mut b);
        assert!(failures(&b, NONE).is_empty());
        for variants in Variants::each(device().facts()) {
            assert!(failures(&b, variants).is_empty(), "{variants:?}");
        }
    }

    #[test]
    fn what_is_tested_are_the_pipelines_that_run() {
        let mut b = Bench::new(1, 8).at(300);
        products(&mut b);
        let (q, out) = (b.activation("q", 1, 9 * 64), b.scratch("out", 1, 9 * 64));
        let [k_cache, v_cache] = ["k", "v"].map(|label| b.cache(label, 500 * 3, 64, KvFormat::F16));
        let attention = Attention {
            q,
            k_cache,
            v_cache,
            capacity: 500,
            out,
            format: KvFormat::F16,
            heads: 9,
            kv_heads: 3,
            key_dim: 64,
            value_dim: 64,
            value_row: 64,
            span: Span::All,
            scale: 0.125,
            sinks: None,
        };
        let partials = Attention::declare_partials(&mut b.buffers, 9, attention.splits(), 64);
        b.plan.push(attention.decode("decode", &b.control, partials));
        let device = device();
        let pipelines =
            |plan: &Plan| plan.steps.iter().map(|s| (s.shader.name, s.constants.clone())).collect::<Vec<_>>();
        let tested = |variants| SelfTest::new(&[&b.plan], variants).plan;
        assert_eq!(pipelines(&tested(NONE)), pipelines(&b.plan));
        assert_eq!(
            pipelines(&suited(&tested(SOFTWARE), SOFTWARE, device.facts())),
            pipelines(&suited(&b.plan, SOFTWARE, device.facts()))
        );
        assert!(failures(&b, NONE).is_empty());
        assert!(failures(&b, SOFTWARE).is_empty());
    }

    #[test]
    fn a_sampler_that_draws_another_token_is_named() {
        let mut b = Bench::new(1, 300);
        b.plan.push([crate::kernels::Sample.step("sample", &b.control)]);
        assert!(failures(&b, NONE).is_empty());
        let step = &mut b.plan.steps[0];
        let text = step.shader.text();
        let broken = text.replace("options.temperature", "(3.0 * options.temperature)");
        assert_ne!(broken, text);
        let files: &'static [&'static str] = Box::leak(Box::new([&*broken.leak()]));
        step.shader = Box::leak(Box::new(Shader { name: step.shader.name, extension: None, files }));
        assert_eq!(failures(&b, NONE), ["sample"]);
    }

    #[test]
    fn a_kernel_that_is_wrong_is_named() {
        let mut b = Bench::new(1, 8);
        products(&mut b);
        let step = &mut b.plan.steps[2 * Layout::Q8 as usize];
        let text = step.shader.text();
        let broken = text.replace("inverseSqrt(", "1.01 * inverseSqrt(");
        assert_ne!(broken, text);
        let files: &'static [&'static str] = Box::leak(Box::new([&*broken.leak()]));
        step.shader = Box::leak(Box::new(Shader { name: step.shader.name, extension: None, files }));
        assert_eq!(failures(&b, NONE), ["matvec.q8"]);
    }
}
