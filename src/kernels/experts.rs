//! The MLP of a mixture of experts for one token: decode. Only the rows of the chosen experts are read.
//!
//! Two steps do it: gate and up, then down, for the experts that a step of a [`Route`] chose before. All experts of a layer are one
//! matrix whose parts hold whole experts.

mod cpu;
#[cfg(test)]
mod tests;

use super::epilogue::Gate;
use super::matvec::{lanes, weights};
use super::product::gather_outputs;
use super::route::Route;
use super::small::{ENTRIES, EXPERT_ROWS, EXPERTS, Maker, Small, shared_row};
use super::{CpuMemory, Kernel, MAX_WORKGROUPS, Params, RmsNorm, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, BufferId, GROUP, Layout, Matrix, Part, Step, Vector};

/// See `shaders/expert_up.wgsl`.
pub static UP: Kernel = Kernel {
    name: "expert_up",
    shader: shader!("expert_up", "state", "block", "gate", "share", "x", "reduce"),
    reads_weights: true,
    variants: &[shader!(Subgroups "expert_up", "state", "block", "gate", "share", "x", "../variants/reduce")],
    params: UpParams::FIELDS,
    reference: up_reference,
    cpu: on_processors(cpu::up),
    small: Some(small_up),
};
/// See `shaders/expert_down.wgsl`.
pub static DOWN: Kernel = Kernel {
    name: "expert_down",
    shader: shader!("expert_down", "state", "block", "share", "x", "reduce", "expert_rows"),
    reads_weights: true,
    variants: &[shader!(Subgroups "expert_down", "state", "block", "share", "x", "../variants/reduce", "expert_rows")],
    params: DownParams::FIELDS,
    reference: down_reference,
    cpu: on_processors(cpu::down),
    small: Some(small_down),
};

params!(UpParams {
    groups: u32,
    rows: u32,
    first_slot: u32,
    slots: u32,
    width: u32,
    h_stride: u32,
    first_entry: u32,
    routing_at: u32,
    eps: f32,
});
params!(DownParams {
    groups: u32,
    rows: u32,
    first_slot: u32,
    slots: u32,
    interleaved: u32,
    x_stride: u32,
    first_entry: u32,
    count: u32,
    routing_at: u32,
});

/// Experts of a mixture in one matrix, and the entries of a token's routing that lie there.
#[derive(Debug, Clone, Copy)]
pub struct Experts<'a> {
    /// `[experts · rows, K]`; parts hold whole experts.
    pub w: &'a Matrix,
    /// Slot of the first expert.
    pub first_slot: usize,
    /// The first entry that lies here.
    pub first_entry: usize,
    /// How many entries lie here.
    pub count: usize,
}

/// The experts of one part.
pub(super) struct Slots {
    pub(super) first: u32,
    pub(super) count: u32,
    /// As `interleaved` of `lib/expert_rows.wgsl`.
    pub(super) interleaved: u32,
}

impl Experts<'_> {
    /// The slots of a part; the first `interleaved` slots of all have interleaved rows.
    pub(super) fn slots(&self, part: &Part, rows: usize, interleaved: usize) -> Slots {
        let (first, count) = (part.rows.start / rows, part.rows.len() / rows);
        let interleaved = if first == 0 { interleaved } else { 0 };
        assert!(count >= interleaved, "{}: the shared expert lies in one part", self.w.label);
        Slots { first: (self.first_slot + first) as u32, count: count as u32, interleaved: interleaved as u32 }
    }
}

/// `h[j] = gate(W_e · n(x) + bias)`.
#[derive(Debug, Clone, Copy)]
pub struct ExpertUp<'a> {
    /// Experts of `2I` rows each, gates and ups interleaved.
    pub experts: Experts<'a>,
    /// The routing that chose them.
    pub route: &'a Route,
    /// `[1, K]`
    pub x: Activation,
    /// `[count, I]`
    pub h: Activation,
    /// Norm of the input.
    pub norm: Option<RmsNorm>,
    /// `[experts, 2I]`
    pub bias: Option<Vector>,
    /// How a gate and an up become one value.
    pub gate: Gate,
    /// The token is scaled by its weight here, before the gate, and not at the end.
    pub input_weight: bool,
}

