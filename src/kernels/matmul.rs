//! A matrix times the rows of all tokens of a step, `Y[t] = f(W · X[t] + bias)`: prefill.

mod cpu;

use super::epilogue::{Epilogue, finish, gather_finished};
use super::matvec::weights;
use super::small::{K, Maker, ROWS, Small};
use super::{Control, CpuMemory, Kernel, MAX_WORKGROUPS, Params, State, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, GROUP, Layout, Matrix, Part, Step};

/// See `shaders/matmul.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "matmul",
    shader: shader!("matmul", "state", "block", "gate", "epilogue", "stored", "sums", "tile"),
    reads_weights: true,
    variants: &[
        shader!(F16 "matmul", "state", "block", "gate", "epilogue", "../variants/stored", "sums", "tile"),
        shader!(Int8 "matmul", "state", "block", "gate", "epilogue", "../variants/packed", "sums", "../variants/tile_int8"),
    ],
    params: MatmulParams::FIELDS,
    reference,
    cpu: on_processors(cpu::matmul),
    small: Some(small),
};

params!(MatmulParams { groups: u32, rows: u32, row_offset: u32, x_stride: u32, y_stride: u32 });

/// Tokens for which a weight is read once.
pub const TOKEN_TILE: usize = 32;
/// Rows that a workgroup makes.
const ROW_TILE: usize = 64;

/// A matrix times every row of `x`.
#[derive(Debug, Clone, Copy)]
pub struct Matmul<'a> {
    /// `[N, K]`
    pub w: &'a Matrix,
    /// `[T, K]`
    pub x: Activation,
    /// `[T, N]`, or `[T, N / 2]` where gated.
    pub y: Activation,
    /// What happens to the sums.
    pub epilogue: Epilogue,
}

impl Matmul<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        let outputs = self.epilogue.outputs(self.w.rows);
        assert_eq!((self.x.width, self.y.width), (self.w.k, outputs), "{label}: widths of x and y");
        assert!(self.y.rows >= self.x.rows, "{label}: y has a row for every row of x");
        self.w.parts.iter().map(move |part| self.step(label, control, part))
    }

    fn step(&self, label: &str, control: &Control, part: &Part) -> Step {
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let mut bindings = vec![read(1, control.state), read(2, part.codes)];
        bindings.extend(part.scales.map(|s| read(3, s)));
        bindings.extend([
            read(4, self.x.buffer),
            Binding { slot: 5, buffer: self.y.buffer, access: Access::ReadWrite },
            read(7, self.epilogue.bias_or(self.x.buffer)),
        ]);
        let params = MatmulParams {
            groups: Layout::groups(self.w.k) as u32,
            rows: part.rows.len() as u32,
            row_offset: part.rows.start as u32,
            x_stride: self.x.stride() as u32 / 4,
            y_stride: self.y.stride() as u32,
        };
        let grid = [part.rows.len().div_ceil(ROW_TILE) as u32, self.x.rows.div_ceil(TOKEN_TILE) as u32, 1];
        assert!(grid[0] <= MAX_WORKGROUPS, "{label}: no part has over 4 million rows");
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: KERNEL.shader.of(part.layout),
            constants: self.epilogue.constants(),
            bindings,
            params: params.words(),
            grid,
            detail: format!(
                "w[{},{}]:{} x[{},{}]{} → [{},{}]",
                part.rows.len(),
                self.w.k,
                part.layout.name(),
                self.x.rows,
                self.x.width,
                self.epilogue.words(),
                self.x.rows,
                self.y.width
            ),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = MatmulParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let bias = (step.constant("BIAS") == 1.0).then(|| memory.floats(step.buffer(7)).to_vec());
    // Padding is zero on both sides, so whole groups may be multiplied.
    let width = p.groups as usize * GROUP;
    let input = |t: usize| {
        let start = t * p.x_stride as usize * 4;
        memory.floats(step.buffer(4))[start..start + width].iter().map(|&v| v.into()).collect()
    };
    let inputs: Vec<Vec<f64>> = (0..state.count as usize).map(input).collect();
    let weights = weights(step, memory, width);
    let (own, all) = (weights.own(p.rows as usize), weights.exact(p.rows as usize, &|r, _| r, &inputs));
    let starts: Vec<usize> = (0..all.len()).map(|t| t * p.y_stride as usize).collect();
    for (start, sums) in starts.iter().zip(all) {
        let y = &mut memory.floats_mut(step.buffer(5))[*start..];
        finish(step, &sums, p.row_offset as usize + own.start, bias.as_deref(), y);
    }
    gather_finished(step, memory, p.rows as usize, p.row_offset as usize, &starts);
}

