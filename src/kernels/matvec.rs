//! A matrix times one row, `y = f(W · n(x) + bias)`: decode, and the head after prefill.

mod cpu;

pub(super) use cpu::input;

use super::epilogue::{Epilogue, finish, gather_finished};
use super::product::Weights;
use super::small::{Maker, ROWS, Small, shared_row};
use super::{Control, CpuMemory, Kernel, MAX_WORKGROUPS, Params, State, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, GROUP, Layout, Matrix, Part, Step, Vector, fold_grid};

/// See `shaders/matvec.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "matvec",
    shader: shader!("matvec", "state", "block", "gate", "epilogue", "share", "x", "reduce"),
    reads_weights: true,
    variants: &[shader!(Subgroups "matvec", "state", "block", "gate", "epilogue", "share", "x", "../variants/reduce")],
    params: MatvecParams::FIELDS,
    reference,
    cpu: on_processors(cpu::matvec),
    small: Some(small),
};

params!(MatvecParams { groups: u32, rows: u32, row_offset: u32, x_stride: u32, x_from: u32, width: u32, eps: f32 });

/// An RMS norm folded into the product that follows.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm {
    /// Weight of the norm, as long as the input.
    pub gain: Vector,
    /// Added to the mean square.
    pub eps: f32,
}

/// A matrix times the step's last row of `x`.
#[derive(Debug, Clone, Copy)]
pub struct Matvec<'a> {
    /// `[N, K]`
    pub w: &'a Matrix,
    /// `[T, K]`, of which row `count - 1` is used; its rows may be longer.
    pub x: Activation,
    /// Values of a row of `x` before those used, a multiple of [`GROUP`](crate::plan::GROUP).
    pub from: usize,
    /// `[1, N]`, or `[1, N / 2]` where gated.
    pub y: Activation,
    /// Norm of the input.
    pub norm: Option<RmsNorm>,
    /// What happens to the sums.
    pub epilogue: Epilogue,
}

/// Threads that share a row: enough that each has a group or two, and fewer where over a fifth of their rounds would find no group.
pub(super) fn lanes(groups: usize) -> u32 {
    let most: usize = match groups {
        0..=8 => 8,
        9..=32 => 16,
        33..=64 => 32,
        _ => 64,
    };
    let used = |lanes: usize| groups as f64 / groups.next_multiple_of(lanes) as f64;
    let halves = std::iter::successors(Some(most), |lanes| Some(lanes / 2).filter(|lanes| *lanes >= 8));
    let chosen = halves.clone().find(|&lanes| used(lanes) >= 0.8);
    chosen.or_else(|| halves.max_by(|&a, &b| used(a).total_cmp(&used(b)))).map_or(8, |lanes| lanes as u32)
}

impl Matvec<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        let outputs = self.epilogue.outputs(self.w.rows);
        assert_eq!((self.x.width, self.y.width), (self.from + self.w.k, outputs), "{label}: widths of x and y");
        assert!(self.from.is_multiple_of(crate::plan::GROUP), "{label}: where x begins");
        self.w.parts.iter().map(move |part| self.step(label, control, part))
    }

    fn step(&self, label: &str, control: &Control, part: &Part) -> Step {
        let groups = Layout::groups(self.w.k);
        let lanes = lanes(groups);
        let mut constants = vec![("LANES", f64::from(lanes)), ("NORM", f64::from(u8::from(self.norm.is_some())))];
        constants.extend(self.epilogue.constants());
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let mut bindings = vec![read(1, control.state), read(2, part.codes)];
        bindings.extend(part.scales.map(|s| read(3, s)));
        bindings.extend([
            read(4, self.x.buffer),
            Binding { slot: 5, buffer: self.y.buffer, access: Access::ReadWrite },
            read(6, self.norm.map_or(self.x.buffer, |n| n.gain.buffer)),
            read(7, self.epilogue.bias_or(self.x.buffer)),
        ]);
        let params = MatvecParams {
            groups: groups as u32,
            rows: part.rows.len() as u32,
            row_offset: part.rows.start as u32,
            x_stride: self.x.stride() as u32 / 4,
            x_from: self.from as u32 / 4,
            width: self.w.k as u32,
            eps: self.norm.map_or(0.0, |n| n.eps),
        };
        let tiles = (part.rows.len() as u32).div_ceil(4 * 64 / lanes);
        let [gx, gy] = fold_grid(tiles, MAX_WORKGROUPS);
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: KERNEL.shader.of(part.layout),
            constants,
            bindings,
            params: params.words(),
            grid: [gx, gy, 1],
            detail: format!(
                "w[{},{}]:{} {}x[1,{}]{} → [1,{}]",
                part.rows.len(),
                self.w.k,
                part.layout.name(),
                if self.norm.is_some() { "rms " } else { "" },
                self.w.k,
                self.epilogue.words(),
                self.y.width
            ),
        }
    }
}