/// `y += factor · Σ_j weight_j · (W_e · h[j] + bias)`
#[derive(Debug, Clone, Copy)]
pub struct ExpertDown<'a> {
    /// Experts of `N` rows each.
    pub experts: Experts<'a>,
    /// Slots whose rows are interleaved.
    pub interleaved: usize,
    /// The routing that chose them.
    pub route: &'a Route,
    /// `[count, I]`
    pub h: Activation,
    /// `[1, N]`
    pub y: Activation,
    /// `[experts, N]`
    pub bias: Option<Vector>,
    /// Whether the weights are used here.
    pub weighted: bool,
    /// Multiplies the sum.
    pub factor: f32,
}

/// Binds what the experts' kernels bind alike.
pub(super) fn bindings(part: &Part, x: BufferId, y: BufferId, bias: Option<Vector>) -> Vec<Binding> {
    let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
    let mut bindings = vec![read(2, part.codes)];
    bindings.extend(part.scales.map(|s| read(3, s)));
    let y = Binding { slot: 5, buffer: y, access: Access::ReadWrite };
    bindings.extend([read(4, x), y, read(7, bias.map_or(x, |b| b.buffer))]);
    bindings
}

pub(super) fn on(b: bool) -> f64 {
    f64::from(u8::from(b))
}

fn grid(label: &str, rows: usize, lanes: u32, z: usize) -> [u32; 3] {
    let tiles = (rows as u32).div_ceil(4 * 64 / lanes);
    assert!(tiles <= MAX_WORKGROUPS, "{label}: grid");
    [tiles, 1, z as u32]
}

impl ExpertUp<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str) -> impl Iterator<Item = Step> + 'a {
        assert_eq!(self.x.width, self.experts.w.k, "{label}: width of x");
        assert!(self.h.rows >= self.experts.count, "{label}: rows of h");
        self.experts.w.parts.iter().map(move |part| self.step(label, part))
    }

    fn step(&self, label: &str, part: &Part) -> Step {
        let (rows, k) = (2 * self.h.width, self.experts.w.k);
        let (groups, slots) = (Layout::groups(k), self.experts.slots(part, rows, 0));
        let lanes = lanes(groups);
        let mut constants = vec![
            ("LANES", f64::from(lanes)),
            ("NORM", on(self.norm.is_some())),
            ("BIAS", on(self.bias.is_some())),
            ("INPUT_WEIGHT", on(self.input_weight)),
        ];
        constants.extend(self.gate.constants());
        let mut bindings = bindings(part, self.x.buffer, self.h.buffer, self.bias);
        let gain = self.norm.map_or(self.x.buffer, |n| n.gain.buffer);
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        bindings.extend([read(6, gain), read(8, self.route.router.logits.buffer)]);
        let params = UpParams {
            groups: groups as u32,
            rows: rows as u32,
            first_slot: slots.first,
            slots: slots.count,
            width: self.x.width as u32,
            h_stride: self.h.stride() as u32,
            first_entry: self.experts.first_entry as u32,
            routing_at: self.route.router.routing_at as u32,
            eps: self.norm.map_or(0.0, |n| n.eps),
        };
        Step {
            label: label.to_owned(),
            kernel: UP.name,
            shader: UP.shader.of(part.layout),
            constants,
            bindings,
            params: params.words(),
            grid: grid(label, rows, lanes, self.experts.count),
            detail: format!(
                "w[{}×{rows},{k}]:{} {}x[1,{}] {} → {}×[{}]",
                slots.count,
                part.layout.name(),
                if self.norm.is_some() { "rms " } else { "" },
                self.x.width,
                self.gate.word(),
                self.experts.count,
                self.h.width
            ),
        }
    }
}

