//! The gate of an MLP (SwiGLU and others) over rows of gates followed by ups: where these could not be interleaved.

mod cpu;

use super::epilogue::Gate;
use super::small::{Maker, Small};
use super::{Control, CpuMemory, Kernel, Params, State, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, Step};

/// See `shaders/activation.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "activation",
    shader: shader!("activation", "state", "gate"),
    reads_weights: false,
    variants: &[],
    params: ActivationParams::FIELDS,
    reference,
    cpu: on_processors(cpu::activation),
    small: Some(small),
};

params!(ActivationParams { width: u32, x_stride: u32, y_stride: u32 });

/// A gate over rows of gates followed by ups.
#[derive(Debug, Clone, Copy)]
pub struct Activate {
    /// `[T, 2I]`
    pub x: Activation,
    /// `[T, I]`
    pub y: Activation,
    /// How a gate and an up become one value.
    pub gate: Gate,
}

impl Activate {
    /// The step.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        assert_eq!(self.x.width, 2 * self.y.width, "{label}: widths");
        let params = ActivationParams {
            width: self.y.width as u32,
            x_stride: self.x.stride() as u32,
            y_stride: self.y.stride() as u32,
        };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: KERNEL.shader,
            constants: self.gate.constants(),
            bindings: vec![
                Binding { slot: 1, buffer: control.state, access: Access::Read },
                Binding { slot: 4, buffer: self.x.buffer, access: Access::Read },
                Binding { slot: 5, buffer: self.y.buffer, access: Access::ReadWrite },
            ],
            params: params.words(),
            grid: [self.y.width.div_ceil(64) as u32, self.x.rows as u32, 1],
            detail: format!(
                "[{},{}] {} → [{},{}]",
                self.x.rows,
                self.x.width,
                self.gate.word(),
                self.x.rows,
                self.y.width
            ),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = ActivationParams::of(step);
    let state: State = memory.read(step.buffer(1));
    for t in 0..state.count as usize {
        for i in 0..p.width as usize {
            let x = &memory.floats(step.buffer(4))[t * p.x_stride as usize..];
            let v = Gate::of(step).apply(x[i].into(), x[p.width as usize + i].into());
            memory.floats_mut(step.buffer(5))[t * p.y_stride as usize + i] = v as f32;
        }
    }
}

fn small(maker: &mut Maker, _: &Step) -> Small {
    let width = 48u32;
    maker.state(0, 3);
    maker.floats(4, 6 * width as usize);
    maker.zeros(5, 3 * width as usize);
    let params = ActivationParams { width, x_stride: 2 * width, y_stride: width };
    (params.words(), [1, 3, 1], vec![(5, None)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;

    #[test]
    fn odd_widths() {
        for width in [1, 31, 33, 127, 129, 1536] {
            for gate in [Gate::Silu, Gate::GeluTanh, Gate::Clamped { limit: 1.0 }] {
                let mut b = Bench::new(3, 8);
                let (x, y) = (b.activation("x", 4, 2 * width), b.activation("y", 4, width));
                b.plan.push([Activate { x, y, gate }.step("act", &b.control)]);
                b.check(y.buffer, 1e-5, &format!("width={width} {gate:?}")); // one exponential
            }
        }
    }
}
