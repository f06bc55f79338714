//! Chooses among the variants of products by timing them on the device. What a variant gains depends on the GPU, its driver and the
//! shapes, and is known for few of them.
//!
//! A contest is between the forms of one pipeline: that of the heaviest step in a plan's layers, over the weights of the model. Decode and prefill have one each, since no variant serves both. All forms run in turns, and the usual one stays unless another
//! was faster each time, and by enough. A form that is wrong, by the self-test of the load, takes no part.
//!
//! Forms are prepared while weights arrive. Timing follows, within [`BUDGET`]: nothing begins that would not end within it, by what its
//! like took before, and a contest that cannot be finished changes nothing. Times are the host's, each of a submit that was made long enough
//! for its clock. A clock that is too coarse, as some browsers' is in pages that are not isolated, tells nothing. Software adapters never come
//! here: their timing ranks kernels otherwise than a GPU's.

use super::{Control, State, TOKEN_TILE, Variants, kernel_of, suited};
use crate::Result;
use crate::plan::{Access, Buffers, DeviceFacts, Executor, Plan, Prepared, ShaderId, Step, Variant};

/// Milliseconds that all of it may take.
const BUDGET: f64 = 300.0;
/// Milliseconds of a measured submit, at least, where repeating it makes it so long.
const LENGTH: f64 = 5.0;
/// Milliseconds between ticks of a clock that is fine enough.
const TICK: f64 = 0.15;
/// The most forms of a pipeline.
const FORMS: usize = Variant::ALL.len() + 1;
/// Measurements of each form.
const ROUNDS: usize = 3;
/// The most that another form may take, in terms of the usual one, to replace it.
const GAIN: f64 = 0.93;
/// Bytes of weights of a submit's steps, if there are so many: more than caches hold, as in a whole model.
const STREAM: u64 = 256 << 20;
/// The most steps of a prepared plan, and the most repetitions of it in a submit.
const STEPS: usize = 16;
const REPEATS: f64 = 256.0;
/// Products that run on whatever their buffers hold. Those of experts would need a router's choice.
const KERNELS: [&str; 2] = ["matvec", "matmul"];

/// A form of a pipeline: a variant, or the base form.
type Form = Option<Variant>;

/// What is to be found out for a model on a device: for decode and for prefill, the forms of a pipeline, the usual one first.
pub struct Tuning {
    /// The steps of each form.
    pub plans: Vec<Plan>,
    /// Whether a form is one of prefill's, and which.
    forms: Vec<(bool, Form)>,
    chunk: u32,
    usual: Variants,
    key: u32,
    /// In milliseconds.
    clock: fn() -> f64,
}

impl Tuning {
    /// For plans of decode and of a prefill's chunk in their base forms, which would run in `usual`.
    pub fn new(
        plans: [&Plan; 2],
        chunk: usize,
        buffers: &Buffers,
        facts: &DeviceFacts,
        usual: Variants,
        clock: fn() -> f64,
    ) -> Self {
        let mut tuning =
            Self { plans: Vec::new(), forms: Vec::new(), chunk: chunk as u32, usual, key: 0x811c_9dc5, clock };
        for text in [&facts.name, &facts.vendor, &facts.architecture] {
            tuning.depends_on(text);
        }
        for (prefill, plan) in plans.into_iter().enumerate() {
            tuning.add(prefill == 1, plan, buffers, facts);
        }
        tuning.mix(usual.bits());
        tuning
    }

    /// What the choice depends on, as a number that is not small: the device and its driver as far as the platform tells, the shapes, and
    /// the shaders.
    pub fn key(&self) -> u32 {
        self.key | 1 << 31
    }

