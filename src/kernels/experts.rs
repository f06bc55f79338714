//! A mixture's MLP for the experts that each token was given: only those are read.

use super::epilogue::Gate;
use super::matvec::{lanes, layout_of};
use super::{Control, CpuMemory, Kernel, MAX_WORKGROUPS, Params, RmsNorm, State, layout_shaders, params};
use crate::gpu::{Access, Activation, Binding, BufferId, Layout, Matrix, Part, Shader, Step, Vector};

static UP_SHADERS: [Shader; 11] = layout_shaders!("expert_up", "gate", "share");
static DOWN_SHADERS: [Shader; 11] = layout_shaders!("expert_down", "share");

/// See `shaders/expert_up.wgsl`.
pub static UP: Kernel =
    Kernel { name: "expert_up", shaders: &UP_SHADERS, params: UpParams::FIELDS, reference: up_reference };
/// See `shaders/expert_down.wgsl`.
pub static DOWN: Kernel =
    Kernel { name: "expert_down", shaders: &DOWN_SHADERS, params: DownParams::FIELDS, reference: down_reference };

params!(UpParams {
    groups: u32,
    rows: u32,
    first_slot: u32,
    slots: u32,
    x_stride: u32,
    h_stride: u32,
    entries: u32,
    first_entry: u32,
    route_stride: u32,
    width: u32,
    eps: f32,
});
params!(DownParams {
    groups: u32,
    rows: u32,
    first_slot: u32,
    slots: u32,
    x_stride: u32,
    y_stride: u32,
    entries: u32,
    first_entry: u32,
    route_stride: u32,
});

/// The entries of a token's routing that lie in one pair of matrices.
#[derive(Debug, Clone, Copy)]
pub struct Entries {
    /// `[T, stride]` pairs of slot and weight.
    pub routing: BufferId,
    /// Entries of a token.
    pub stride: usize,
    /// The first of ours.
    pub first: usize,
    /// How many are ours.
    pub count: usize,
}

/// `h[t, j] = gate(W_e · n(x[t]) + bias)`
#[derive(Debug, Clone, Copy)]
pub struct ExpertUp<'a> {
    /// `[experts · 2I, K]`, gate and up rows of an expert taking turns; parts hold whole experts.
    pub w: &'a Matrix,
    /// `[T, K]`
    pub x: Activation,
    /// `[T · entries, I]`
    pub h: Activation,
    /// Norm of the input.
    pub norm: Option<RmsNorm>,
    /// `[experts, 2I]`
    pub bias: Option<Vector>,
    /// How gates and ups are joined.
    pub gate: Gate,
    /// The token is scaled by its weight here, before the gate, and not at the end.
    pub input_weight: bool,
    /// Which experts.
    pub entries: Entries,
}

/// `y[t] += factor · Σ_j weight_j · (W_e · h[t, j] + bias)`
#[derive(Debug, Clone, Copy)]
pub struct ExpertDown<'a> {
    /// `[experts · N, I]`; parts hold whole experts.
    pub w: &'a Matrix,
    /// `[T · entries, I]`
    pub h: Activation,
    /// `[T, N]`
    pub y: Activation,
    /// `[experts, N]`
    pub bias: Option<Vector>,
    /// Whether the weights are used here.
    pub weighted: bool,
    /// Multiplies the sum.
    pub factor: f32,
    /// Which experts.
    pub entries: Entries,
}

/// Binds what both kernels bind alike.
fn bindings(
    control: &Control,
    part: &Part,
    x: BufferId,
    y: BufferId,
    bias: Option<Vector>,
    routing: BufferId,
) -> Vec<Binding> {
    let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
    let mut bindings = vec![read(1, control.state), read(2, part.codes)];
    bindings.extend(part.scales.map(|s| read(3, s)));
    bindings.extend([
        read(4, x),
        Binding { slot: 5, buffer: y, access: Access::ReadWrite },
        read(7, bias.map_or(x, |b| b.buffer)),
        read(8, routing),
    ]);
    bindings
}

fn on(b: bool) -> f64 {
    f64::from(u8::from(b))
}

