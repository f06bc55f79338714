//! The processor: an [`Executor`] that runs the same plans as a GPU, by the kernels' forms for processors or by their
//! references in f64, which are the oracle for whole engines.
//!
//! A plan runs while it is submitted. Before a readback is returned, [`Pause`] gives the environment time: in a browser, the
//! messages that stop or abort a call arrive then.

use std::cell::{Cell, RefCell};
use std::pin::Pin;

use async_trait::async_trait;

use crate::kernels::{CpuMemory, interpret, run};
use crate::plan::{
    BufferCopy, BufferId, Buffers, Bytes, Counts, DeviceFacts, Executor, MemoryUse, Plan, Prepared, Read, Readback,
    Role,
};
use crate::{Error, Result};

/// Gives the environment time for its other tasks.
pub type Pause = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// The bytes of a readback.
type Arrived = RefCell<Vec<u8>>;

/// The largest buffer, in bytes.
pub const MAX_BUFFER: u64 = 1 << 31;
/// The alignment of a step's parameters, in bytes.
pub const ALIGNMENT: u64 = 16;

/// See the module. It needs no device and is never lost.
#[derive(Debug)]
pub struct Cpu {
    /// Runs a plan.
    run: fn(&Plan, &mut CpuMemory),
    pause: Pause,
    facts: DeviceFacts,
    memory: RefCell<CpuMemory>,
    /// The role of each buffer ever allocated, by id.
    roles: RefCell<Vec<Role>>,
    counts: Cell<Counts>,
    /// Whether it was destroyed: calls that are under way end with an error, as those on a lost device.
    destroyed: Cell<bool>,
}

impl Cpu {
    /// An executor that runs kernels' forms for processors.
    pub fn new(pause: Pause) -> Self {
        Self::with(run, pause)
    }

    /// An executor that runs kernels' references.
    pub fn reference() -> Self {
        Self::with(interpret, || Box::pin(std::future::ready(())))
    }

    fn with(run: fn(&Plan, &mut CpuMemory), pause: Pause) -> Self {
        Self {
            run,
            pause,
            facts: DeviceFacts {
                name: "CPU".into(),
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
                slow_compiler: false,
            },
            memory: RefCell::new(CpuMemory::new(&Buffers::default())),
            roles: RefCell::default(),
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
}

#[async_trait(?Send)]
impl Executor for Cpu {
    fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    fn memory(&self) -> MemoryUse {
        let memory = self.memory.borrow();
        let mut held = MemoryUse::default();
        for (id, role) in (0..).map(BufferId).zip(self.roles.borrow().iter()) {
            let of_role = match role {
                Role::Weights => &mut held.weights,
                Role::Kv => &mut held.kv,
                Role::Scratch => &mut held.scratch,
            };
            *of_role += memory.bytes(id).len() as u64;
        }
        held
    }

    fn counts(&self) -> Counts {
        self.counts.get()
    }

    async fn allocate(&self, buffers: &Buffers) -> Result<BufferId> {
        self.check()?;
        let bytes = buffers.iter().map(|spec| spec.bytes).sum();
        let refused = || {
            let what = buffers.iter().next().map_or("", |spec| &spec.label).to_owned();
            Error::Memory { what, bytes, allocated: self.memory().total() }
        };
        let extended = self.memory.borrow_mut().extend(buffers);
        let first = extended.ok_or_else(refused)?;
        let roles = &mut *self.roles.borrow_mut();
        roles.truncate(first.0 as usize);
        roles.extend(buffers.iter().map(|spec| spec.role));
        Ok(first)
    }

    fn release(&self, buffers: &[BufferId]) {
        let memory = &mut *self.memory.borrow_mut();
        buffers.iter().for_each(|&id| memory.free(id));
        self.roles.borrow_mut().truncate(memory.buffers());
    }

    fn write(&self, to: BufferId, offset: u64, bytes: &[u8]) {
        if !self.destroyed.get() {
            self.memory.borrow_mut().write(to, offset, bytes);
        }
    }

    fn upload(&self, to: BufferId, offset: u64, bytes: Bytes) {
        self.write(to, offset, &bytes.into_vec()); // what follows whole words is zero already
    }

    fn copy(&self, copies: &[BufferCopy]) -> Result<()> {
        self.check()?;
        let memory = &mut *self.memory.borrow_mut();
        for BufferCopy { from, bytes, to, offset } in copies {
            let copied = memory.bytes(*from)[bytes.start as usize..bytes.end as usize].to_vec();
            memory.write(*to, *offset, &copied);
        }
        self.count(|c| c.submits += 1);
        Ok(())
    }

    async fn prepare(&self, plan: &Plan) -> Result<Prepared> {
        self.check()?;
        Ok(Prepared::new(plan.clone()))
    }

    async fn readback(&self, _bytes: u64) -> Result<Readback> {
        Ok(Readback::new(Arrived::default()))
    }

    fn submit(&self, plans: &[&Prepared], reads: &[Read<'_>]) -> Result<()> {
        self.check()?;
        let memory = &mut *self.memory.borrow_mut();
        let plans: Vec<&Plan> = plans.iter().map(|plan| plan.inner()).collect();
        plans.iter().for_each(|plan| (self.run)(plan, memory));
        reads.iter().for_each(|read| read.to.inner::<Arrived>().borrow_mut().clear());
        for read in reads {
            let bytes = &memory.bytes(read.from)[read.bytes.start as usize..read.bytes.end as usize];
            read.to.inner::<Arrived>().borrow_mut().extend_from_slice(bytes);
        }
        self.count(|c| {
            c.submits += 1;
            c.passes += u64::from(!plans.is_empty());
            c.dispatches += plans.iter().map(|plan| plan.steps.len() as u64).sum::<u64>();
        });
        Ok(())
    }

    async fn fetch(&self, from: &Readback) -> Result<Vec<u8>> {
        (self.pause)().await;
        self.check()?;
        self.count(|c| c.readbacks += 1);
        Ok(from.inner::<Arrived>().borrow().clone())
    }

    async fn idle(&self) -> Result<()> {
        (self.pause)().await;
        self.check()
    }

    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>> {
        Box::pin(std::future::pending())
    }

    fn destroy(&self) {
        self.destroyed.set(true);
        *self.memory.borrow_mut() = CpuMemory::new(&Buffers::default());
        self.roles.borrow_mut().clear();
    }
}
