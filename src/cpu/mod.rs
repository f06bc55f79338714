//! The processor: an [`Executor`] that runs the same plans as a GPU, by the kernels' forms for processors or by their
//! references in f64, which are the oracle for whole engines.
//!
//! Workers do the work, each with a memory of its own: it holds some rows of every matrix ([`DividedRows`](crate::plan::DividedRows))
//! and a copy of everything else. All run every plan, and a product whose rows are divided ends with an exchange of its values.
//! This room has both sides: [`Cpu`] tells [`Workers`] what to do, and a [`Worker`] does it, in a thread or in an instance of
//! WebAssembly.

mod command;
mod threads;
mod worker;
mod workers;

pub use command::Command;
pub use threads::threads;
pub use worker::{Arithmetic, Worker};
pub use workers::{Answer, Starting, Workers};

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;

use async_trait::async_trait;

use crate::plan::{
    BufferCopy, BufferId, BufferSpec, Buffers, Bytes, BytesRef, Counts, DeviceFacts, DividedRows, Executor, Held,
    MemoryUse, Plan, Prepared, Read, Readback, Role, Share,
};
use crate::{Error, Result};

/// The largest buffer, in bytes.
pub const MAX_BUFFER: u64 = 1 << 31;
/// The alignment of a step's parameters, in bytes.
pub const ALIGNMENT: u64 = 16;

/// Bytes of a readback that are on their way.
enum Awaited {
    /// They are the answer.
    Whole(Answer),
    /// A range of a buffer, whose bytes are in several answers.
    Parts(Range<u64>, Vec<(Held, Answer)>),
}

impl Awaited {
    async fn bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Whole(answer) => answer.await,
            Self::Parts(whole, parts) => {
                let mut bytes = vec![0; (whole.end - whole.start) as usize];
                for (part, answer) in parts {
                    let (answer, mut at) = (answer.await?, 0);
                    for range in part.ranges {
                        let place = (range.start - whole.start) as usize..(range.end - whole.start) as usize;
                        let len = place.len();
                        bytes[place].copy_from_slice(&answer[at..at + len]);
                        at += len;
                    }
                }
                Ok(bytes)
            }
        }
    }
}

/// What a readback waits for: the bytes of one after those of the other.
type Arriving = RefCell<Vec<Awaited>>;

/// See the module.
#[derive(Debug)]
pub struct Cpu {
    workers: Rc<dyn Workers>,
    facts: DeviceFacts,
    /// The buffers by id, without freed ones at the end.
    buffers: RefCell<Vec<Option<BufferSpec>>>,
    /// Plans prepared so far.
    plans: Cell<u32>,
    counts: Cell<Counts>,
    /// Whether it was destroyed: calls that are under way end with an error, as those on a lost device.
    destroyed: Cell<bool>,
}

/// A plan that the workers keep.
struct Kept {
    number: u32,
    steps: usize,
    workers: Rc<dyn Workers>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        tell_all(&*self.workers, &Command::Forget(self.number));
    }
}

/// Bytes that a worker holds of a buffer.
fn bytes_of(spec: &BufferSpec, share: Share) -> u64 {
    spec.rows.filter(|_| share.count > 1).map_or(spec.bytes, |rows| rows.bytes_of(share))
}

/// Bytes that `workers` hold of a buffer, together.
pub fn bytes_held(spec: &BufferSpec, workers: usize) -> u64 {
    Share::all(workers).map(|share| bytes_of(spec, share)).sum()
}

/// Checks that each of `workers`, which can hold `memory` bytes, has room for its part of the buffers beside the `allocated` bytes
/// that all hold together.
///
/// # Errors
/// [`Error::Memory`]
pub fn check_memory(buffers: &Buffers, workers: usize, memory: u64, allocated: u64) -> Result<()> {
    let of = |share| buffers.iter().map(|spec| bytes_of(spec, share)).sum::<u64>();
    let most = Share::all(workers).map(of).max().unwrap_or(0);
    if most + allocated.div_ceil(workers as u64) <= memory {
        return Ok(());
    }
    let bytes = buffers.iter().map(|spec| bytes_held(spec, workers)).sum();
    let what = buffers.iter().next().map_or("", |spec| &spec.label).to_owned();
    Err(Error::Memory { what, bytes, allocated })
}

impl Drop for Cpu {
    /// A load that fails leaves no worker behind.
    fn drop(&mut self) {
        self.workers.stop();
    }
}

fn tell_all(workers: &dyn Workers, command: &Command) {
    let command = command.to_bytes();
    (0..workers.count()).for_each(|worker| workers.tell(worker, &command));
}

