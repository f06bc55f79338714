//! Ids in, ids out: prefill in chunks, decode in queued steps, logits. Knows no text.
//!
//! The state of a step (`position`, `count`, `draws`, `ring`) is a small buffer on the GPU. The host writes it before a
//! prefill chunk; after that the sampler advances it. The sampler also writes each id where the next step reads its input,
//! and into a ring that the host reads back. Decode steps can therefore be queued before the host knows their inputs.
//!
//! Steps that were queued past the last wanted token are ignored. They have written at most three positions of the KV
//! cache, and every cache has room for them, so a step that is run again sees what it would have seen. A token that nobody
//! sampled (the end of a reasoning block at its budget, or what a constraint forces) restarts the queue at its position. The
//! mask of a constraint depends on the token before, so a step that has one is not queued until that token is known.
//!
//! LongRoPE has two sets of rotation factors, and the length of the whole sequence decides which applies to all of its
//! keys. When a sequence crosses the length that the model was trained on, in either direction, its keys are computed
//! again. Snapshots and saved conversations record which set theirs used.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::cached::Cached;
use super::pace::Pace;
use super::request::{Mask, Next, Request, Sampled};
use crate::kernels::{Control, MAX_TOP, RING, SLOT, SamplerOptions, State};
use crate::model::{KvBuffer, LongRope, Model, Plans, QUEUED_STEPS};
use crate::plan::{Allocation, BufferId, BufferSpec, Buffers, Executor, Plan, Prepared, Read, Readback, Role};
use crate::{Cancel, Error, Result};

/// Bytes sampled from each buffer to identify a model: enough to include the angles of position 1 in RoPE tables.
const SAMPLE: u64 = 2048;

/// The plans, KV cache and readback buffers of one loaded model, and the state of the conversation in its cache.
pub(super) struct ModelRunner {
    pub executor: Rc<dyn Executor>,
    pub plans: Plans,
    pub context_length: usize,
    /// The buffers of the KV cache.
    pub kv: Vec<KvBuffer>,
    /// Byte ranges of weights and tables that identify the model.
    pub samples: Vec<(BufferId, Range<u64>)>,
    /// The contents of the KV cache.
    pub cached: RefCell<Cached>,
    /// The RoPE tables of a model whose rotation depends on the length of the sequence (LongRoPE).
    pub long_rope: Option<LongRope>,
    /// Whether the table for long sequences is the one in use.
    rope_is_long: Cell<bool>,
    pace: Pace,
    control: Control,
    all_logits: crate::plan::Activation,
    pipelines: Pipelines,
    /// The model's buffers, which are released with it.
    _buffers: Allocation,
}

/// Which rows of logits to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// The row of the last token.
    Last,
    /// The rows of all tokens.
    All,
}

/// A model's plans as the executor has prepared them, and the buffers that their results are read back through.
pub(super) struct Pipelines {
    decode: Prepared,
    prefill: Prepared,
    head: Prepared,
    sample: Prepared,
    all_rows: Prepared,
    /// For sampled ids: one buffer per step in flight.
    readbacks: Vec<Readback>,
    /// For logits: a block of rows.
    logits: Readback,
    /// Forms of steps that a load times; none where the platform rejects one.
    pub rivals: Vec<Option<Prepared>>,
}

impl Pipelines {
    /// The number of plans of a model.
    pub const COUNT: usize = 5;

    /// Builds the pipelines of every plan, and of `rivals`; `built` is called after each plan of the model.
    pub async fn build(
        model: &Model,
        rivals: &[Plan],
        executor: &dyn Executor,
        queued_steps: usize,
        built: &dyn Fn(),
    ) -> Result<Self> {
        const { assert!(QUEUED_STEPS < RING as usize, "the ring holds all steps in flight") };
        assert!((1..=QUEUED_STEPS).contains(&queued_steps), "the KV cache can roll back all steps in flight");
        let plans = &model.plans;
        let mut readbacks = Vec::with_capacity(queued_steps);
        for _ in 0..queued_steps {
            readbacks.push(executor.readback(u64::from(SLOT) * 4).await?);
        }
        let logits = executor.readback(Self::logits_bytes(model)).await?;
        let prepare = async |plan| {
            let prepared = executor.prepare(plan).await?;
            built();
            Ok::<_, Error>(prepared)
        };
        let mut pipelines = Self {
            decode: prepare(&plans.decode).await?,
            prefill: prepare(&plans.prefill).await?,
            head: prepare(&plans.head).await?,
            sample: prepare(&plans.sample).await?,
            all_rows: prepare(&plans.all_rows).await?,
            readbacks,
            logits,
            rivals: Vec::new(),
        };
        for plan in rivals {
            pipelines.rivals.push(executor.prepare(plan).await.ok()); // the loss of a device shows elsewhere, too
        }
        Ok(pipelines)
    }