impl ExpertDown<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str) -> impl Iterator<Item = Step> + 'a {
        assert_eq!(self.h.width, self.experts.w.k, "{label}: width of h");
        self.experts.w.parts.iter().map(move |part| self.step(label, part))
    }

    fn step(&self, label: &str, part: &Part) -> Step {
        let (rows, k) = (self.y.width, self.experts.w.k);
        let (groups, slots) = (Layout::groups(k), self.experts.slots(part, rows, self.interleaved));
        let lanes = lanes(groups);
        let mut constants = vec![
            ("LANES", f64::from(lanes)),
            ("NORM", 0.0),
            ("BIAS", on(self.bias.is_some())),
            ("WEIGHTED", on(self.weighted)),
        ];
        if self.factor != 1.0 {
            constants.push(("FACTOR", f64::from(self.factor)));
        }
        let mut bindings = bindings(part, self.h.buffer, self.y.buffer, self.bias);
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        bindings.extend([read(6, self.h.buffer), read(8, self.route.router.logits.buffer)]);
        let params = DownParams {
            groups: groups as u32,
            rows: rows as u32,
            first_slot: slots.first,
            slots: slots.count,
            interleaved: slots.interleaved,
            x_stride: self.h.stride() as u32 / 4,
            first_entry: self.experts.first_entry as u32,
            count: self.experts.count as u32,
            routing_at: self.route.router.routing_at as u32,
        };
        Step {
            label: label.to_owned(),
            kernel: DOWN.name,
            shader: DOWN.shader.of(part.layout),
            constants,
            bindings,
            params: params.words(),
            grid: grid(label, rows, lanes, 1),
            detail: format!(
                "w[{}×{rows},{k}]:{} {}×[{}] → [1,{rows}] +=",
                slots.count,
                part.layout.name(),
                self.experts.count,
                self.h.width,
            ),
        }
    }
}

/// As in `lib/expert_rows.wgsl`.
pub(super) fn expert_row(slot: usize, row: usize, rows: usize, interleaved: u32) -> usize {
    let interleaved = interleaved as usize;
    if slot < interleaved { row * interleaved + slot } else { slot * rows + row }
}

/// Slot and weight at a word of the router's buffer.
pub(super) fn entry_at(step: &Step, memory: &CpuMemory, at: usize) -> (u32, f64) {
    let words = memory.words(step.buffer(8));
    (words[at], f32::from_bits(words[at + 1]).into())
}

fn up_reference(step: &Step, memory: &mut CpuMemory) {
    let p = UpParams::of(step);
    let (width, rows) = (p.width as usize, p.rows as usize);
    let mut x: Vec<f64> = memory.floats(step.buffer(4))[..width].iter().map(|&v| v.into()).collect();
    if step.constant("NORM") == 1.0 {
        let mean = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
        let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
        let gain = memory.floats(step.buffer(6));
        x.iter_mut().zip(gain).for_each(|(v, &g)| *v *= scale * f64::from(g));
    }
    let inputs = [x];
    let mut starts = Vec::new();
    for j in 0..step.grid[2] as usize {
        let at = p.routing_at as usize + 2 * (p.first_entry as usize + j);
        let (slot, weight) = entry_at(step, memory, at);
        if slot < p.first_slot || slot - p.first_slot >= p.slots {
            continue;
        }
        let local = (slot - p.first_slot) as usize;
        let of_expert = |r, rows| local * rows + r;
        let weights = weights(step, memory, width);
        let own = weights.own(rows);
        let mut v = weights.exact(rows, &of_expert, &inputs).remove(0);
        if step.constant("INPUT_WEIGHT") == 1.0 {
            v.iter_mut().for_each(|v| *v *= weight);
        }
        if step.constant("BIAS") == 1.0 {
            let bias = &memory.floats(step.buffer(7))[slot as usize * rows + own.start..];
            v.iter_mut().zip(bias).for_each(|(v, &b)| *v += f64::from(b));
        }
        let start = j * p.h_stride as usize;
        let h = &mut memory.floats_mut(step.buffer(5))[start + own.start / 2..];
        for (h, pair) in h.iter_mut().zip(v.chunks(2)) {
            *h = Gate::of(step).apply(pair[0], pair[1]) as f32;
        }
        starts.push(start);
    }
    gather_outputs(step, memory, rows, 2, &starts);
}