impl ExpertUp<'_> {
    /// One step for each part of the matrix; decode and prefill alike, by the rows of `x`.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        assert_eq!(self.x.width, self.w.k, "{label}: width of x");
        assert!(self.h.rows >= self.x.rows * self.entries.count, "{label}: rows of h");
        self.w.parts.iter().map(move |part| self.step(label, control, part))
    }

    fn step(&self, label: &str, control: &Control, part: &Part) -> Step {
        let (rows, groups) = (2 * self.h.width, Layout::groups(self.w.k));
        let lanes = lanes(groups);
        let mut constants = vec![
            ("LANES", f64::from(lanes)),
            ("NORM", on(self.norm.is_some())),
            ("BIAS", on(self.bias.is_some())),
            ("INPUT_WEIGHT", on(self.input_weight)),
        ];
        constants.extend(self.gate.constants());
        let mut bindings = bindings(control, part, self.x.buffer, self.h.buffer, self.bias, self.entries.routing);
        let gain = self.norm.map_or(self.x.buffer, |n| n.gain.buffer);
        bindings.push(Binding { slot: 6, buffer: gain, access: Access::Read });
        let params = UpParams {
            groups: groups as u32,
            rows: rows as u32,
            first_slot: (part.rows.start / rows) as u32,
            slots: (part.rows.len() / rows) as u32,
            x_stride: self.x.stride() as u32 / 4,
            h_stride: self.h.stride() as u32,
            entries: self.entries.count as u32,
            first_entry: self.entries.first as u32,
            route_stride: self.entries.stride as u32,
            width: self.x.width as u32,
            eps: self.norm.map_or(0.0, |n| n.eps),
        };
        Step {
            label: label.to_owned(),
            kernel: UP.name,
            shader: &UP_SHADERS[part.layout as usize],
            constants,
            bindings,
            params: params.words(),
            grid: grid(label, rows, lanes, self.x.rows * self.entries.count),
            detail: format!(
                "w[{}×{rows},{}]:{} {}x[{},{}] {} → {}×[{}]",
                part.rows.len() / rows,
                self.w.k,
                part.layout.name(),
                if self.norm.is_some() { "rms " } else { "" },
                self.x.rows,
                self.x.width,
                self.gate.word(),
                self.entries.count,
                self.h.width
            ),
        }
    }
}

fn grid(label: &str, rows: usize, lanes: u32, z: usize) -> [u32; 3] {
    let tiles = (rows as u32).div_ceil(4 * 64 / lanes);
    assert!(tiles <= MAX_WORKGROUPS && z <= MAX_WORKGROUPS as usize, "{label}: grid");
    [tiles, 1, z as u32]
}

impl ExpertDown<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        assert_eq!(self.h.width, self.w.k, "{label}: width of h");
        self.w.parts.iter().map(move |part| self.step(label, control, part))
    }

    fn step(&self, label: &str, control: &Control, part: &Part) -> Step {
        let (rows, groups) = (self.y.width, Layout::groups(self.w.k));
        let lanes = lanes(groups);
        let mut constants =
            vec![("LANES", f64::from(lanes)), ("BIAS", on(self.bias.is_some())), ("WEIGHTED", on(self.weighted))];
        if self.factor != 1.0 {
            constants.push(("FACTOR", f64::from(self.factor)));
        }
        let mut bindings = bindings(control, part, self.h.buffer, self.y.buffer, self.bias, self.entries.routing);
        bindings.push(Binding { slot: 6, buffer: self.h.buffer, access: Access::Read });
        let params = DownParams {
            groups: groups as u32,
            rows: rows as u32,
            first_slot: (part.rows.start / rows) as u32,
            slots: (part.rows.len() / rows) as u32,
            x_stride: self.h.stride() as u32 / 4,
            y_stride: self.y.stride() as u32,
            entries: self.entries.count as u32,
            first_entry: self.entries.first as u32,
            route_stride: self.entries.stride as u32,
        };
        Step {
            label: label.to_owned(),
            kernel: DOWN.name,
            shader: &DOWN_SHADERS[part.layout as usize],
            constants,
            bindings,
            params: params.words(),
            grid: grid(label, rows, lanes, self.y.rows),
            detail: format!(
                "w[{}×{rows},{}]:{} {}×[{}] → [{},{rows}] +=",
                part.rows.len() / rows,
                self.w.k,
                part.layout.name(),
                self.entries.count,
                self.h.width,
                self.y.rows
            ),
        }
    }
}