    /// Adds a text to the key (FNV-1a).
    fn depends_on(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.mix(byte));
    }

    fn mix(&mut self, byte: u8) {
        self.key = (self.key ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }

    /// Adds the forms of a plan's heaviest pipeline, if it has several.
    fn add(&mut self, prefill: bool, plan: &Plan, buffers: &Buffers, facts: &DeviceFacts) {
        // The head, of one step, says little of the layers.
        let is_product = |step: &Step| KERNELS.contains(&step.kernel) && !step.label.starts_with("head");
        let mut heaviest: Option<&Step> = None;
        for step in &plan.steps {
            let heavier = |most: &Step| weights(step, buffers) > weights(most, buffers);
            if is_product(step) && heaviest.is_none_or(heavier) {
                heaviest = Some(step);
            }
        }
        let Some(first) = heaviest else { return };
        let same = |step: &Step| step.shader.id == first.shader.id && step.constants == first.constants;
        let mut steps = Plan::new("tuning");
        // The sums of a prefill's tile are the work there, whatever caches hold.
        let (mut bytes, stream) = (0, if prefill { 1 } else { STREAM });
        for step in &plan.steps {
            if is_product(step) && same(step) && bytes < stream && steps.steps.len() < STEPS {
                bytes += weights(step, buffers);
                self.depends_on(&step.detail);
                steps.steps.push(step.clone());
            }
        }
        let mut forms: Vec<Form> = Vec::new();
        forms.push(None);
        for variant in Variant::ALL {
            if (variant.spec().runs_on)(facts) && kernel_of(first).variant(variant, first).is_some() {
                let last = forms.len();
                forms.push(Some(variant));
                // The first of the usual ones that has a form is the one that would run.
                if *self.usual.flag(variant) && forms[0].is_none() {
                    forms.swap(0, last);
                }
            }
        }
        if forms.len() == 1 {
            return;
        }
        for form in forms {
            let plan = suited(&steps, only(form));
            self.depends_on(&plan.steps[0].shader.text());
            self.forms.push((prefill, form));
            self.plans.push(plan);
        }
    }

    /// Times the forms over the weights that the executor holds; the variants to use from now on. `prepared` are [`Self::plans`], but
    /// for those that the platform rejected; forms of `wrong` shaders take no part. None: the clock is too coarse to tell.
    /// Activations are overwritten.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn choose(
        &self,
        prepared: &[Option<Prepared>],
        wrong: &[ShaderId],
        executor: &dyn Executor,
        control: &Control,
    ) -> Result<Option<Variants>> {
        let end = (self.clock)() + BUDGET;
        if !is_fine(self.clock) {
            return Ok(None);
        }
        let mut chosen = self.usual;
        for prefill in [false, true] {
            let mut entrants: Vec<(Form, &Prepared)> = Vec::new();
            let mut usual = None;
            for (i, &(of, form)) in self.forms.iter().enumerate() {
                if of == prefill {
                    usual = usual.or(Some(form));
                    let right = !wrong.contains(&self.plans[i].steps[0].shader.id);
                    if let (Some(plan), true) = (&prepared[i], right) {
                        entrants.push((form, plan));
                    }
                }
            }
            // Without the usual form there is nothing to compare with.
            if entrants.len() < 2 || usual != Some(entrants[0].0) {
                continue;
            }
            let mut contest = Contest::new(entrants.len(), if prefill { self.chunk } else { 1 });
            while let Some(Run { entrant, repeats, tokens, estimate }) = contest.next() {
                let began = (self.clock)();
                if began + estimate > end {
                    break;
                }
                let state = State { count: tokens, ..State::default() };
                executor.write(control.state, 0, bytemuck::bytes_of(&state));
                let mut plans = Vec::new();
                for _ in 0..repeats as usize {
                    plans.push(entrants[entrant].1);
                }
                executor.submit(&plans, &[])?;
                executor.idle().await?;
                contest.took((self.clock)() - began);
            }
            let Some(winner) = contest.winner() else { continue };
            for (i, &(form, _)) in entrants.iter().enumerate() {
                if let Some(variant) = form {
                    *chosen.flag(variant) = i == winner;
                }
            }
        }
        Ok(Some(chosen))
    }
}

/// A submit of a contest.
struct Run {
    entrant: usize,
    /// How often its plan runs in the submit.
    repeats: f64,
    /// Tokens of a prefill's chunk.
    tokens: u32,
    /// Milliseconds that it may well take.
    estimate: f64,
}

