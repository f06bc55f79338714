//! A worker: it holds a share of the weights and everything else, and runs plans with its peers.

use std::collections::HashMap;
use std::rc::Rc;

use super::command::{self, Command};
use crate::kernels::{CpuMemory, Peers, interpret, run};
use crate::plan::{BufferCopy, BufferId, Plan, Share};

/// Which arithmetic plans run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// The kernels' forms for processors: f32, and products of integers of 16 bits.
    Fast,
    /// The kernels' references: f64.
    Exact,
}

/// See the module.
#[derive(Debug)]
pub struct Worker {
    run: fn(&Plan, &mut CpuMemory),
    memory: CpuMemory,
    plans: HashMap<u32, Plan>,
}

impl Worker {
    /// A worker with nothing.
    pub fn new(share: Share, peers: Rc<dyn Peers>, arithmetic: Arithmetic) -> Self {
        let run = if arithmetic == Arithmetic::Fast { run } else { interpret };
        Self { run, memory: CpuMemory::shared(share, peers), plans: HashMap::new() }
    }

    /// Carries out a [`Command`] and answers it; most answers are empty.
    pub fn carry_out(&mut self, command: &[u8]) -> Vec<u8> {
        match Command::from_bytes(command) {
            Command::Allocate(added) => {
                return vec![u8::from(self.memory.extend(&command::buffers(&added)).is_some())];
            }
            Command::Release(buffers) => buffers.iter().for_each(|&id| self.memory.free(BufferId(id))),
            Command::Copy(copies) => copies.into_iter().for_each(|copy| self.copy(&copy.into())),
            Command::Prepare(number, steps) => {
                let steps = steps.into_iter().map(|step| step.step()).collect();
                self.plans.insert(number, Plan { label: String::new(), steps });
            }
            Command::Forget(number) => drop(self.plans.remove(&number)),
            Command::Run(plans) => plans.iter().for_each(|plan| (self.run)(&self.plans[plan], &mut self.memory)),
            Command::Read(ranges) => {
                let bytes = |(id, range): &(u32, std::ops::Range<u64>)| {
                    self.memory.bytes(BufferId(*id))[range.start as usize..range.end as usize].to_vec()
                };
                return ranges.iter().flat_map(bytes).collect();
            }
        }
        Vec::new()
    }

    /// A range of a buffer, to write to it.
    pub fn bytes_mut(&mut self, id: BufferId, offset: u64, len: usize) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(self.memory.words_mut(id))[offset as usize..offset as usize + len]
    }

    fn copy(&mut self, copy: &BufferCopy) {
        let here = |id, at: u64| self.memory.local_bytes(id, at);
        let bytes = here(copy.from, copy.bytes.start)..here(copy.from, copy.bytes.end);
        let (copied, offset) = (self.memory.bytes(copy.from)[bytes].to_vec(), here(copy.to, copy.offset));
        self.memory.write(copy.to, offset as u64, &copied);
    }
}
