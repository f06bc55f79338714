//! Ids in, ids out: chunks of prefill, queued steps of decode, logits. Knows no text.

use super::options::Bias;
use super::pace::Pace;
use crate::gpu::{Executor, Prepared, Readback, Staging};
use crate::kernels::{Control, MAX_TOP, RING, SLOT, SamplerOptions, State};
use crate::model::{Model, Plans, QUEUED_STEPS};
use crate::{Cancel, Error, Result};
use std::collections::VecDeque;

/// A model's plans on the GPU, and the state of the one conversation in its KV cache.
pub(super) struct Session {
    pub executor: Executor,
    pub plans: Plans,
    pub context_length: usize,
    pace: Pace,
    control: Control,
    all_logits: crate::gpu::Activation,
    decode: Prepared,
    prefill: Prepared,
    head: Prepared,
    sample: Prepared,
    all_rows: Prepared,
    /// Landing places of sampled ids, one for each step that may be under way.
    landings: Vec<Staging>,
    /// Landing place of logits: a block of rows.
    logits: Staging,
}

/// Which rows of logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Of the last token.
    Last,
    /// Of every token.
    All,
}

/// A generation to run.
pub(super) struct Request<'a> {
    /// Ids to feed, at least one.
    pub prompt: &'a [u32],
    /// How to choose.
    pub sampler: SamplerOptions,
    /// Which tokens to favour.
    pub bias: Bias,
    /// Tokens to generate at most.
    pub limit: usize,
}

/// A token from the sampler.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampled {
    pub id: u32,
    /// Of the model's own distribution; 0 where it was not asked for.
    pub logprob: f32,
    /// Whether the most probable tokens were asked for.
    pub ranked: bool,
    /// Those, with their log-probabilities.
    pub top: Vec<(u32, f32)>,
}

/// What follows a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The next one.
    Go,
    /// Nothing.
    Stop,
    /// These, as though they had been sampled.
    Insert(Vec<u32>),
}

impl Session {
    /// Builds the pipelines of every plan. `progress` hears the number of plans built and of all.
    pub async fn new(
        model: Model,
        executor: Executor,
        queued_steps: usize,
        clock: fn() -> f64,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let Model { plans, control, context_length, chunk, all_logits, .. } = model;
        let mut done = 0;
        let mut built = || {
            progress(done, 5);
            done += 1;
        };
        built();
        let decode = executor.prepare(&plans.decode).await?;
        built();
        let prefill = executor.prepare(&plans.prefill).await?;
        built();
        let head = executor.prepare(&plans.head).await?;
        built();
        let sample = executor.prepare(&plans.sample).await?;
        built();
        let all_rows = executor.prepare(&plans.all_rows).await?;
        built();
        const { assert!(QUEUED_STEPS < RING as usize, "the ring holds what is under way") };
        assert!((1..=QUEUED_STEPS).contains(&queued_steps), "the KV cache holds what is taken back");
        let mut landings = Vec::with_capacity(queued_steps);
        for _ in 0..queued_steps {
            landings.push(executor.staging(u64::from(SLOT) * 4).await?);
        }
        let logits = executor.staging((all_logits.rows * all_logits.stride() * 4) as u64).await?;
        Ok(Self {
            executor,
            plans,
            context_length,
            pace: Pace::new(chunk, clock),
            control,
            all_logits,
            decode,
            prefill,
            head,
            sample,
            all_rows,
            landings,
            logits,
        })
    }

    /// Says which tokens the next submit takes, of how many so far, and how many were sampled before it.
    fn start_chunk(&self, position: usize, ids: &[u32], sampled: usize) {
        let sampled = sampled as u32;
        let state = State { position: position as u32, count: ids.len() as u32, draws: sampled, ring: sampled };
        self.executor.write(self.control.state, 0, bytemuck::bytes_of(&state));
        self.executor.write(self.control.tokens, 0, bytemuck::cast_slice(ids));
    }

    /// Feeds the tokens of the chunk in pieces, the last one's submit ending with `last`. `false` if the caller stopped
    /// it before that.
    async fn feed(
        &self,
        chunk: Chunk<'_>,
        last: &[&Prepared],
        readback: Readback<'_>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<bool> {
        let Chunk { ids, position, sampled } = chunk;
        let mut done = 0;
        while ids.len() - done > self.pace.tokens() {
            let piece = &ids[done..done + self.pace.tokens()];
            let started = self.pace.start();
            self.start_chunk(position + done, piece, sampled);
            self.executor.submit(&[&self.prefill], &[])?;
            self.executor.idle().await?;
            self.pace.took(piece.len(), started);
            cancel.check()?;
            done += piece.len();
            progress(done);
            if cancel.stopped() {
                return Ok(false);
            }
        }
        self.start_chunk(position + done, &ids[done..], sampled);
        let plans: Vec<&Prepared> = std::iter::once(&self.prefill).chain(last.iter().copied()).collect();
        self.executor.submit(&plans, &[readback])?;
        Ok(true)
    }

