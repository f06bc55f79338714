//! RMS norm, `y[t] = x[t] · gain / sqrt(mean(x[t]²) + eps)`: prefill, where a product reads its input many times.

mod cpu;

use super::small::{Maker, Small};
use super::{Control, CpuMemory, Kernel, Params, RmsNorm, State, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, Step};

/// See `shaders/norm.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "norm",
    shader: shader!("norm", "state"),
    reads_weights: false,
    variants: &[],
    params: NormParams::FIELDS,
    reference,
    cpu: on_processors(cpu::norm),
    small: Some(small),
};

params!(NormParams { x_stride: u32, x_from: u32, y_stride: u32, width: u32, eps: f32 });

/// RMS norm of every row.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// `[T, D]`; its rows may be longer.
    pub x: Activation,
    /// Values of a row of `x` before those used.
    pub from: usize,
    /// `[T, D]`
    pub y: Activation,
    /// The norm.
    pub norm: RmsNorm,
    /// The result is added to what `y` holds.
    pub add: bool,
}

impl Norm {
    /// The step.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        let width = self.y.width;
        assert_eq!((self.x.width, self.norm.gain.len), (self.from + width, width), "{label}: widths");
        let params = NormParams {
            x_stride: self.x.stride() as u32,
            x_from: self.from as u32,
            y_stride: self.y.stride() as u32,
            width: width as u32,
            eps: self.norm.eps,
        };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: KERNEL.shader,
            constants: vec![("ADD", f64::from(u8::from(self.add)))],
            bindings: vec![
                Binding { slot: 1, buffer: control.state, access: Access::Read },
                Binding { slot: 4, buffer: self.x.buffer, access: Access::Read },
                Binding { slot: 5, buffer: self.y.buffer, access: Access::ReadWrite },
                Binding { slot: 6, buffer: self.norm.gain.buffer, access: Access::Read },
            ],
            params: params.words(),
            grid: [self.x.rows as u32, 1, 1],
            detail: format!("[{},{width}]", self.x.rows),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = NormParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let gain = memory.floats(step.buffer(6)).to_vec();
    let add = step.constant("ADD") == 1.0;
    for t in 0..state.count as usize {
        let start = t * p.x_stride as usize + p.x_from as usize;
        let row = start..start + p.width as usize;
        let x: Vec<f64> = memory.floats(step.buffer(4))[row].iter().map(|&v| v.into()).collect();
        let mean = x.iter().map(|v| v * v).sum::<f64>() / f64::from(p.width);
        let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
        let y = &mut memory.floats_mut(step.buffer(5))[t * p.y_stride as usize..];
        for ((y, x), &g) in y.iter_mut().zip(x).zip(&gain) {
            let held = if add { f64::from(*y) } else { 0.0 };
            *y = (held + x * scale * f64::from(g)) as f32;
        }
    }
}

fn small(maker: &mut Maker, step: &Step) -> Small {
    let width = 192u32;
    let eps = NormParams::of(step).eps;
    let params = NormParams { x_stride: width, x_from: 0, y_stride: width, width, eps };
    maker.state(0, 3);
    maker.floats(4, 3 * width as usize);
    maker.floats(5, 3 * width as usize);
    maker.floats(6, width as usize);
    (params.words(), [3, 1, 1], vec![(5, None)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;

    #[test]
    fn odd_widths() {
        for width in [1, 31, 33, 64, 127, 129, 576, 2049] {
            let mut b = Bench::new(3, 8);
            let (x, y) = (b.activation("x", 4, width), b.activation("y", 4, width));
            let gain = b.vector("gain", width);
            for add in [false, true] {
                let norm = Norm { x, from: 0, y, norm: RmsNorm { gain, eps: 1e-5 }, add };
                b.plan.steps.clear();
                b.plan.push([norm.step("norm", &b.control)]);
                b.check(y.buffer, 2e-5, &format!("width={width} add={add}")); // f32 sum of squares
            }
            let long = b.activation("long", 4, width + 7);
            let norm = Norm { x: long, from: 7, y, norm: RmsNorm { gain, eps: 1e-5 }, add: false };
            b.plan.steps.clear();
            b.plan.push([norm.step("norm", &b.control)]);
            b.check(y.buffer, 2e-5, &format!("width={width} from 7"));
        }
    }
}