impl Cpu {
    /// An executor that tells workers what to do.
    pub fn new(workers: Rc<dyn Workers>) -> Self {
        let facts = DeviceFacts {
            name: match workers.count() {
                1 => "CPU, 1 thread".into(),
                count => format!("CPU, {count} threads"),
            },
            vendor: String::new(),
            architecture: String::new(),
            features: Vec::new(),
            max_buffer_size: MAX_BUFFER,
            max_storage_buffer_binding_size: MAX_BUFFER,
            min_uniform_buffer_offset_alignment: ALIGNMENT as u32,
            shader_f16: false,
            subgroups: false,
            packed_int8: false,
            software: false,
            cpu: true,
        };
        Self {
            workers,
            facts,
            buffers: RefCell::default(),
            plans: Cell::default(),
            counts: Cell::default(),
            destroyed: Cell::default(),
        }
    }

    fn check(&self) -> Result<()> {
        if self.destroyed.get() {
            return Err(Error::DeviceLost { message: "the model was unloaded".into() });
        }
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    fn tell(&self, command: &Command) {
        tell_all(&*self.workers, command);
    }

    /// Asks every worker, and waits for all answers.
    async fn ask_all(&self, command: &Command) -> Result<Vec<Vec<u8>>> {
        let command = command.to_bytes();
        let asked: Vec<Answer> = (0..self.workers.count()).map(|worker| self.workers.ask(worker, &command)).collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await?);
        }
        Ok(answers)
    }

    fn held(&self, spec: &BufferSpec) -> u64 {
        bytes_held(spec, self.workers.count())
    }

    /// What each worker holds of a range of a buffer whose rows are divided; `None` where every worker has all of it.
    fn parts(&self, id: BufferId, bytes: &Range<u64>) -> Option<Vec<Held>> {
        let rows = self.divided(id).filter(|_| self.workers.count() > 1)?;
        Some(Share::all(self.workers.count()).map(|share| rows.held(share, bytes.clone())).collect())
    }

    fn put<'a>(&self, to: BufferId, offset: u64, len: u64, bytes: &'a dyn Fn(Range<usize>) -> BytesRef<'a>) {
        if self.destroyed.get() {
            return;
        }
        let Some(parts) = self.parts(to, &(offset..offset + len)) else {
            let write = |worker| self.workers.write(worker, to, offset, bytes(0..len as usize));
            return (0..self.workers.count()).for_each(write);
        };
        let of = |range: &Range<u64>| bytes((range.start - offset) as usize..(range.end - offset) as usize);
        for (worker, part) in parts.iter().enumerate() {
            match &part.ranges[..] {
                [] => {}
                [range] => self.workers.write(worker, to, part.offset, of(range)),
                ranges => {
                    let joined = ranges.iter().flat_map(|range| of(range).to_vec()).collect::<Vec<_>>();
                    self.workers.write(worker, to, part.offset, BytesRef::Here(&joined));
                }
            }
        }
    }

    /// Asks for ranges of buffers.
    fn awaited(&self, ranges: &[(BufferId, Range<u64>)]) -> Vec<Awaited> {
        let ask =
            |worker: usize, ranges: Vec<(u32, Range<u64>)>| self.workers.ask(worker, &Command::Read(ranges).to_bytes());
        let mut awaited: Vec<Awaited> = Vec::new();
        let mut whole: Vec<(u32, Range<u64>)> = Vec::new(); // of buffers that every worker has
        for (id, bytes) in ranges {
            let Some(parts) = self.parts(*id, bytes) else {
                whole.push((id.0, bytes.clone()));
                continue;
            };
            if !whole.is_empty() {
                awaited.push(Awaited::Whole(ask(0, std::mem::take(&mut whole))));
            }
            let of = |(worker, part): (usize, Held)| {
                let range = (id.0, part.offset..part.offset + part.len());
                (part, ask(worker, vec![range]))
            };
            let parts = parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()).map(of).collect();
            awaited.push(Awaited::Parts(bytes.clone(), parts));
        }
        if !whole.is_empty() {
            awaited.push(Awaited::Whole(ask(0, whole)));
        }
        awaited
    }
}

#[async_trait(?Send)]
impl Executor for Cpu {
    fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    fn divided(&self, id: BufferId) -> Option<DividedRows> {
        self.buffers.borrow()[id.0 as usize].as_ref().and_then(|spec| spec.rows)
    }

