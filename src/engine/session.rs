//! Ids in, ids out: chunks of prefill, queued steps of decode, logits. Knows no text.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::gpu::{BufferId, Executor, Prepared, Readback, Staging};
use crate::kernels::{Control, RING, SamplerOptions, State};
use crate::model::{Model, Plans};
use crate::{Cancel, Error, Result};

/// A model's plans on the GPU, and the state of the one conversation in its KV cache.
pub(super) struct Session {
    pub executor: Executor,
    pub plans: Plans,
    pub context_length: usize,
    chunk: usize,
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

impl Session {
    /// Builds the pipelines of every plan. `progress` hears the number of plans built and of all.
    pub async fn new(
        model: Model,
        executor: Executor,
        queued_steps: usize,
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
        assert!(queued_steps >= 1 && queued_steps < RING as usize, "the ring holds what is under way");
        let mut landings = Vec::with_capacity(queued_steps);
        for _ in 0..queued_steps {
            landings.push(executor.staging(8).await?);
        }
        let logits = executor.staging((all_logits.rows * all_logits.stride() * 4) as u64).await?;
        Ok(Self {
            executor,
            plans,
            context_length,
            chunk,
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

    fn start_chunk(&self, position: usize, ids: &[u32]) {
        let state = State { position: position as u32, count: ids.len() as u32, draws: 0, ring: 0 };
        self.executor.write(self.control.state, 0, bytemuck::bytes_of(&state));
        self.executor.write(self.control.tokens, 0, bytemuck::cast_slice(ids));
    }

    /// Feeds `ids` from the start of the context in chunks, the last one's submit ending with `last`. `false` if the
    /// caller stopped it before that.
    async fn feed(
        &self,
        ids: &[u32],
        last: &[&Prepared],
        readback: Readback<'_>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<bool> {
        let mut position = 0;
        while ids.len() - position > self.chunk {
            let chunk = &ids[position..position + self.chunk];
            self.start_chunk(position, chunk);
            self.executor.submit(&[&self.prefill], &[])?;
            self.executor.idle().await?;
            cancel.check()?;
            position += chunk.len();
            progress(position);
            if cancel.stopped() {
                return Ok(false);
            }
        }
        self.start_chunk(position, &ids[position..]);
        let plans: Vec<&Prepared> = std::iter::once(&self.prefill).chain(last.iter().copied()).collect();
        self.executor.submit(&plans, &[readback])?;
        Ok(true)
    }

    /// Generates after `prompt`: `token` hears each id and says whether to go on; `prefilled` hears the tokens of the
    /// prompt done so far. Steps are queued ahead of the ids read; those after the last id wanted are left unread.
    pub async fn generate(
        &self,
        prompt: &[u32],
        sampler: SamplerOptions,
        limit: usize,
        cancel: &Cancel,
        prefilled: &mut dyn FnMut(usize),
        token: &mut dyn FnMut(u32) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.executor.write(self.control.options, 0, bytemuck::bytes_of(&sampler));
        let slot = |step: usize| {
            let start = (step % RING as usize * 8) as u64;
            start..start + 8
        };
        let landing = |step: usize| &self.landings[step % self.landings.len()];
        let ring: BufferId = self.control.ring;
        let read = |step: usize| Readback { from: ring, bytes: slot(step), to: landing(step) };
        if cancel.stopped() || !self.feed(prompt, &[&self.head, &self.sample], read(0), cancel, prefilled).await? {
            return Ok(());
        }
        let mut waiting = VecDeque::from([0]);
        let mut queued = 1;
        while let Some(step) = waiting.pop_front() {
            while queued < limit && waiting.len() + 1 < self.landings.len() {
                self.executor.submit(&[&self.decode], &[read(queued)])?;
                waiting.push_back(queued);
                queued += 1;
            }
            let bytes = self.executor.fetch(landing(step)).await?;
            let [id, not_finite]: [u32; 2] = bytemuck::pod_read_unaligned(&bytes);
            cancel.check()?;
            if step == 0 {
                prefilled(prompt.len());
            }
            if not_finite != 0 {
                return Err(Error::NonFinite { position: prompt.len() + step - 1 });
            }
            if token(id)?.is_break() {
                return Ok(());
            }
            if waiting.is_empty() && queued < limit {
                self.executor.submit(&[&self.decode], &[read(queued)])?;
                waiting.push_back(queued);
                queued += 1;
            }
        }
        Ok(())
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
            self.feed(ids, &[&self.head], read, cancel, &mut |_| {}).await?;
            return sink(&floats(&self.executor.fetch(&self.logits).await?));
        }
        let stride = self.all_logits.stride();
        for (i, block) in ids.chunks(self.all_logits.rows).enumerate() {
            self.start_chunk(i * self.all_logits.rows, block);
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

/// Bytes as f32, wherever they lie.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}
