//! Records the steps of a model's layers into plans: the [`Recorder`] that blocks use.

use super::ModelConfig;
use super::build::{Builder, Scratch};
use crate::kernels::{Control, Epilogue, KvFormat, Matmul, Matvec, Norm, RmsNorm};
use crate::plan::{Activation, Matrix, Plan, Vector};

/// Which plan is being recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Decode of one token: products are matrix-vector products with the norm fused in.
    Decode,
    /// Prefill of a chunk of tokens: norms, then matrix products.
    Prefill,
}

/// Records the steps of the layers into a plan.
pub struct Recorder<'a> {
    /// The model's config.
    pub config: &'a ModelConfig,
    /// Which plan this is.
    pub mode: Mode,
    /// The plan recorded so far.
    pub plan: Plan,
    /// The control buffers.
    pub control: Control,
    /// The activations.
    pub scratch: Scratch,
    /// The number format of the KV cache.
    pub kv_format: KvFormat,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(mode: Mode, plan: Plan, b: &'a Builder<'_>) -> Self {
        Self { config: &b.config, mode, plan, control: b.control, scratch: b.scratch, kv_format: b.kv.format }
    }

    /// The rows of an activation that this plan's steps may touch.
    pub fn rows(&self, a: Activation) -> Activation {
        match self.mode {
            Mode::Decode => Activation { rows: 1, ..a },
            Mode::Prefill => a,
        }
    }

    /// Adds a product to the residual stream at the end of a block: `x += w · input`, or with a post-norm `x += norm(w
    /// · input)`.
    pub fn add_product(
        &mut self,
        label: &str,
        w: &Matrix,
        input: Activation,
        bias: Option<Vector>,
        post: Option<RmsNorm>,
    ) {
        let x = self.scratch.x;
        let Some(norm) = post else {
            let factor = self.config.residual_scale as f32;
            let epilogue = Epilogue { bias, residual: true, factor, ..Epilogue::default() };
            return self.linear(label, w, None, input, x, epilogue);
        };
        let out = self.scratch.normed; // free at this point: the block has read its normed input
        self.linear(label, w, None, input, out, Epilogue { bias, ..Epilogue::default() });
        let (out, x) = (self.rows(out), self.rows(x));
        self.plan.push([Norm { x: out, from: 0, y: x, norm, add: true }.step(&format!("{label}.norm"), &self.control)]);
    }

    /// `y = epilogue(w · norm(x))`
    pub fn linear(
        &mut self,
        label: &str,
        w: &Matrix,
        norm: Option<RmsNorm>,
        x: Activation,
        y: Activation,
        epilogue: Epilogue,
    ) {
        let (mut x, y) = (self.rows(x), self.rows(y));
        match self.mode {
            Mode::Decode => self.plan.push(Matvec { w, x, from: 0, y, norm, epilogue }.steps(label, &self.control)),
            Mode::Prefill => {
                if let Some(norm) = norm {
                    let normed = self.scratch.normed;
                    self.plan
                        .push([Norm { x, from: 0, y: normed, norm, add: false }
                            .step(&format!("{label}.norm"), &self.control)]);
                    x = normed;
                }
                self.plan.push(Matmul { w, x, y, epilogue }.steps(label, &self.control));
            }
        }
    }
}