    fn logits_bytes(model: &Model) -> u64 {
        (model.all_logits.rows * model.all_logits.stride() * 4) as u64
    }

    /// Bytes that [`Self::build`] allocates on a device that aligns uniforms to `alignment` bytes.
    pub fn bytes(model: &Model, queued_steps: usize, alignment: u64) -> u64 {
        let params: u64 = model.plans.all().iter().map(|plan| plan.params(alignment).0.len() as u64).sum();
        queued_steps as u64 * u64::from(SLOT) * 4 + Self::logits_bytes(model) + params
    }
}

impl ModelRunner {
    /// Combines a model with its executor and pipelines. The first submit of a prompt has `first` tokens at most.
    pub fn new(
        model: Model,
        executor: Rc<dyn Executor>,
        buffers: Allocation,
        pipelines: Pipelines,
        clock: fn() -> f64,
        first: usize,
    ) -> Self {
        let mut samples = samples(&model.buffers);
        // The contents of the table change at run time.
        samples.retain(|(buffer, _)| model.long_rope.as_ref().is_none_or(|rope| rope.table != *buffer));
        let Model { plans, control, kv, context_length, chunk, all_logits, long_rope, .. } = model;
        let on_processor = executor.facts().on_processor();
        Self {
            executor,
            plans,
            context_length,
            kv,
            samples,
            cached: RefCell::default(),
            long_rope,
            rope_is_long: Cell::new(false),
            pace: Pace::new(first, chunk, clock, on_processor),
            control,
            all_logits,
            pipelines,
            _buffers: buffers,
        }
    }

    /// Writes the tokens of the next submit, their position, and the number of tokens sampled before it.
    fn start_chunk(&self, position: usize, ids: &[u32], sampled: usize) {
        self.cached.borrow_mut().feed(position, ids);
        let sampled = sampled as u32;
        let state = State { position: position as u32, count: ids.len() as u32, draws: sampled, ring: sampled };
        self.executor.write(self.control.state, 0, bytemuck::bytes_of(&state));
        self.executor.write(self.control.tokens, 0, bytemuck::cast_slice(ids));
    }

    /// Feeds a piece of a prompt in a submit of its own and waits for it.
    async fn feed_piece(&self, position: usize, ids: &[u32], sampled: usize) -> Result<()> {
        let started = self.pace.start();
        self.start_chunk(position, ids, sampled);
        self.executor.submit(&[&self.pipelines.prefill], &[])?;
        self.executor.idle().await?;
        self.pace.took(ids.len(), started);
        Ok(())
    }

    /// Feeds the tokens of the chunk in pieces; the submit of the last piece also runs the plans `last`. `false` if the
    /// caller stopped the call before that.
    async fn feed(
        &self,
        chunk: Chunk<'_>,
        last: &[&Prepared],
        read: Read<'_>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<bool> {
        let Chunk { ids, position, sampled } = chunk;
        let mut done = 0;
        while ids.len() - done > self.pace.tokens() {
            let piece = &ids[done..done + self.pace.tokens()];
            self.feed_piece(position + done, piece, sampled).await?;
            cancel.check()?;
            done += piece.len();
            progress(done);
            if cancel.stopped() {
                return Ok(false);
            }
        }
        self.start_chunk(position + done, &ids[done..], sampled);
        let plans: Vec<&Prepared> = std::iter::once(&self.pipelines.prefill).chain(last.iter().copied()).collect();
        self.executor.submit(&plans, &[read])?;
        Ok(true)
    }

    /// The length of the prefix of a prompt, at most `most`, that is in the KV cache.
    pub fn reusable(&self, prompt: &[u32], most: usize) -> usize {
        self.reusable_in(&self.cached.borrow(), prompt, most)
    }

    /// As [`Self::reusable`], for the contents of a snapshot.
    pub fn reusable_in(&self, cached: &Cached, prompt: &[u32], most: usize) -> usize {
        if cached.long == self.is_long(prompt.len()) { cached.reusable(prompt, most, &self.kv) } else { 0 }
    }

    /// Forgets the contents of the KV cache: the next prompt is prefilled from its first token.
    pub fn forget(&self) {
        *self.cached.borrow_mut() = Cached::default();
    }

    /// Whether a sequence exceeds LongRoPE's original length.
    fn is_long(&self, tokens: usize) -> bool {
        self.long_rope.as_ref().is_some_and(|rope| tokens > rope.original)
    }

    /// Selects the RoPE table for a sequence of `tokens` tokens. Cached keys that the other table rotated are forgotten.
    fn rotate_for(&self, tokens: usize) {
        let Some(rope) = &self.long_rope else { return };
        let long = self.is_long(tokens);
        if self.rope_is_long.replace(long) != long {
            self.executor.write(rope.table, 0, if long { &rope.long } else { &rope.short });
        }
        let cached = &mut *self.cached.borrow_mut();
        if cached.long != long {
            *cached = Cached { long, ..Cached::default() };
        }
    }

