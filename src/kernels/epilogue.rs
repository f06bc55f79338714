//! The end of a matrix product, which its kernels share: bias, gate, factor and residual addition.

mod cpu;

pub(super) use cpu::{factor, finish as finish_fast};

use super::CpuMemory;
use super::product::gather_outputs;
use crate::plan::{BufferId, Step, Vector};

/// How a gate and an up become one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gate {
    /// `silu(gate) · up`
    Silu,
    /// `gelu(gate) · up`, the GELU in its tanh form.
    GeluTanh,
    /// gpt-oss: gate at most `limit`, up within `±limit`; `gate · sigmoid(1.702 gate) · (up + 1)`.
    Clamped {
        /// Where values are cut.
        limit: f32,
    },
}

impl Gate {
    /// Values of the shaders' `override`s that are not their defaults.
    pub(super) fn constants(self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Silu => Vec::new(),
            Self::GeluTanh => vec![("GATE", 1.0)],
            Self::Clamped { limit } => vec![("GATE", 2.0), ("LIMIT", f64::from(limit))],
        }
    }

    /// The gate a step was made for.
    pub(super) fn of(step: &Step) -> Self {
        match step.constant("GATE") as u32 {
            0 => Self::Silu,
            1 => Self::GeluTanh,
            _ => Self::Clamped { limit: step.constant("LIMIT") as f32 },
        }
    }

    /// The gated value, in f64.
    pub(super) fn apply(self, gate: f64, up: f64) -> f64 {
        match self {
            Self::Silu => gate / (1.0 + (-gate).exp()) * up,
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044715 * gate.powi(3));
                0.5 * gate * (1.0 + inner.tanh()) * up
            }
            Self::Clamped { limit } => {
                let (gate, up) = (gate.min(limit.into()), up.clamp(-f64::from(limit), limit.into()));
                gate / (1.0 + (-1.702 * gate).exp()) * (up + 1.0)
            }
        }
    }

    /// A word for [`Step::detail`].
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Silu => "swiglu",
            Self::GeluTanh => "geglu",
            Self::Clamped { .. } => "clamped swiglu",
        }
    }
}

/// The end of a matrix product: bias, then a gate over interleaved rows, a factor, a residual addition.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue {
    /// Added to every row.
    pub bias: Option<Vector>,
    /// Rows 2i and 2i + 1 are a gate and an up, and the output is half as wide.
    pub gate: Option<Gate>,
    /// Multiplies the result.
    pub factor: f32,
    /// The result is added to what the output holds.
    pub residual: bool,
}

impl Default for Epilogue {
    fn default() -> Self {
        Self { bias: None, gate: None, factor: 1.0, residual: false }
    }
}

impl Epilogue {
    /// Values of the shaders' `override`s.
    pub(super) fn constants(&self) -> Vec<(&'static str, f64)> {
        let on = |b: bool| f64::from(u8::from(b));
        let mut constants = vec![
            ("BIAS", on(self.bias.is_some())),
            ("GATED", on(self.gate.is_some())),
            ("RESIDUAL", on(self.residual)),
        ];
        constants.extend(self.gate.map(Gate::constants).unwrap_or_default());
        if self.factor != 1.0 {
            constants.push(("FACTOR", f64::from(self.factor)));
        }
        constants
    }

    /// What the output has for `rows` of the matrix.
    pub(super) fn outputs(&self, rows: usize) -> usize {
        if self.gate.is_some() { rows / 2 } else { rows }
    }

    /// The buffer to bind as the bias; `other`, which the shader then never reads, where there is none.
    pub(super) fn bias_or(&self, other: BufferId) -> BufferId {
        self.bias.map_or(other, |b| b.buffer)
    }

    /// Words for [`Step::detail`].
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        if self.bias.is_some() {
            words += " +bias";
        }
        if let Some(gate) = self.gate {
            words += " ";
            words += gate.word();
        }
        if self.factor != 1.0 {
            words += &format!(" ×{}", self.factor);
        }
        if self.residual {
            words += " +=";
        }
        words
    }
}

/// The epilogue of a step in f64: `sums` are rows `first..` of the matrix; `y` is the output row.
pub(super) fn finish(step: &Step, sums: &[f64], first: usize, bias: Option<&[f32]>, y: &mut [f32]) {
    let factor = match step.constant("FACTOR") {
        0.0 => 1.0, // the shader's default
        factor => factor,
    };
    let biased = |i: usize| sums[i] + bias.map_or(0.0, |b| f64::from(b[first + i]));
    let mut put = |i: usize, v: f64| {
        let held = if step.constant("RESIDUAL") == 1.0 { f64::from(y[i]) } else { 0.0 };
        y[i] = (held + factor * v) as f32;
    };
    if step.constant("GATED") == 1.0 {
        for i in (0..sums.len()).step_by(2) {
            put((first + i) / 2, Gate::of(step).apply(biased(i), biased(i + 1)));
        }
    } else {
        for i in 0..sums.len() {
            put(first + i, biased(i));
        }
    }
}

/// Makes what workers have finished known to all: of `rows` rows of the matrix from `first`, in rows of output that begin at `starts`.
pub(super) fn gather_finished(step: &Step, memory: &mut CpuMemory, rows: usize, first: usize, starts: &[usize]) {
    let rows_of_one = if step.constant("GATED") == 1.0 { 2 } else { 1 };
    let starts: Vec<usize> = starts.iter().map(|start| start + first / rows_of_one).collect();
    gather_outputs(step, memory, rows, rows_of_one, &starts);
}

/// Epilogues that tests try.
#[cfg(test)]
pub(super) fn samples(bias: Option<Vector>) -> [Epilogue; 6] {
    let plain = Epilogue::default();
    let gate = |gate| Epilogue { bias, gate: Some(gate), ..plain };
    [
        plain,
        Epilogue { bias, residual: true, factor: 0.6, ..plain },
        gate(Gate::Silu),
        Epilogue { residual: true, ..gate(Gate::Silu) },
        gate(Gate::GeluTanh),
        gate(Gate::Clamped { limit: 1.5 }),
    ]
}
