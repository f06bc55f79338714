//! What the executor tells its workers, as bytes: they may be in another thread, or in another instance of WebAssembly.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::kernels::{CONSTANTS, KERNELS};
use crate::plan::{Access, Binding, BufferCopy, BufferId, BufferSpec, Buffers, DividedRows, Layout, Plan, Role, Step};

/// A command. Commands of a worker run in the order in which they are sent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// Adds zeroed buffers, all or none; the answer is one byte, 1 if there was enough memory.
    Allocate(Vec<Buffer>),
    /// Frees buffers.
    Release(Vec<u32>),
    /// Copies ranges of bytes between buffers.
    Copy(Vec<Copy>),
    /// Keeps a plan under a number.
    Prepare(u32, Vec<WireStep>),
    /// Drops a plan.
    Forget(u32),
    /// Runs plans.
    Run(Vec<u32>),
    /// Answers with ranges of buffers, concatenated.
    Read(Vec<(u32, Range<u64>)>),
}

/// A buffer to add.
#[derive(Debug, Serialize, Deserialize)]
pub struct Buffer {
    bytes: u64,
    /// Bytes of a row, rows of a unit, units, interleaved units, and readers.
    rows: Option<[u32; 5]>,
}

/// A copy between buffers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Copy {
    from: u32,
    bytes: Range<u64>,
    to: u32,
    offset: u64,
}

/// A step of a plan, with numbers for names.
#[derive(Debug, Serialize, Deserialize)]
pub struct WireStep {
    label: String,
    kernel: u8,
    layout: Option<u8>,
    constants: Vec<(u8, f64)>,
    /// Slot, buffer, and whether it is written.
    bindings: Vec<(u32, u32, bool)>,
    params: Vec<u32>,
    grid: [u32; 3],
}

impl Command {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("every command can be written")
    }

    /// From what [`Self::to_bytes`] made; both ends are of one build.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        postcard::from_bytes(bytes).expect("both ends are of one build")
    }

    /// Adds buffers.
    pub fn allocate(buffers: &Buffers) -> Self {
        let of = |spec: &BufferSpec| {
            let rows = spec.rows.map(|r| [r.bytes, r.unit, r.units, r.interleaved, r.readers].map(|n| n as u32));
            Buffer { bytes: spec.bytes, rows }
        };
        Self::Allocate(buffers.iter().map(of).collect())
    }

    /// Copies.
    pub fn copy(copies: &[BufferCopy]) -> Self {
        let of = |copy: &BufferCopy| Copy {
            from: copy.from.0,
            bytes: copy.bytes.clone(),
            to: copy.to.0,
            offset: copy.offset,
        };
        Self::Copy(copies.iter().map(of).collect())
    }

    /// Keeps a plan.
    pub fn prepare(number: u32, plan: &Plan) -> Self {
        Self::Prepare(number, plan.steps.iter().map(WireStep::new).collect())
    }
}

impl From<Copy> for BufferCopy {
    fn from(copy: Copy) -> Self {
        Self { from: BufferId(copy.from), bytes: copy.bytes, to: BufferId(copy.to), offset: copy.offset }
    }
}

/// The table of buffers to add.
pub fn buffers(added: &[Buffer]) -> Buffers {
    let mut buffers = Buffers::default();
    for buffer in added {
        let id = buffers.add("", buffer.bytes, Role::Scratch);
        if let Some(rows) = buffer.rows {
            let [bytes, unit, units, interleaved, readers] = rows.map(|n| n as usize);
            buffers.divide(id, DividedRows { bytes, unit, units, interleaved, readers });
        }
    }
    buffers
}

impl WireStep {
    fn new(step: &Step) -> Self {
        let number = |at: Option<usize>| at.expect("every kernel and constant is in its table") as u8;
        let kernel = number(KERNELS.iter().position(|kernel| kernel.name == step.kernel));
        let constant = |&(name, value): &(&str, f64)| (number(CONSTANTS.iter().position(|c| *c == name)), value);
        let layout = step.shader.id.layout.map(|of| number(Layout::ALL.iter().position(|layout| *layout == of)));
        Self {
            label: step.label.clone(),
            kernel,
            layout,
            constants: step.constants.iter().map(constant).collect(),
            bindings: step.bindings.iter().map(|b| (b.slot, b.buffer.0, b.access == Access::ReadWrite)).collect(),
            params: step.params.clone(),
            grid: step.grid,
        }
    }

    /// The step.
    pub fn step(self) -> Step {
        let kernel = KERNELS[self.kernel as usize];
        let shader = self.layout.map_or(kernel.shader, |layout| kernel.shader.of(Layout::ALL[layout as usize]));
        let binding = |(slot, buffer, written)| Binding {
            slot,
            buffer: BufferId(buffer),
            access: if written { Access::ReadWrite } else { Access::Read },
        };
        Step {
            label: self.label,
            kernel: kernel.name,
            shader,
            constants: self.constants.into_iter().map(|(name, value)| (CONSTANTS[name as usize], value)).collect(),
            bindings: self.bindings.into_iter().map(binding).collect(),
            params: self.params,
            grid: self.grid,
            detail: String::new(),
        }
    }
}