    /// Decode steps after a prompt of `prompt` tokens until the sequence outgrows its RoPE table and is prefilled again.
    fn steps_before_rotation_changes(&self, prompt: usize) -> usize {
        self.long_rope.as_ref().and_then(|rope| rope.original.checked_sub(prompt)).unwrap_or(usize::MAX)
    }

    /// Feeds the tokens of `ids` that are not in the KV cache yet. `fed` receives the number that are; `false` if the
    /// caller stopped the call.
    pub async fn prefill(&self, ids: &[u32], cancel: &Cancel, fed: &mut dyn FnMut(usize)) -> Result<bool> {
        let mut at = self.reusable(ids, ids.len());
        self.rotate_for(ids.len());
        while at < ids.len() && !cancel.stopped() {
            let piece = &ids[at..ids.len().min(at + self.pace.tokens())];
            self.feed_piece(at, piece, 0).await?;
            cancel.check()?;
            at += piece.len();
            fed(at);
        }
        Ok(at == ids.len())
    }

    /// Generates: `token` receives each token and decides how to continue; `prefilled` receives the number of prompt
    /// tokens processed so far. Steps are queued ahead of the tokens read; steps beyond the last wanted token are never
    /// read, and the cache slots that they wrote are overwritten or never attended to.
    pub async fn generate(
        &self,
        request: &Request<'_>,
        cancel: &Cancel,
        prefilled: &mut dyn FnMut(usize),
        token: &mut dyn FnMut(Sampled) -> Next,
    ) -> Result<()> {
        let Request { prompt, cached, sampler, limit, begun, mask, .. } = request;
        let all = [*prompt, *begun].concat();
        self.rotate_for(all.len());
        let mut steps = self.steps_before_rotation_changes(prompt.len());
        if begun.len() > steps {
            steps = usize::MAX; // the keys of all are rotated for long sequences
        }
        self.executor.write(self.control.options, 0, bytemuck::bytes_of(sampler));
        let mut waits = self.write_mask(mask.as_ref());
        self.write_history(request, begun);
        let slot_bytes = match sampler.logprobs {
            0 => 8,
            n => u64::from(4 + 2 * (n - 1).min(MAX_TOP)) * 4,
        };
        let readback = |step: usize| &self.pipelines.readbacks[step % self.pipelines.readbacks.len()];
        let read = |step: usize| {
            let start = (step % RING as usize) as u64 * u64::from(SLOT) * 4;
            Read { from: self.control.ring, bytes: start..start + slot_bytes, to: readback(step) }
        };
        let first = [&self.pipelines.head, &self.pipelines.sample];
        let chunk = Chunk { ids: &all[*cached..], position: *cached, sampled: begun.len() };
        let mut fed = |done: usize| prefilled(cached + done);
        if cancel.stopped() || !self.feed(chunk, &first, read(begun.len()), cancel, &mut fed).await? {
            return Ok(());
        }
        let mut generated = begun.to_vec();
        let mut waiting = VecDeque::from([begun.len()]);
        let mut queued = begun.len() + 1;
        while let Some(step) = waiting.pop_front() {
            let most = if waits { 1 } else { self.pipelines.readbacks.len() };
            while queued < (*limit).min(steps.saturating_add(1)) && waiting.len() + 1 < most {
                self.executor.submit(&[&self.pipelines.decode], &[read(queued)])?;
                waiting.push_back(queued);
                queued += 1;
                self.note(prompt.len(), &generated, queued);
            }
            let slot: Vec<u32> = bytemuck::pod_collect_to_vec(&self.executor.fetch(readback(step)).await?);
            cancel.check()?;
            if step == begun.len() {
                prefilled(prompt.len());
            }
            if slot[1] != 0 {
                self.forget();
                return Err(Error::NonFinite { position: prompt.len() + step - 1 });
            }
            generated.push(slot[0]);
            self.note(prompt.len(), &generated, queued);
            match token(Sampled::of(&slot, sampler)) {
                Next::Stop => return Ok(()),
                Next::Go => waits = false,
                Next::Insert(ids, mask) => {
                    waits = mask.map_or(waits, |mask| self.write_mask(Some(&mask)));
                    if !ids.is_empty() || queued > generated.len() {
                        // The steps queued after this one continued differently: decoding restarts from here.
                        waiting.clear();
                        let fed = generated.len() - 1;
                        generated.extend(ids);
                        queued = generated.len();
                        if queued >= *limit {
                            return Ok(());
                        }
                        self.write_history(request, &generated);
                        if queued <= steps {
                            let chunk = Chunk { ids: &generated[fed..], position: prompt.len() + fed, sampled: queued };
                            if !self.feed(chunk, &first, read(queued), cancel, &mut |_| {}).await? {
                                return Ok(());
                            }
                            waiting.push_back(queued);
                            queued += 1;
                        }
                    }
                }
            }
            if !waiting.is_empty() || queued >= *limit {
                continue;
            }
            if queued <= steps {
                self.executor.submit(&[&self.pipelines.decode], &[read(queued)])?;
            } else {
                // The sequence has outgrown the RoPE table that its keys were rotated with.
                steps = usize::MAX;
                let all = [prompt, generated.as_slice()].concat();
                self.rotate_for(all.len());
                let chunk = Chunk { ids: &all, position: 0, sampled: queued };
                if !self.feed(chunk, &first, read(queued), cancel, &mut |_| {}).await? {
                    return Ok(());
                }
            }
            waiting.push_back(queued);
            queued += 1;
            self.note(prompt.len(), &generated, queued);
        }
        Ok(())
    }

