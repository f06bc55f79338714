//! The interface of an executor: buffers, prepared plans, submits and readbacks. Everything above it works with any executor.
//!
//! Submits queue: each sees what the ones before it wrote, and several may be under way. An executor hands out
//! [`Prepared`] plans and [`Readback`] buffers whose contents only it knows.

use std::any::Any;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;

use async_trait::async_trait;

use super::buffers::{BufferId, Buffers, Role};
use super::bytes::Bytes;
use super::facts::DeviceFacts;
use super::share::DividedRows;
use super::step::Plan;
use crate::{Error, Result};

/// A plan that an executor has prepared. Dropping it frees what was prepared.
#[derive(Debug)]
pub struct Prepared(Box<dyn Any>);

/// A buffer that the host can read, made once and used for many readbacks, one at a time.
#[derive(Debug)]
pub struct Readback(Box<dyn Any>);

impl Prepared {
    /// For executors: wraps what was prepared.
    pub fn new(inner: impl Any) -> Self {
        Self(Box::new(inner))
    }

    /// For executors: what [`Self::new`] wrapped.
    ///
    /// # Panics
    /// If another executor prepared the plan.
    pub fn inner<T: Any>(&self) -> &T {
        self.0.downcast_ref().expect("an executor runs the plans that it prepared")
    }
}

impl Readback {
    /// For executors: wraps the buffer.
    pub fn new(inner: impl Any) -> Self {
        Self(Box::new(inner))
    }

    /// For executors: what [`Self::new`] wrapped.
    ///
    /// # Panics
    /// If another executor made the buffer.
    pub fn inner<T: Any>(&self) -> &T {
        self.0.downcast_ref().expect("an executor reads into the buffers that it made")
    }
}

/// A range of a buffer to read back after a submit's plans have run.
#[derive(Debug)]
pub struct Read<'a> {
    /// Source.
    pub from: BufferId,
    /// Byte range of the source; both ends are multiples of 4.
    pub bytes: Range<u64>,
    /// Destination. Reads of one submit into the same destination are concatenated.
    pub to: &'a Readback,
}

/// A copy between two buffers. If their rows are divided, they are alike, and whole units are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferCopy {
    /// Source.
    pub from: BufferId,
    /// Byte range of the source; both ends are multiples of 4.
    pub bytes: Range<u64>,
    /// Destination, another buffer than the source.
    pub to: BufferId,
    /// Where the bytes go in the destination, a multiple of 4.
    pub offset: u64,
}

/// Bytes held, by role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // documented at Role
pub struct MemoryUse {
    pub weights: u64,
    pub kv: u64,
    pub scratch: u64,
}

impl MemoryUse {
    /// Bytes of all roles together.
    pub fn total(&self) -> u64 {
        self.weights + self.kv + self.scratch
    }
}

/// Counts of the work submitted so far; tests compare differences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct Counts {
    pub submits: u64,
    pub passes: u64,
    pub dispatches: u64,
    pub readbacks: u64,
    /// Buffers, bind groups, layouts, shader modules and pipelines, without the encoder and pass of a submit.
    pub objects_created: u64,
}

/// Owns buffers and runs plans on them.
#[async_trait(?Send)]
pub trait Executor {
    /// The facts that plans and the choice of kernels depend on.
    fn facts(&self) -> &DeviceFacts;

    /// How the rows of a buffer are divided, where they may be.
    fn divided(&self, _id: BufferId) -> Option<DividedRows> {
        None
    }

    /// Bytes held, by role.
    fn memory(&self) -> MemoryUse;

    /// Counts of the work so far.
    fn counts(&self) -> Counts;

    /// Allocates buffers, all or none, each zeroed. Returns the id of the first; the others follow it. The first buffer
    /// of an executor that holds none has id 0.
    ///
    /// # Errors
    /// [`Error::BufferLimit`], [`Error::Memory`], [`Error::DeviceLost`].
    async fn allocate(&self, buffers: &Buffers) -> Result<BufferId>;

    /// Frees buffers; those that are freed already are ignored. No plan that uses them may be submitted afterwards.
    fn release(&self, buffers: &[BufferId]);

    /// Writes to a buffer before the next submit. `offset` and the length are multiples of 4, in bytes.
    fn write(&self, to: BufferId, offset: u64, bytes: &[u8]);

    /// As [`Self::write`], for bytes that are in the program's or JavaScript's memory, padded with zeros to a multiple
    /// of 4.
    fn upload(&self, to: BufferId, offset: u64, bytes: Bytes);

    /// Copies between buffers in a submit of its own.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    fn copy(&self, copies: &[BufferCopy]) -> Result<()>;