    /// Generates: `token` hears each token and says what follows; `prefilled` hears the tokens of the prompt done so
    /// far. Steps are queued ahead of the tokens read; those after the last one wanted are left unread, and what they
    /// wrote to the KV cache is written over or never looked at.
    pub async fn generate(
        &self,
        request: &Request<'_>,
        cancel: &Cancel,
        prefilled: &mut dyn FnMut(usize),
        token: &mut dyn FnMut(Sampled) -> Next,
    ) -> Result<()> {
        let Request { prompt, sampler, limit, .. } = request;
        self.executor.write(self.control.options, 0, bytemuck::bytes_of(sampler));
        self.write_history(request, &[]);
        let slot_bytes = match sampler.logprobs {
            0 => 8,
            n => u64::from(4 + 2 * (n - 1).min(MAX_TOP)) * 4,
        };
        let landing = |step: usize| &self.landings[step % self.landings.len()];
        let read = |step: usize| {
            let start = (step % RING as usize) as u64 * u64::from(SLOT) * 4;
            Readback { from: self.control.ring, bytes: start..start + slot_bytes, to: landing(step) }
        };
        let first = [&self.head, &self.sample];
        let chunk = Chunk { ids: prompt, position: 0, sampled: 0 };
        if cancel.stopped() || !self.feed(chunk, &first, read(0), cancel, prefilled).await? {
            return Ok(());
        }
        let mut generated = Vec::new();
        let mut waiting = VecDeque::from([0]);
        let mut queued = 1;
        while let Some(step) = waiting.pop_front() {
            while queued < *limit && waiting.len() + 1 < self.landings.len() {
                self.executor.submit(&[&self.decode], &[read(queued)])?;
                waiting.push_back(queued);
                queued += 1;
            }
            let slot: Vec<u32> = bytemuck::pod_collect_to_vec(&self.executor.fetch(landing(step)).await?);
            cancel.check()?;
            if step == 0 {
                prefilled(prompt.len());
            }
            if slot[1] != 0 {
                return Err(Error::NonFinite { position: prompt.len() + step - 1 });
            }
            generated.push(slot[0]);
            match token(sampled(&slot, sampler)) {
                Next::Stop => return Ok(()),
                Next::Go => {}
                Next::Insert(ids) => {
                    // The steps queued behind this one went another way: the next starts from here again.
                    waiting.clear();
                    let fed = generated.len() - 1;
                    generated.extend(ids);
                    queued = generated.len();
                    if queued >= *limit {
                        return Ok(());
                    }
                    self.write_history(request, &generated);
                    let position = prompt.len() + fed;
                    let chunk = Chunk { ids: &generated[fed..], position, sampled: queued };
                    if !self.feed(chunk, &first, read(queued), cancel, &mut |_| {}).await? {
                        return Ok(());
                    }
                    waiting.push_back(queued);
                    queued += 1;
                }
            }
            if waiting.is_empty() && queued < *limit {
                self.executor.submit(&[&self.decode], &[read(queued)])?;
                waiting.push_back(queued);
                queued += 1;
            }
        }
        Ok(())
    }

    /// Tells the sampler what it is to know about tokens, where it looks at that.
    fn write_history(&self, request: &Request<'_>, generated: &[u32]) {
        if request.sampler.adjust != 0 {
            let history = request.bias.history(self.control.logits.width, request.prompt, generated);
            self.executor.write(self.control.history, 0, bytemuck::cast_slice(&history));
        }
    }

    /// Logits of `ids`, a block of rows at a time, each row `[vocabulary]`.
    pub async fn logits(
        &self,
        ids: &[u32],
        rows: Rows,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let vocabulary = self.control.logits.width;
        if rows == Rows::Last {
            let bytes = 0..vocabulary as u64 * 4;
            let read = Readback { from: self.control.logits.buffer, bytes, to: &self.logits };
            let chunk = Chunk { ids, position: 0, sampled: 0 };
            self.feed(chunk, &[&self.head], read, cancel, &mut |_| {}).await?;
            return sink(&floats(&self.executor.fetch(&self.logits).await?));
        }
        let stride = self.all_logits.stride();
        for (i, block) in ids.chunks(self.all_logits.rows).enumerate() {
            self.start_chunk(i * self.all_logits.rows, block, 0);
            let bytes = 0..(block.len() * stride * 4) as u64;
            let read = Readback { from: self.all_logits.buffer, bytes, to: &self.logits };
            self.executor.submit(&[&self.prefill, &self.all_rows], &[read])?;
            let bytes = self.executor.fetch(&self.logits).await?;
            cancel.check()?;
            for row in bytes.chunks_exact(stride * 4) {
                sink(&floats(&row[..vocabulary * 4]))?;
            }
        }
        Ok(())
    }
}

/// Tokens to feed.
struct Chunk<'a> {
    ids: &'a [u32],
    /// Tokens in the KV cache before them.
    position: usize,
    /// Tokens generated before the one that is sampled after them.
    sampled: usize,
}

/// A slot of the ring.
fn sampled(slot: &[u32], sampler: &SamplerOptions) -> Sampled {
    let id = slot[0];
    if sampler.logprobs == 0 {
        return Sampled { id, logprob: 0.0, ranked: false, top: Vec::new() };
    }
    let pair = |p: &[u32]| (p[0], f32::from_bits(p[1]));
    let top = slot[4..].chunks_exact(2).take(slot[3] as usize).map(pair).collect();
    Sampled { id, logprob: f32::from_bits(slot[2]), ranked: sampler.logprobs > 1, top }
}

/// Bytes as f32, wherever they lie.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}