/// The submits of a contest: each form twice, of which the first sets up whatever is left to; one that finds out how many repetitions are
/// long enough; and the measured ones in turns.
struct Contest {
    entrants: usize,
    /// Tokens of a whole chunk.
    chunk: u32,
    /// Tokens of a submit. A slow device measures a part of a chunk.
    tokens: u32,
    repeats: f64,
    /// Submits so far, and milliseconds of the last.
    runs: usize,
    last: f64,
    /// For each form, its measurements.
    times: [[f64; ROUNDS]; FORMS],
}

impl Contest {
    fn new(entrants: usize, chunk: u32) -> Self {
        let tokens = chunk.min(TOKEN_TILE as u32);
        // Nothing is known before the first run, and half of the budget is a fair share.
        let last = BUDGET / 3.0;
        Self { entrants, chunk, tokens, repeats: 1.0, runs: 0, last, times: [[0.0; ROUNDS]; FORMS] }
    }

    /// Submits before the measured ones.
    fn before(&self) -> usize {
        2 * self.entrants + 1
    }

    /// The next submit; none after the last.
    fn next(&self) -> Option<Run> {
        let measured = self.runs.checked_sub(self.before());
        if measured.is_some_and(|run| run >= self.entrants * ROUNDS) {
            return None;
        }
        let entrant = match measured {
            Some(run) => run % self.entrants,
            None => self.entrants - 1 - (self.runs / 2).min(self.entrants - 1), // the usual form last, whose time counts then
        };
        Some(Run { entrant, repeats: self.repeats, tokens: self.tokens, estimate: 1.5 * self.last })
    }

    /// Notes how long the submit took.
    fn took(&mut self, time: f64) {
        let time = time.max(1e-3);
        self.last = time;
        self.runs += 1;
        if let Some(run) = self.runs.checked_sub(self.before() + 1) {
            self.times[run % self.entrants][run / self.entrants] = time;
            return;
        }
        if self.runs + 1 < self.before() {
            return;
        }
        // What one takes; then again, when the costs of a submit by itself are spread over many.
        let mut each = time / self.repeats;
        let whole = f64::from(self.chunk) / f64::from(self.tokens);
        if each * whole < 3.0 * LENGTH {
            (self.tokens, each) = (self.chunk, each * whole);
        }
        self.repeats = (LENGTH / each).ceil().clamp(1.0, REPEATS);
        self.last = each * self.repeats;
    }

    /// The form that was faster than the first each time, and at its best by [`GAIN`]; otherwise the first. None if the contest was not
    /// finished.
    fn winner(&self) -> Option<usize> {
        if self.next().is_some() {
            return None;
        }
        let best = |entrant: usize| self.times[entrant].iter().fold(f64::INFINITY, |best, time| best.min(*time));
        let mut winner = (0, GAIN * best(0));
        for entrant in 1..self.entrants {
            let always = (0..ROUNDS).all(|round| self.times[entrant][round] < self.times[0][round]);
            if always && best(entrant) <= winner.1 {
                winner = (entrant, best(entrant));
            }
        }
        Some(winner.0)
    }
}

/// Bytes that a product reads.
fn weights(step: &Step, buffers: &Buffers) -> u64 {
    let mut bytes = 0;
    for binding in &step.bindings {
        if binding.access == Access::Read {
            bytes += buffers.get(binding.buffer).bytes;
        }
    }
    bytes
}

/// The variants of a form alone.
fn only(form: Form) -> Variants {
    let mut alone = Variants::default();
    if let Some(variant) = form {
        *alone.flag(variant) = true;
    }
    alone
}

/// Whether a clock ticks often enough.
fn is_fine(clock: fn() -> f64) -> bool {
    let (mut from, mut ticks) = (clock(), 0);
    for _ in 0..100_000 {
        let now = clock();
        if now > from {
            // The first may have begun before.
            if ticks == 1 {
                return now - from <= TICK;
            }
            (from, ticks) = (now, 1);
        }
    }
    false
}