    fn memory(&self) -> MemoryUse {
        let mut held = MemoryUse::default();
        for spec in self.buffers.borrow().iter().flatten() {
            let of_role = match spec.role {
                Role::Weights => &mut held.weights,
                Role::Kv => &mut held.kv,
                Role::Scratch => &mut held.scratch,
            };
            *of_role += self.held(spec);
        }
        held
    }

    fn counts(&self) -> Counts {
        self.counts.get()
    }

    async fn allocate(&self, buffers: &Buffers) -> Result<BufferId> {
        self.check()?;
        check_memory(buffers, self.workers.count(), self.workers.memory(), self.memory().total())?;
        let first = BufferId(self.buffers.borrow().len() as u32);
        // Before the answer, so that allocations that are under way have ids of their own.
        self.buffers.borrow_mut().extend(buffers.iter().cloned().map(Some));
        let answers = self.ask_all(&Command::allocate(buffers)).await;
        let allocated = answers.as_ref().is_ok_and(|answers| answers.iter().all(|answer| answer == &[1]));
        if allocated {
            return Ok(first);
        }
        let ids: Vec<_> = (first.0..first.0 + buffers.iter().len() as u32).map(BufferId).collect();
        self.release(&ids);
        answers?;
        let bytes = buffers.iter().map(|spec| self.held(spec)).sum();
        let what = buffers.iter().next().map_or("", |spec| &spec.label).to_owned();
        Err(Error::Memory { what, bytes, allocated: self.memory().total() })
    }

    fn release(&self, buffers: &[BufferId]) {
        let held = &mut *self.buffers.borrow_mut();
        for id in buffers {
            if let Some(spec) = held.get_mut(id.0 as usize) {
                *spec = None;
            }
        }
        held.truncate(held.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        self.tell(&Command::Release(buffers.iter().map(|id| id.0).collect()));
    }

    fn write(&self, to: BufferId, offset: u64, bytes: &[u8]) {
        self.put(to, offset, bytes.len() as u64, &|range| BytesRef::Here(&bytes[range]));
    }

    fn upload(&self, to: BufferId, offset: u64, bytes: Bytes) {
        self.put(to, offset, bytes.len() as u64, &|range| bytes.range(range)); // what follows whole words is zero already
        bytes.done();
    }

    fn copy(&self, copies: &[BufferCopy]) -> Result<()> {
        self.check()?;
        self.tell(&Command::copy(copies));
        self.count(|c| c.submits += 1);
        Ok(())
    }

    async fn prepare(&self, plan: &Plan) -> Result<Prepared> {
        self.check()?;
        let number = self.plans.replace(self.plans.get() + 1);
        self.tell(&Command::prepare(number, plan));
        Ok(Prepared::new(Kept { number, steps: plan.steps.len(), workers: self.workers.clone() }))
    }

    async fn readback(&self, _bytes: u64) -> Result<Readback> {
        Ok(Readback::new(Arriving::default()))
    }

    fn submit(&self, plans: &[&Prepared], reads: &[Read<'_>]) -> Result<()> {
        self.check()?;
        let plans: Vec<&Kept> = plans.iter().map(|plan| plan.inner()).collect();
        if !plans.is_empty() {
            self.tell(&Command::Run(plans.iter().map(|plan| plan.number).collect()));
        }
        reads.iter().for_each(|read| read.to.inner::<Arriving>().borrow_mut().clear());
        // Reads into one destination are one question, in most cases.
        for reads in reads.chunk_by(|a, b| std::ptr::eq(a.to, b.to)) {
            let ranges: Vec<_> = reads.iter().map(|read| (read.from, read.bytes.clone())).collect();
            reads[0].to.inner::<Arriving>().borrow_mut().extend(self.awaited(&ranges));
        }
        self.count(|c| {
            c.submits += 1;
            c.passes += u64::from(!plans.is_empty());
            c.dispatches += plans.iter().map(|plan| plan.steps as u64).sum::<u64>();
        });
        Ok(())
    }

    async fn fetch(&self, from: &Readback) -> Result<Vec<u8>> {
        let answers = std::mem::take(&mut *from.inner::<Arriving>().borrow_mut());
        let mut bytes = Vec::new();
        for awaited in answers {
            bytes.append(&mut awaited.bytes().await?);
        }
        self.check()?;
        self.count(|c| c.readbacks += 1);
        Ok(bytes)
    }

    async fn idle(&self) -> Result<()> {
        self.ask_all(&Command::Read(Vec::new())).await?;
        self.check()
    }

    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>> {
        self.workers.lost()
    }

    fn destroy(&self) {
        self.destroyed.set(true);
        self.workers.stop();
        self.buffers.borrow_mut().clear();
    }
}