    /// Prepares a plan, so that running it creates nothing.
    ///
    /// # Errors
    /// [`Error::Plan`] where the platform rejects a shader, [`Error::Memory`], [`Error::DeviceLost`].
    async fn prepare(&self, plan: &Plan) -> Result<Prepared>;

    /// Makes a readback buffer of `bytes`.
    ///
    /// # Errors
    /// The errors of [`Self::allocate`].
    async fn readback(&self, bytes: u64) -> Result<Readback>;

    /// Runs plans one after the other as one submit, then reads back. Returns at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    fn submit(&self, plans: &[&Prepared], reads: &[Read<'_>]) -> Result<()>;

    /// Waits for the submit that reads into `from`, and returns the bytes.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    async fn fetch(&self, from: &Readback) -> Result<Vec<u8>>;

    /// Waits until everything submitted so far is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    async fn idle(&self) -> Result<()>;

    /// Resolves when the device is lost, never before.
    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>>;

    /// Frees everything. The executor is unusable afterwards, as after the loss of its device.
    fn destroy(&self);

    /// Reads ranges of buffers after everything submitted so far, concatenated, in one submit. Makes a readback buffer:
    /// not for the decode loop. The ends of ranges are multiples of 4.
    ///
    /// # Errors
    /// The errors of [`Self::readback`] and [`Self::fetch`].
    async fn read(&self, ranges: &[(BufferId, Range<u64>)]) -> Result<Vec<u8>> {
        let to = &self.readback(ranges.iter().map(|(_, bytes)| bytes.end - bytes.start).sum()).await?;
        let reads: Vec<_> = ranges.iter().map(|(from, bytes)| Read { from: *from, bytes: bytes.clone(), to }).collect();
        self.submit(&[], &reads)?;
        self.fetch(to).await
    }
}

/// Buffers of an executor that are released on drop.
pub struct Allocation {
    executor: Rc<dyn Executor>,
    first: BufferId,
    count: u32,
}

impl Allocation {
    /// Allocates buffers.
    ///
    /// # Errors
    /// The errors of [`Executor::allocate`].
    pub async fn new(executor: &Rc<dyn Executor>, buffers: &Buffers) -> Result<Self> {
        let first = executor.allocate(buffers).await?;
        Ok(Self { executor: executor.clone(), first, count: buffers.iter().len() as u32 })
    }

    /// The executor that holds the buffers.
    pub fn executor(&self) -> &Rc<dyn Executor> {
        &self.executor
    }

    /// The executor's id of the buffer that is `id` in the table that was allocated.
    pub fn id(&self, id: BufferId) -> BufferId {
        BufferId(self.first.0 + id.0)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let ids: Vec<_> = (0..self.count).map(|id| self.id(BufferId(id))).collect();
        self.executor.release(&ids);
    }
}

/// A copy of ranges of buffers in buffers of its own, which no plan writes.
pub struct Snapshot {
    copies: Vec<BufferCopy>,
    allocation: Allocation,
}

impl Snapshot {
    /// Copies ranges of buffers.
    ///
    /// # Errors
    /// The errors of [`Executor::allocate`] and [`Executor::copy`].
    pub async fn take(executor: &Rc<dyn Executor>, ranges: &[(BufferId, Range<u64>)], role: Role) -> Result<Self> {
        let mut buffers = Buffers::default();
        let mut ids = Vec::with_capacity(ranges.len());
        for (from, bytes) in ranges {
            let len = bytes.end - bytes.start;
            let id = buffers.add("snapshot", len, role);
            ids.push(id);
            // The copy is divided as the original is.
            if let Some(rows) = executor.divided(*from) {
                buffers.divide(id, DividedRows { units: len as usize / (rows.bytes * rows.unit), ..rows });
            }
        }
        let allocation = Allocation::new(executor, &buffers).await?;
        let copy = |(id, (from, bytes)): (BufferId, &(BufferId, Range<u64>))| BufferCopy {
            from: *from,
            bytes: bytes.clone(),
            to: allocation.id(id),
            offset: 0,
        };
        let copies: Vec<_> = ids.into_iter().zip(ranges).map(copy).collect();
        executor.copy(&copies)?;
        Ok(Self { copies, allocation })
    }

    /// Copies everything back to where it was taken from.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn restore(&self) -> Result<()> {
        let back = |copy: &BufferCopy| BufferCopy {
            from: copy.to,
            bytes: 0..copy.bytes.end - copy.bytes.start,
            to: copy.from,
            offset: copy.bytes.start,
        };
        self.allocation.executor.copy(&self.copies.iter().map(back).collect::<Vec<_>>())
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.copies.iter().map(|copy| copy.bytes.end - copy.bytes.start).sum()
    }
}