fn small(maker: &mut Maker, step: &Step) -> Small {
    let params = MatmulParams {
        groups: (K / GROUP) as u32,
        rows: ROWS as u32,
        row_offset: 0,
        x_stride: K as u32 / 4,
        y_stride: ROWS as u32,
    };
    maker.state(0, 3);
    maker.weights(step.layout(), ROWS, K);
    maker.floats(4, 3 * K);
    maker.floats(5, 3 * ROWS);
    maker.floats(7, ROWS);
    (params.words(), [1, 1, 1], vec![(5, None)])
}

#[cfg(test)]
mod tests {
    use super::super::epilogue::samples;
    use super::*;
    use crate::kernels::testing::{Bench, normals, some_layouts};

    // f32 sums of at most a few thousand products of order one.
    const TOL: f64 = 2e-4;

    fn check(layout: Layout, [t, n, k]: [usize; 3], sample: usize, max_binding: u64) {
        let k = k.next_multiple_of(layout.row_multiple());
        let mut b = Bench::new(t, 8);
        let w = b.matrix("w", n, k, layout, max_binding);
        let x = b.activation("x", t + 5, k); // a chunk is rarely full
        let bias = b.vector("bias", n);
        let epilogue = samples(Some(bias))[sample];
        let y = b.activation("y", t + 5, epilogue.outputs(n));
        b.plan.push(Matmul { w: &w, x, y, epilogue }.steps("w", &b.control));
        b.check(y.buffer, TOL, &format!("{layout:?} t={t} [{n},{k}] {epilogue:?}"));
    }

    #[test]
    fn every_layout_over_odd_shapes() {
        for layout in Layout::ALL {
            check(layout, [33, 129, 352], 0, u64::MAX);
            check(layout, [19, 66, 96], 2, u64::MAX);
        }
        for &layout in some_layouts() {
            for shape in [[1, 1, 32], [15, 31, 64], [16, 33, 96], [17, 127, 288]] {
                check(layout, shape, 0, u64::MAX);
            }
            check(layout, [19, 66, 96], 1, u64::MAX);
        }
        for sample in 3..6 {
            check(Layout::Q4, [19, 66, 96], sample, u64::MAX);
        }
        for k in [1, 31, 33, 40] {
            check(Layout::Bf16, [5, 65, k], 0, u64::MAX);
        }
    }

    /// Some models' activations pass what 16 bits hold, in a few channels.
    #[test]
    fn activations_may_be_massive() {
        for layout in [Layout::Bf16, Layout::Q8, Layout::Q4Min] {
            let mut b = Bench::new(3, 8);
            let w = b.matrix("w", 65, 256, layout, u64::MAX);
            let (x, y) = (b.activation("x", 3, 256), b.scratch("y", 3, 65));
            let mut values = normals(7, 3 * 256);
            values.iter_mut().skip(5).step_by(97).for_each(|v| *v *= 3e5);
            b.set(x.buffer, bytemuck::cast_slice(&values));
            b.plan.push(Matmul { w: &w, x, y, epilogue: Epilogue::default() }.steps("w", &b.control));
            b.check(y.buffer, 1e-2, &format!("{layout:?}"));
        }
    }

    #[test]
    fn parts_make_the_same_rows() {
        check(Layout::Q4Min, [7, 600, 576], 2, 64 << 10);
    }
}