/// The weights that a step reads, in rows of `k`.
pub(super) fn weights<'a>(step: &Step, memory: &'a CpuMemory, k: usize) -> Weights<'a> {
    let layout = step.layout();
    let scales = if layout.has_scales() { memory.bytes(step.buffer(3)) } else { &[] };
    let codes = step.buffer(2);
    Weights { layout, codes: memory.bytes(codes), scales, k, division: memory.division_of(codes) }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = MatvecParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let (width, start) = (p.width as usize, ((state.count - 1) * p.x_stride + p.x_from) as usize * 4);
    let mut x: Vec<f64> = memory.floats(step.buffer(4))[start..start + width].iter().map(|&v| v.into()).collect();
    if step.constant("NORM") == 1.0 {
        let mean = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
        let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
        let gain = memory.floats(step.buffer(6));
        x.iter_mut().zip(gain).for_each(|(v, &g)| *v *= scale * f64::from(g));
    }
    let weights = weights(step, memory, width);
    let (own, sums) = (weights.own(p.rows as usize), weights.exact(p.rows as usize, &|r, _| r, &[x]));
    let bias = (step.constant("BIAS") == 1.0).then(|| memory.floats(step.buffer(7)).to_vec());
    let y = memory.floats_mut(step.buffer(5));
    finish(step, &sums[0], p.row_offset as usize + own.start, bias.as_deref(), y);
    gather_finished(step, memory, p.rows as usize, p.row_offset as usize, &[0]);
}

fn small(maker: &mut Maker, step: &Step) -> Small {
    let p = MatvecParams::of(step);
    let k = shared_row(step);
    let params = MatvecParams {
        groups: (k / GROUP) as u32,
        rows: ROWS as u32,
        row_offset: 0,
        x_stride: k as u32 / 4,
        x_from: 0,
        width: k as u32,
        eps: p.eps,
    };
    maker.state(0, 1);
    maker.weights(step.layout(), ROWS, k);
    maker.floats(4, k);
    maker.floats(5, ROWS);
    maker.floats(6, k);
    maker.floats(7, ROWS);
    (params.words(), [ROWS as u32 / 4, 1, 1], vec![(5, None)])
}

#[cfg(test)]
mod tests {
    use super::super::epilogue::samples;
    use super::*;
    use crate::kernels::testing::{Bench, some_layouts};

    // f32 sums of at most a few thousand products of order one.
    const TOL: f64 = 2e-4;

    fn check(layout: Layout, [n, k]: [usize; 2], norm: bool, sample: usize, max_binding: u64) {
        let k = k.next_multiple_of(layout.row_multiple());
        let mut b = Bench::new(3, 8);
        let w = b.matrix("w", n, k, layout, max_binding);
        let x = b.activation("x", 3, k);
        let gain = b.vector("gain", k);
        let norm = norm.then_some(RmsNorm { gain, eps: 1e-5 });
        let bias = b.vector("bias", n);
        let epilogue = samples(Some(bias))[sample];
        let y = b.activation("y", 1, epilogue.outputs(n));
        b.plan.push(Matvec { w: &w, x, from: 0, y, norm, epilogue }.steps("w", &b.control));
        b.check(y.buffer, TOL, &format!("{layout:?} [{n},{k}] norm={} {epilogue:?}", norm.is_some()));
    }

    #[test]
    fn every_layout_over_odd_shapes() {
        for layout in Layout::ALL {
            check(layout, [129, 1056], false, 0, u64::MAX);
            check(layout, [130, 576], true, 2, u64::MAX);
        }
        for &layout in some_layouts() {
            for shape in [[1, 32], [31, 64], [33, 96], [127, 288], [64, 2080]] {
                check(layout, shape, false, 0, u64::MAX);
                check(layout, shape, true, 1, u64::MAX);
            }
        }
        for sample in 3..6 {
            check(Layout::Q4, [66, 96], true, sample, u64::MAX);
        }
    }

    #[test]
    fn unquantised_rows_need_be_no_multiple_of_a_group() {
        for layout in [Layout::F32, Layout::F16, Layout::Bf16] {
            for k in [1, 31, 33, 40, 127, 129] {
                check(layout, [65, k], true, 0, u64::MAX);
            }
        }
    }

    #[test]
    fn few_threads_are_idle() {
        let of = |k: usize| lanes(Layout::groups(k));
        assert_eq!([256, 512, 1024, 2048, 4096, 8960].map(of), [8, 16, 16, 32, 64, 64], "all are used");
        assert_eq!([576, 1152, 1536, 2880, 3072].map(of), [8, 8, 16, 32, 32], "fewer, which all have work");
        assert_eq!([1, 32, 300].map(of), [8; 3]);
    }

    #[test]
    fn parts_make_the_same_rows() {
        check(Layout::Q4Min, [1000, 576], true, 1, 64 << 10);
        check(Layout::Q8, [500, 96], false, 2, 16 << 10);
    }
}
