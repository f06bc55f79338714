//! The self-test of a load: each pipeline of the model's plans runs once on small data and is compared with its reference,
//! before anybody reads an answer. A driver that miscompiles a shader is found here.
//!
//! The pipelines are the ones that will run, so the test compiles nothing. All steps are one submit, and their few hundred
//! kilobytes are released again. A variant that computes wrong results is dropped, for every kernel that it covers, and the
//! load's warnings name it. A base kernel that computes wrong results ends the load with `no-webgpu`.

use std::rc::Rc;

use super::small::Maker;
use super::variants::Tolerance;
use super::{CpuMemory, KvFormat, Variants, interpret, kernel_of, suited};
use crate::Result;
use crate::plan::{Allocation, BufferId, Buffers, Executor, Plan, ShaderId, Step};

/// How far f32 sums of a few hundred products of order one may be off, relative to the larger of 1 and the value.
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
    /// What each step writes.
    outputs: Vec<Vec<Output>>,
    contents: Vec<(BufferId, Vec<u8>)>,
    buffers: Buffers,
    /// The steps run in these.
    variants: Variants,
}

impl SelfTest {
    /// A test of every pipeline of `plans` in variants.
    pub fn new(plans: &[&Plan], variants: Variants) -> Self {
        let mut maker = Maker::new();
        let (mut plan, mut outputs) = (Plan::new("self-test"), Vec::new());
        let mut seen = Vec::new();
        for step in plans.iter().flat_map(|plan| &plan.steps) {
            let key = (step.shader.id, step.constants.clone());
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let (step, written) = small(&mut maker, step);
            plan.steps.push(step);
            outputs.push(written);
        }
        Self { plan, outputs, contents: maker.contents, buffers: maker.own, variants }
    }

    /// The shaders that compute something else than their references, each once.
    ///
    /// # Errors
    /// The errors of [`Executor::allocate`] and [`Executor::prepare`].
    pub async fn failures(&self, executor: &Rc<dyn Executor>) -> Result<Vec<ShaderId>> {
        let own = Allocation::new(executor, &self.buffers).await?;
        let mut memory = CpuMemory::new(&self.buffers);
        for (id, bytes) in &self.contents {
            memory.write(*id, 0, bytes);
            executor.write(own.id(*id), 0, bytes);
        }
        interpret(&self.plan, &mut memory);
        let mut plan = suited(&self.plan, self.variants);
        for binding in plan.steps.iter_mut().flat_map(|step| &mut step.bindings) {
            binding.buffer = own.id(binding.buffer);
        }
        let prepared = executor.prepare(&plan).await?;
        executor.submit(&[&prepared], &[])?;
        let outputs: Vec<&Output> = self.outputs.iter().flatten().collect();
        let ranges: Vec<_> = outputs.iter().map(|o| (own.id(o.buffer), 0..self.buffers.get(o.buffer).bytes)).collect();
        let bytes = executor.read(&ranges).await?;
        let mut rest = bytes.as_slice();
        let mut failed = Vec::new();
        for (step, outputs) in plan.steps.iter().zip(&self.outputs) {
            let mut same = true;
            for output in outputs {
                let want = memory.bytes(output.buffer);
                let (got, after) = rest.split_at(want.len());
                rest = after;
                same &= output.agree(got, want, Tolerance::of(&step.shader, TOLERANCE));
            }
            if !same {
                failed.push(step.shader.id);
            }
        }
        failed.sort_by_cached_key(ToString::to_string);
        failed.dedup();
        Ok(failed)
    }
}

impl Output {
    /// `tolerance` is that of numbers which lie as they are.
    fn agree(&self, got: &[u8], want: &[u8], tolerance: Tolerance) -> bool {
        let words = |bytes: &[u8]| -> Vec<u32> { bytemuck::pod_collect_to_vec(bytes) };
        // Words that are counts, tokens or places: as numbers they would be subnormal.
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

/// The step's pipeline over small shapes, and what it writes.
fn small(maker: &mut Maker, step: &Step) -> (Step, Vec<Output>) {
    maker.begin();
    let make = kernel_of(step).small.unwrap_or_else(|| unreachable!("{}: no small step is made of it", step.kernel));
    let (params, grid, outputs) = make(maker, step);
    let mut small = Step { label: "self-test".into(), params, grid, ..step.clone() };
    for binding in &mut small.bindings {
        let made = maker.slot(binding.slot);
        binding.buffer = made.unwrap_or_else(|| panic!("{}: nothing is made for {}", step.kernel, binding.slot));
    }
    let outputs = outputs.into_iter().map(|(slot, rows)| Output { buffer: small.buffer(slot), rows }).collect();
    (small, outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Bench, block_on, device};
    use crate::kernels::{Attention, Epilogue, Matmul, Matvec, RmsNorm, Span};
    use crate::plan::Layout;

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

    /// No variants.
    fn none() -> Variants {
        Variants::default()
    }

    fn failures(b: &Bench, variants: Variants) -> Vec<String> {
        let test = SelfTest::new(&[&b.plan], variants);
        assert_eq!(test.plan.steps.len(), b.plan.steps.len());
        let wrong = block_on(async { test.failures(b.executor().await.executor()).await.unwrap() });
        wrong.iter().map(ToString::to_string).collect()
    }

    /// Replaces text of the step's shader.
    fn spoil(step: &mut Step, from: &str, to: &str) {
        let files: Vec<&'static str> = step.shader.files.iter().map(|file| &*file.replace(from, to).leak()).collect();
        assert_ne!(files, step.shader.files);
        step.shader.files = files.leak();
    }

    #[test]
    fn kernels_that_are_right_pass() {
        let mut b = Bench::new(1, 8);
        products(&mut b);
        assert!(failures(&b, none()).is_empty());
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
        let pipelines = |plan: &Plan| plan.steps.iter().map(|s| (s.shader.id, s.constants.clone())).collect::<Vec<_>>();
        assert_eq!(pipelines(&SelfTest::new(&[&b.plan], none()).plan), pipelines(&b.plan));
        assert!(failures(&b, none()).is_empty());
    }

    #[test]
    fn a_sampler_that_draws_another_token_is_named() {
        let mut b = Bench::new(1, 300);
        b.plan.push(crate::kernels::Sample.steps("sample", &b.control));
        assert!(failures(&b, none()).is_empty());
        let scaled = ["options.temperature", "(3.0 * options.temperature)"];
        for (i, [from, to]) in [scaled, ["22.0", "2.0"], scaled].into_iter().enumerate() {
            let right = b.plan.steps[i].shader;
            spoil(&mut b.plan.steps[i], from, to);
            assert_eq!(failures(&b, none()), [right.id.to_string()]);
            b.plan.steps[i].shader = right;
        }
    }

    #[test]
    fn a_kernel_that_is_wrong_is_named() {
        let mut b = Bench::new(1, 8);
        products(&mut b);
        spoil(&mut b.plan.steps[2 * Layout::Q8 as usize], "inverseSqrt(", "1.01 * inverseSqrt(");
        assert_eq!(failures(&b, none()), ["matvec.q8"]);
    }
}
