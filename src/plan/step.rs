//! A plan: the GPU work of one step of the model, recorded once as plain data.
//!
//! A plan can be printed and compared, counted, run by the executor, and run by the CPU interpreter of
//! [`kernels`](crate::kernels). It names buffers by id; [`Buffers`](super::Buffers) says what they are.

use std::fmt;

use super::buffers::BufferId;
use super::layout::Layout;
use super::shader::Shader;

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// A buffer at `@group(0) @binding(slot)`. Slot 0 holds the step's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// `@binding` number.
    pub slot: u32,
    /// The whole of this buffer is bound.
    pub buffer: BufferId,
    /// How it is used.
    pub access: Access,
}

/// One dispatch.
#[derive(Debug, Clone)]
pub struct Step {
    /// Place in the model, such as `l3.attn.o`.
    pub label: String,
    /// Kernel name in the kernel table, which finds the reference.
    pub kernel: &'static str,
    /// The WGSL to run.
    pub shader: Shader,
    /// Values of the shader's `override`s.
    pub constants: Vec<(&'static str, f64)>,
    /// Storage buffers.
    pub bindings: Vec<Binding>,
    /// Words of the shader's `Params` uniform.
    pub params: Vec<u32>,
    /// Workgroups.
    pub grid: [u32; 3],
    /// Shapes in words, for people: `w[2048,4096]:q4 x[1,4096] → [1,2048]`.
    pub detail: String,
}

impl Step {
    /// The buffer bound at `slot`; a kernel's own reference asks only for what it bound.
    pub fn buffer(&self, slot: u32) -> BufferId {
        self.bindings
            .iter()
            .find(|b| b.slot == slot)
            .unwrap_or_else(|| panic!("{}: nothing is bound at {slot}", self.label))
            .buffer
    }

    /// The layout of the weights it reads; a kernel of weights asks only for what it chose.
    pub fn layout(&self) -> Layout {
        self.shader.id.layout.unwrap_or_else(|| panic!("{}: its shader reads no weights", self.label))
    }

    /// The value of an `override`; 0 where the step leaves the shader's default.
    pub fn constant(&self, name: &str) -> f64 {
        self.constants.iter().find(|(n, _)| *n == name).map_or(0.0, |&(_, v)| v)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<16} {:<18} {}", self.label, self.shader.id, self.detail)
    }
}

/// The dispatches of one step of the model, in order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The plan's name in GPU debuggers.
    pub label: String,
    /// The steps in order of execution.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The parameters of all steps in one buffer, each at a multiple of `alignment` bytes: its bytes, and where each step's are.
    pub fn params(&self, alignment: u64) -> (Vec<u8>, Vec<u64>) {
        let mut words: Vec<u8> = Vec::new();
        let mut offsets = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            words.resize(words.len().next_multiple_of(alignment as usize), 0);
            offsets.push(words.len() as u64);
            words.extend_from_slice(bytemuck::cast_slice(&step.params));
            words.resize(words.len().next_multiple_of(16), 0);
        }
        (words, offsets)
    }

    /// An empty plan.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), steps: Vec::new() }
    }

    /// Appends steps.
    pub fn push(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.steps.extend(steps);
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

/// Folds a count of workgroups into two grid dimensions of at most `limit` each (WebGPU: 65,535). The shader undoes
/// it with `id.x + id.y * num_workgroups.x` and leaves early past its last row.
pub fn fold_grid(workgroups: u32, limit: u32) -> [u32; 2] {
    if workgroups <= limit {
        return [workgroups.max(1), 1];
    }
    let y = workgroups.div_ceil(limit);
    [workgroups.div_ceil(y), y]
}

#[cfg(test)]
mod tests {
    use super::fold_grid;

    #[test]
    fn a_folded_grid_covers_all_workgroups_and_wastes_less_than_a_row() {
        for n in [1, 2, 65_535, 65_536, 65_537, 131_071, 1_000_003] {
            let [x, y] = fold_grid(n, 65_535);
            assert!(x <= 65_535 && y <= 65_535 && x * y >= n && x * y - n < x.max(y), "{n}: {x} x {y}");
        }
    }
}