/// The products of an expert's rows, by its number in the part, with `x`, in f64.
fn expert_products(step: &Step, memory: &CpuMemory, layout: Layout, rows: usize, slot: usize, x: &[f64]) -> Vec<f64> {
    let codes = memory.bytes(step.buffer(2));
    let scales = if layout.has_scales() { memory.bytes(step.buffer(3)) } else { &[] };
    let (cb, sb) = (layout.code_row_bytes(x.len()), layout.scale_row_bytes(x.len()));
    (slot * rows..(slot + 1) * rows)
        .map(|r| {
            let w = layout.dequantize_row(x.len(), &codes[r * cb..][..cb], &scales[r * sb..][..sb]);
            w.iter().zip(x).map(|(&w, &x)| f64::from(w) * x).sum()
        })
        .collect()
}

/// A token's entries: number, slot in the part (if it is there), slot, weight.
fn entries_of(
    step: &Step,
    memory: &CpuMemory,
    at: usize,
    count: usize,
    [first, slots]: [u32; 2],
) -> Vec<(usize, usize, usize, f64)> {
    let words = memory.words(step.buffer(8));
    (0..count)
        .filter_map(|j| {
            let slot = words[2 * (at + j)];
            let weight = f64::from(f32::from_bits(words[2 * (at + j) + 1]));
            (slot >= first && slot - first < slots).then(|| (j, (slot - first) as usize, slot as usize, weight))
        })
        .collect()
}

fn up_reference(step: &Step, memory: &mut CpuMemory) {
    let p = UpParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let layout = layout_of(step, &UP_SHADERS);
    let (width, rows, entries) = (p.width as usize, p.rows as usize, p.entries as usize);
    for t in 0..state.count as usize {
        let start = t * p.x_stride as usize * 4;
        let mut x: Vec<f64> = memory.floats(step.buffer(4))[start..start + width].iter().map(|&v| v.into()).collect();
        if step.constant("NORM") == 1.0 {
            let mean = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
            let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
            let gain = memory.floats(step.buffer(6));
            x.iter_mut().zip(gain).for_each(|(v, &g)| *v *= scale * f64::from(g));
        }
        let at = t * p.route_stride as usize + p.first_entry as usize;
        for (j, local, slot, weight) in entries_of(step, memory, at, entries, [p.first_slot, p.slots]) {
            let mut v = expert_products(step, memory, layout, rows, local, &x);
            if step.constant("INPUT_WEIGHT") == 1.0 {
                v.iter_mut().for_each(|v| *v *= weight);
            }
            if step.constant("BIAS") == 1.0 {
                let bias = &memory.floats(step.buffer(7))[slot * rows..];
                v.iter_mut().zip(bias).for_each(|(v, &b)| *v += f64::from(b));
            }
            let h = &mut memory.floats_mut(step.buffer(5))[(t * entries + j) * p.h_stride as usize..];
            for (h, pair) in h.iter_mut().zip(v.chunks(2)) {
                *h = Gate::of(step).join(pair[0], pair[1]) as f32;
            }
        }
    }
}