fn down_reference(step: &Step, memory: &mut CpuMemory) {
    let p = DownParams::of(step);
    let factor = match step.constant("FACTOR") {
        0.0 => 1.0, // the shader's default
        factor => factor,
    };
    let (rows, width) = (p.rows as usize, p.groups as usize * crate::plan::GROUP);
    let own = weights(step, memory, width).own(rows);
    let mut sum = vec![0.0; own.len()];
    for j in 0..p.count as usize {
        let at = p.routing_at as usize + 2 * (p.first_entry as usize + j);
        let (slot, weight) = entry_at(step, memory, at);
        if slot < p.first_slot || slot - p.first_slot >= p.slots {
            continue;
        }
        let start = j * p.x_stride as usize * 4;
        let h: Vec<f64> = memory.floats(step.buffer(4))[start..start + width].iter().map(|&v| v.into()).collect();
        let local = (slot - p.first_slot) as usize;
        let of_expert = |r, rows| expert_row(local, r, rows, p.interleaved);
        let v = weights(step, memory, width).exact(rows, &of_expert, &[h]).remove(0);
        for (i, (sum, v)) in sum.iter_mut().zip(v).enumerate() {
            let bias = match step.constant("BIAS") == 1.0 {
                true => memory.floats(step.buffer(7))[slot as usize * rows + own.start + i],
                false => 0.0,
            };
            let weight = if step.constant("WEIGHTED") == 1.0 { weight } else { 1.0 };
            *sum += weight * (v + f64::from(bias));
        }
    }
    let y = &mut memory.floats_mut(step.buffer(5))[own];
    y.iter_mut().zip(sum).for_each(|(y, v)| *y = (f64::from(*y) + factor * v) as f32);
    gather_outputs(step, memory, rows, 1, &[0]);
}

fn small_up(maker: &mut Maker, step: &Step) -> Small {
    let k = shared_row(step);
    maker.weights(step.layout(), EXPERTS * EXPERT_ROWS, k);
    maker.floats(4, k);
    maker.zeros(5, ENTRIES * EXPERT_ROWS / 2);
    maker.floats(6, k);
    maker.floats(7, EXPERTS * EXPERT_ROWS);
    maker.entries(1);
    let params = UpParams {
        groups: (k / GROUP) as u32,
        rows: EXPERT_ROWS as u32,
        first_slot: 0,
        slots: EXPERTS as u32,
        width: k as u32,
        h_stride: EXPERT_ROWS as u32 / 2,
        first_entry: 0,
        routing_at: 0,
        eps: UpParams::of(step).eps,
    };
    (params.words(), [EXPERT_ROWS as u32 / 4, 1, ENTRIES as u32], vec![(5, None)])
}

fn small_down(maker: &mut Maker, step: &Step) -> Small {
    let k = shared_row(step);
    maker.weights(step.layout(), EXPERTS * EXPERT_ROWS, k);
    maker.floats(4, ENTRIES * k);
    maker.floats(5, EXPERT_ROWS);
    maker.floats(6, ENTRIES * k);
    maker.floats(7, EXPERTS * EXPERT_ROWS);
    maker.entries(1);
    let params = DownParams {
        groups: (k / GROUP) as u32,
        rows: EXPERT_ROWS as u32,
        first_slot: 0,
        slots: EXPERTS as u32,
        interleaved: DownParams::of(step).interleaved.min(1),
        x_stride: k as u32 / 4,
        first_entry: 0,
        count: ENTRIES as u32,
        routing_at: 0,
    };
    (params.words(), [EXPERT_ROWS as u32 / 4, 1, 1], vec![(5, None)])
}
