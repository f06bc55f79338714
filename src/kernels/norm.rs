//! `y[t] = x[t] · gain / sqrt(mean(x[t]²) + eps)`: prefill, where a product reads its input many times.

use super::{Control, CpuMemory, Kernel, Params, RmsNorm, State, params, shader};
use crate::gpu::{Access, Activation, Binding, Shader, Step};

static SHADERS: [Shader; 1] = [shader!("norm", "state")];

/// See `shaders/norm.wgsl`.
pub static KERNEL: Kernel = Kernel { name: "norm", shaders: &SHADERS, params: NormParams::FIELDS, reference };

params!(NormParams { stride: u32, width: u32, eps: f32 });

/// RMS norm of every row.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// `[T, D]`
    pub x: Activation,
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
        assert_eq!((self.x.width, self.x.width), (self.y.width, self.norm.gain.len), "{label}: widths");
        let params = NormParams { stride: self.x.stride() as u32, width: self.x.width as u32, eps: self.norm.eps };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: &SHADERS[0],
            constants: vec![("ADD", f64::from(u8::from(self.add)))],
            bindings: vec![
                Binding { slot: 1, buffer: control.state, access: Access::Read },
                Binding { slot: 4, buffer: self.x.buffer, access: Access::Read },
                Binding { slot: 5, buffer: self.y.buffer, access: Access::ReadWrite },
                Binding { slot: 6, buffer: self.norm.gain.buffer, access: Access::Read },
            ],
            params: params.words(),
            grid: [self.x.rows as u32, 1, 1],
            detail: format!("[{},{}]", self.x.rows, self.x.width),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = NormParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let gain = memory.floats(step.buffer(6)).to_vec();
    let add = step.constant("ADD") == 1.0;
    for t in 0..state.count as usize {
        let row = t * p.stride as usize..t * p.stride as usize + p.width as usize;
        let x: Vec<f64> = memory.floats(step.buffer(4))[row.clone()].iter().map(|&v| v.into()).collect();
        let mean = x.iter().map(|v| v * v).sum::<f64>() / f64::from(p.width);
        let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
        let y = &mut memory.floats_mut(step.buffer(5))[row];
        for ((y, x), &g) in y.iter_mut().zip(x).zip(&gain) {
            let held = if add { f64::from(*y) } else { 0.0 };
            *y = (held + x * scale * f64::from(g)) as f32;
        }
    }
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
                let norm = Norm { x, y, norm: RmsNorm { gain, eps: 1e-5 }, add };
                b.plan.steps.clear();
                b.plan.push([norm.step("norm", &b.control)]);
                b.check(y.buffer, 2e-5, &format!("width={width} add={add}")); // f32 sum of squares
            }
        }
    }
}