    /// Updates the record of the KV cache when `queued` steps were submitted and the tokens `generated` are known: each
    /// step after the first has written one slot, that of the token before its own.
    fn note(&self, prompt: usize, generated: &[u32], queued: usize) {
        let cached = &mut *self.cached.borrow_mut();
        let known = generated.len().min(queued - 1);
        if let Some(new) = generated.get(cached.ids.len() - prompt..known) {
            cached.ids.extend(new);
        }
        cached.written = cached.written.max(prompt + queued - 1);
    }

    /// Gives the sampler a mask, or none; whether the mask is for one token only.
    fn write_mask(&self, mask: Option<&Mask>) -> bool {
        let at = std::mem::offset_of!(SamplerOptions, masked) as u64;
        self.executor.write(self.control.options, at, bytemuck::bytes_of(&u32::from(mask.is_some())));
        let Some(mask) = mask else { return false };
        self.executor.write(self.control.mask, 0, bytemuck::cast_slice(&mask.words));
        mask.once
    }

    /// Writes the sampler's table of biases and token counts, if its options use it.
    fn write_history(&self, request: &Request<'_>, generated: &[u32]) {
        if request.sampler.adjust != 0 {
            let history = request.bias.history(self.control.logits.width, request.prompt, generated);
            self.executor.write(self.control.history, 0, bytemuck::cast_slice(&history));
        }
    }

    /// Logits of `ids` from an empty context, a block of rows at a time, each row `[vocabulary]`. The cache is not reused
    /// afterwards: nobody checked that the logits are finite.
    pub async fn logits(
        &self,
        ids: &[u32],
        rows: Rows,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let result = self.all_logits(ids, rows, cancel, sink).await;
        self.forget();
        result
    }

    async fn all_logits(
        &self,
        ids: &[u32],
        rows: Rows,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let vocabulary = self.control.logits.width;
        self.rotate_for(ids.len());
        if rows == Rows::Last {
            let bytes = 0..vocabulary as u64 * 4;
            let read = Read { from: self.control.logits.buffer, bytes, to: &self.pipelines.logits };
            let chunk = Chunk { ids, position: 0, sampled: 0 };
            self.feed(chunk, &[&self.pipelines.head], read, cancel, &mut |_| {}).await?;
            return sink(&floats(&self.executor.fetch(&self.pipelines.logits).await?));
        }
        let stride = self.all_logits.stride();
        for (i, block) in ids.chunks(self.all_logits.rows).enumerate() {
            self.start_chunk(i * self.all_logits.rows, block, 0);
            let bytes = 0..(block.len() * stride * 4) as u64;
            let read = Read { from: self.all_logits.buffer, bytes, to: &self.pipelines.logits };
            self.executor.submit(&[&self.pipelines.prefill, &self.pipelines.all_rows], &[read])?;
            let bytes = self.executor.fetch(&self.pipelines.logits).await?;
            cancel.check()?;
            for row in bytes.chunks_exact(stride * 4) {
                sink(&floats(&row[..vocabulary * 4]))?;
            }
        }
        Ok(())
    }
}

/// The first bytes of all weights and tables, independent of how matrices are split.
fn samples(buffers: &Buffers) -> Vec<(BufferId, Range<u64>)> {
    let wanted = |(_, spec): &(u32, &BufferSpec)| spec.role == Role::Weights && spec.part == 0;
    (0..).zip(buffers.iter()).filter(wanted).map(|(id, spec)| (BufferId(id), 0..spec.bytes.min(SAMPLE))).collect()
}

/// Tokens to feed.
struct Chunk<'a> {
    ids: &'a [u32],
    /// The number of tokens in the KV cache before `ids`.
    position: usize,
    /// The number of tokens generated before the one that is sampled after `ids`.
    sampled: usize,
}

/// Copies bytes to f32, whatever their alignment.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}
