//! Unquantised rows, as they were published, to `Q8` or `Q4` while a model loads.

use super::{CpuMemory, Kernel, Params, params, shader};
use crate::gpu::{Access, Binding, BufferId, Layout, Part, QuantizeJob, Shader, Step};

static SHADERS: [Shader; 1] = [shader!("quantize")];

/// See `shaders/quantize.wgsl`.
pub static KERNEL: Kernel = Kernel { name: "quantize", shaders: &SHADERS, params: QuantizeParams::FIELDS, reference };

params!(QuantizeParams { k: u32, groups: u32 });

/// Workgroups; each goes on until the job is done.
const GRID: u32 = 512;

/// Fills rows of a part of a matrix, as a [`QuantizeJob`] says.
#[derive(Debug, Clone, Copy)]
pub struct Quantize<'a> {
    /// Where they go; in layout `Q8` or `Q4`.
    pub part: &'a Part,
    /// Weights in a row.
    pub k: usize,
    /// Rows as published, without gaps.
    pub input: BufferId,
    /// One [`QuantizeJob`].
    pub job: BufferId,
}

impl Quantize<'_> {
    /// The step.
    pub fn step(&self, label: &str) -> Step {
        assert!(self.part.layout.can_quantize(), "{label}: {:?}", self.part.layout);
        let scales = self.part.scales.expect("both layouts have scales");
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let write = |slot, buffer| Binding { slot, buffer, access: Access::ReadWrite };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: &SHADERS[0],
            constants: vec![("FOUR_BITS", f64::from(u8::from(self.part.layout == Layout::Q4)))],
            bindings: vec![read(1, self.job), write(2, self.part.codes), write(3, scales), read(4, self.input)],
            params: QuantizeParams { k: self.k as u32, groups: Layout::groups(self.k) as u32 }.words(),
            grid: [GRID, 1, 1],
            detail: format!("[{},{}] → {}", self.part.rows.len(), self.k, self.part.layout.name()),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = QuantizeParams::of(step);
    let job: QuantizeJob = memory.read(step.buffer(1));
    let layout = if step.constant("FOUR_BITS") == 1.0 { Layout::Q4 } else { Layout::Q8 };
    let k = p.k as usize;
    for row in 0..job.rows as usize {
        let values: Vec<f32> = (row * k..(row + 1) * k)
            .map(|i| match job.numbers {
                0 => memory.floats(step.buffer(4))[i],
                1 => bytemuck::cast_slice::<u8, half::f16>(memory.bytes(step.buffer(4)))[i].to_f32(),
                _ => bytemuck::cast_slice::<u8, half::bf16>(memory.bytes(step.buffer(4)))[i].to_f32(),
            })
            .collect();
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        layout.quantize_row(&values, &mut codes, &mut scales);
        let out = job.first_row as usize + row * job.row_step as usize;
        memory.write(step.buffer(2), (out * codes.len()) as u64, &codes);
        memory.write(step.buffer(3), (out * scales.len()) as u64, &scales);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Matrix, Role};
    use crate::kernels::testing::{self, Bench};
    use crate::kernels::{Epilogue, Matvec};

    /// Numbers of all kinds in an order that puts odd ones into some groups only.
    fn numbers(n: usize, wild: bool) -> Vec<f32> {
        let mut values = testing::normals(n as u64, n);
        values.iter_mut().enumerate().for_each(|(i, v)| *v *= [0.02, 1e-4, 3e-6, 40.0, 1.0][i / 32 % 5]);
        let odd = [0.0, -0.0, 1e-40, 6e-8, 65504.0, -3e4, 0.5, -0.5, 1e6, f32::INFINITY, f32::NAN, 3e38, 2e-38];
        for (i, v) in values.iter_mut().enumerate() {
            if wild && i % 29 == 7 {
                *v = odd[i / 29 % odd.len()];
            }
            if i / 32 % 7 == 3 {
                *v = [1.0, -1.0, 0.5, 0.25][i % 4] * 0.125; // ties
            }
        }
        values
    }

    fn check(layout: Layout, numbers_kind: u32, [rows, k]: [usize; 2], wild: bool) {
        let mut b = Bench::new(1, 8);
        let m = Matrix::declare(&mut b.buffers, "w", k, &[(2 * rows + 3, layout)], 1 << 30).unwrap();
        let input = b.buffers.add("input", (rows * k * 4) as u64, Role::Scratch);
        let job = b.buffers.add("job", 16, Role::Scratch);
        let values = numbers(rows * k, wild);
        let bytes: Vec<u8> = match numbers_kind {
            0 => bytemuck::cast_slice(&values).to_vec(),
            1 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        };
        let mut padded = bytes.clone();
        padded.resize(bytes.len().next_multiple_of(4), 0);
        b.set(input, &padded);
        let what = QuantizeJob { numbers: numbers_kind, rows: rows as u32, first_row: 3, row_step: 2 };
        b.set(job, bytemuck::bytes_of(&what));
        b.plan.push([Quantize { part: &m.parts[0], k, input, job }.step("quantize")]);
        let note = format!("{layout:?} of numbers {numbers_kind}, [{rows},{k}]");
        b.check_exact(m.parts[0].codes, &note);
        b.check_exact(m.parts[0].scales.unwrap(), &note);
        if !wild {
            // A product with it is a product with the same codes in f64.
            let x = b.activation("x", 1, k);
            let y = b.scratch("y", 1, m.rows);
            b.plan.push(
                Matvec { w: &m, x, from: 0, y, norm: None, epilogue: Epilogue::default() }.steps("w", &b.control),
            );
            b.check(y.buffer, 1e-3, &note);
        }
    }

    #[test]
    fn the_same_bits_as_the_reference() {
        for layout in [Layout::Q8, Layout::Q4] {
            for kind in 0..3 {
                for shape in [[1, 1], [3, 31], [5, 32], [4, 33], [7, 63], [6, 65], [9, 576], [2, 1000]] {
                    check(layout, kind, shape, true);
                    check(layout, kind, shape, false);
                }
            }
        }
    }

    /// Each in a group of its own: subnormals, infinities and NaNs among them.
    #[test]
    fn every_f16_and_bf16_is_read_as_what_it_is() {
        const COUNT: usize = 1 << 16;
        let every: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for layout in [Layout::Q8, Layout::Q4] {
            for numbers in [1, 2] {
                let mut b = Bench::new(1, 8);
                let m = Matrix::declare(&mut b.buffers, "w", 1, &[(COUNT, layout)], 1 << 30).unwrap();
                let input = b.buffers.add("input", every.len() as u64, Role::Scratch);
                let job = b.buffers.add("job", 16, Role::Scratch);
                b.set(input, &every);
                let what = QuantizeJob { numbers, rows: COUNT as u32, first_row: 0, row_step: 1 };
                b.set(job, bytemuck::bytes_of(&what));
                b.plan.push([Quantize { part: &m.parts[0], k: 1, input, job }.step("quantize")]);
                b.check_exact(m.parts[0].codes, &format!("{layout:?} of numbers {numbers}"));
                b.check_exact(m.parts[0].scales.unwrap(), &format!("{layout:?} of numbers {numbers}"));
            }
        }
    }
}