fn down_reference(step: &Step, memory: &mut CpuMemory) {
    let p = DownParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let layout = layout_of(step, &DOWN_SHADERS);
    let factor = match step.constant("FACTOR") {
        0.0 => 1.0, // the shader's default
        factor => factor,
    };
    let (rows, entries) = (p.rows as usize, p.entries as usize);
    let width = p.groups as usize * crate::gpu::GROUP;
    for t in 0..state.count as usize {
        let at = t * p.route_stride as usize + p.first_entry as usize;
        let mut sum = vec![0.0; rows];
        for (j, local, slot, weight) in entries_of(step, memory, at, entries, [p.first_slot, p.slots]) {
            let start = (t * entries + j) * p.x_stride as usize * 4;
            let h: Vec<f64> = memory.floats(step.buffer(4))[start..start + width].iter().map(|&v| v.into()).collect();
            let v = expert_products(step, memory, layout, rows, local, &h);
            for (i, (sum, v)) in sum.iter_mut().zip(v).enumerate() {
                let bias =
                    if step.constant("BIAS") == 1.0 { memory.floats(step.buffer(7))[slot * rows + i] } else { 0.0 };
                let weight = if step.constant("WEIGHTED") == 1.0 { weight } else { 1.0 };
                *sum += weight * (v + f64::from(bias));
            }
        }
        let y = &mut memory.floats_mut(step.buffer(5))[t * p.y_stride as usize..];
        y.iter_mut().zip(sum).for_each(|(y, v)| *y = (f64::from(*y) + factor * v) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Role;
    use crate::kernels::testing::Bench;

    /// Routing of `tokens` to `count` of `experts`, after `first` entries of others.
    fn entries(b: &mut Bench, tokens: usize, experts: usize, first: usize, count: usize) -> Entries {
        let stride = first + count;
        let routing = b.buffers.add("routing", (tokens * stride * 8) as u64, Role::Scratch);
        let entry = |i: usize| [((i * 5 + i / stride) % experts) as u32, (0.3 + 0.1 * (i % 7) as f32).to_bits()];
        let words: Vec<u32> = (0..tokens * stride).flat_map(entry).collect();
        b.set(routing, bytemuck::cast_slice(&words));
        Entries { routing, stride, first, count }
    }

    fn check(
        layout: Layout,
        [experts, count, hidden, inner]: [usize; 4],
        tokens: usize,
        variant: usize,
        max_binding: u64,
    ) {
        let k = |k: usize| k.next_multiple_of(layout.row_multiple());
        let (hidden, inner) = (k(hidden), k(inner));
        let what = format!("{layout:?} {count} of {experts}×[{inner},{hidden}], {tokens} tokens, variant {variant}");
        let mut b = Bench::new(tokens, 8);
        let up = b.experts("up", experts, 2 * inner, hidden, layout, max_binding);
        let down = b.experts("down", experts, hidden, inner, layout, max_binding);
        let x = b.activation("x", tokens + 1, hidden);
        let gain = b.vector("gain", hidden);
        let entries = entries(&mut b, tokens + 1, experts, variant % 2, count);
        let h = b.scratch("h", (tokens + 1) * count, inner);
        let y = b.activation("y", tokens + 1, hidden);
        let (up_bias, down_bias) = (b.vector("up bias", experts * 2 * inner), b.vector("down bias", experts * hidden));
        let bias = variant == 2;
        let gate = if bias { Gate::Clamped { limit: 1.5 } } else { Gate::Silu };
        let step = ExpertUp {
            w: &up,
            x,
            h,
            norm: (variant != 1).then_some(RmsNorm { gain, eps: 1e-5 }),
            bias: bias.then_some(up_bias),
            gate,
            input_weight: variant == 1,
            entries,
        };
        b.plan.push(step.steps("up", &b.control));
        b.check(h.buffer, 3e-4, &what);
        let step = ExpertDown {
            w: &down,
            h,
            y,
            bias: bias.then_some(down_bias),
            weighted: variant != 1,
            factor: if bias { 0.6 } else { 1.0 },
            entries,
        };
        b.plan.push(step.steps("down", &b.control));
        b.check(y.buffer, 5e-4, &what);
    }

    #[test]
    fn every_layout_over_odd_shapes() {
        for layout in Layout::ALL {
            for (i, shape) in [[5, 3, 64, 32], [8, 2, 96, 64], [3, 1, 288, 160]].into_iter().enumerate() {
                check(layout, shape, 1 + 2 * i, i, u64::MAX);
            }
        }
        for layout in [Layout::F32, Layout::Bf16] {
            for shape in [[6, 2, 40, 33], [4, 4, 33, 1], [1, 1, 7, 31]] {
                check(layout, shape, 4, 0, u64::MAX);
            }
        }
    }

    #[test]
    fn parts_hold_whole_experts() {
        check(Layout::Q4, [16, 4, 96, 64], 3, 2, 16 << 10);
        check(Layout::Bf16, [7, 3, 40, 24], 2, 0, 8 << 10);
    }
}
