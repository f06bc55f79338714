//! Which experts a token goes to, and with what weights.

use super::{Control, CpuMemory, Kernel, Params, State, params, shader};
use crate::gpu::{Access, Activation, Binding, BufferId, Buffers, Role, Shader, Step, Vector};

static SHADERS: [Shader; 1] = [shader!("route", "state")];

/// See `shaders/route.wgsl`.
pub static KERNEL: Kernel = Kernel { name: "route", shaders: &SHADERS, params: RouteParams::FIELDS, reference };

params!(RouteParams { experts: u32, top_k: u32, stride: u32, groups: u32, kept: u32, entries: u32, factor: f32 });

/// Experts of a layer at most.
pub const MAX_EXPERTS: usize = 512;
/// Groups of experts at most.
pub const MAX_GROUPS: usize = 64;

/// How logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// Softmax over all experts.
    Softmax,
    /// Each for itself.
    Sigmoid,
}

/// What decides on the groups of experts that take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// How many there are, a divisor of the experts, at most [`MAX_GROUPS`].
    pub count: usize,
    /// How many take part.
    pub kept: usize,
    /// A group's score is the sum of its best two; otherwise its best.
    pub top_two: bool,
}

/// An entry beside the chosen experts, for a part that every token goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// There is none.
    None,
    /// Of weight 1.
    Always,
    /// Of weight sigmoid(the logit after the experts').
    Gated,
}

/// Routing of the step's tokens.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `[T, experts]`, or one more where the shared entry is gated.
    pub logits: Activation,
    /// Experts, at most [`MAX_EXPERTS`].
    pub experts: usize,
    /// Experts of a token.
    pub top_k: usize,
    /// How logits become scores.
    pub scoring: Scoring,
    /// Weights are divided by their sum.
    pub renormalize: bool,
    /// Multiplies the weights.
    pub factor: f32,
    /// Added to the scores where experts are chosen, not in their weights.
    pub correction: Option<Vector>,
    /// Groups of experts, where only some take part.
    pub groups: Option<Groups>,
    /// The entry beside the chosen ones.
    pub shared: Shared,
    /// `u32[experts]`: where each lies among the matrices.
    pub slots: BufferId,
    /// `[T, entries]` pairs of slot and weight.
    pub routing: BufferId,
}

impl Route {
    /// Entries of a token.
    pub fn entries(&self) -> usize {
        self.top_k + usize::from(self.shared != Shared::None)
    }

    /// Declares the routing of `tokens`.
    pub fn declare(buffers: &mut Buffers, tokens: usize, entries: usize) -> BufferId {
        buffers.add("routing", (tokens * entries * 8) as u64, Role::Scratch)
    }

    /// The step.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        assert!(self.experts <= MAX_EXPERTS && self.top_k >= 1 && self.top_k <= self.experts, "{label}: experts");
        let groups = self.groups.unwrap_or(Groups { count: 1, kept: 1, top_two: false });
        assert!(groups.count <= MAX_GROUPS && self.experts.is_multiple_of(groups.count), "{label}: groups");
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let on = |b: bool| f64::from(u8::from(b));
        let shared = match self.shared {
            Shared::None => 0.0,
            Shared::Always => 1.0,
            Shared::Gated => 2.0,
        };
        let params = RouteParams {
            experts: self.experts as u32,
            top_k: self.top_k as u32,
            stride: self.logits.stride() as u32,
            groups: groups.count as u32,
            kept: groups.kept as u32,
            entries: self.entries() as u32,
            factor: self.factor,
        };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: &SHADERS[0],
            constants: vec![
                ("SIGMOID", on(self.scoring == Scoring::Sigmoid)),
                ("RENORMALIZE", on(self.renormalize)),
                ("CORRECTED", on(self.correction.is_some())),
                ("TOP_TWO", on(groups.top_two)),
                ("SHARED", shared),
            ],
            bindings: vec![
                read(1, control.state),
                read(2, self.logits.buffer),
                read(3, self.correction.map_or(self.logits.buffer, |c| c.buffer)),
                read(4, self.slots),
                Binding { slot: 5, buffer: self.routing, access: Access::ReadWrite },
            ],
            params: params.words(),
            grid: [self.logits.rows as u32, 1, 1],
            detail: format!("{} of {} experts, {:?}", self.top_k, self.experts, self.scoring),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = RouteParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let on = |name: &str| step.constant(name) == 1.0;
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let (experts, groups) = (p.experts as usize, p.groups as usize);
    for t in 0..state.count as usize {
        let row = &memory.floats(step.buffer(2))[t * p.stride as usize..];
        let logits: Vec<f64> = row[..experts].iter().map(|&v| v.into()).collect();
        let shared = (step.constant("SHARED") == 2.0).then(|| sigmoid(row[experts].into()));
        let scores: Vec<f64> = if on("SIGMOID") {
            logits.iter().map(|&v| sigmoid(v)).collect()
        } else {
            let maximum = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|v| (v - maximum).exp()).sum();
            logits.iter().map(|v| (v - maximum).exp() / sum).collect()
        };
        let mut choice = scores.clone();
        if on("CORRECTED") {
            let correction = memory.floats(step.buffer(3));
            choice.iter_mut().zip(correction).for_each(|(c, &b)| *c += f64::from(b));
        }
        if groups > 1 {
            let size = experts / groups;
            let score = |group: &[f64]| {
                let mut sorted = group.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                sorted[0] + if on("TOP_TWO") { sorted[1] } else { 0.0 }
            };
            let of: Vec<f64> = choice.chunks(size).map(score).collect();
            let mut order: Vec<usize> = (0..groups).collect();
            order.sort_by(|&a, &b| of[b].total_cmp(&of[a]));
            for &group in &order[p.kept as usize..] {
                choice[group * size..(group + 1) * size].fill(f64::NEG_INFINITY);
            }
        }
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|&a, &b| choice[b].total_cmp(&choice[a]));
        let chosen = &order[..p.top_k as usize];
        let total: f64 = chosen.iter().map(|&e| scores[e]).sum();
        let factor = f64::from(p.factor) / if on("RENORMALIZE") { total + 1e-20 } else { 1.0 };
        let slots = memory.words(step.buffer(4)).to_vec();
        let mut entries: Vec<u32> =
            chosen.iter().flat_map(|&e| [slots[e], ((scores[e] * factor) as f32).to_bits()]).collect();
        match step.constant("SHARED") as u32 {
            0 => {}
            1 => entries.extend([0, 1f32.to_bits()]),
            _ => entries.extend([0, (shared.expect("it is gated") as f32).to_bits()]),
        }
        let at = t * p.entries as usize * 2;
        memory.words_mut(step.buffer(5))[at..at + entries.len()].copy_from_slice(&entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;

    #[test]
    fn every_kind_of_routing() {
        let group = |count, kept, top_two| Some(Groups { count, kept, top_two });
        for (experts, top_k, groups) in [
            (8, 3, None),
            (5, 3, None),
            (1, 1, None),
            (128, 8, None),
            (512, 22, None),
            (16, 4, group(4, 2, true)),
            (256, 8, group(8, 4, true)),
            (160, 6, group(8, 3, false)),
        ] {
            for (i, scoring) in [Scoring::Softmax, Scoring::Sigmoid].into_iter().enumerate() {
                let shared = [Shared::None, Shared::Always, Shared::Gated][(experts + i) % 3];
                let mut b = Bench::new(5, 8);
                let logits = b.activation("logits", 6, experts + usize::from(shared == Shared::Gated));
                let correction = (i == 1).then(|| b.vector("correction", experts));
                let slots = b.buffers.add("slots", experts as u64 * 4, Role::Weights);
                let places: Vec<u32> = (0..experts as u32).map(|e| (e * 7 + 3) % experts as u32).collect();
                b.set(slots, bytemuck::cast_slice(&places));
                let mut route = Route {
                    logits,
                    experts,
                    top_k,
                    scoring,
                    renormalize: i == 1,
                    factor: 2.5,
                    correction,
                    groups,
                    shared,
                    slots,
                    routing: slots,
                };
                route.routing = Route::declare(&mut b.buffers, 6, route.entries());
                b.plan.push([route.step("route", &b.control)]);
                // Slots are small integers in words that both sides write alike; as f32 they are tiny.
                b.check(route.routing, 1e-5, &format!("{top_k} of {experts}, {scoring:?}, {groups:?}, {shared:?}"));
                b.check_words(route.routing, 2, 0, "slots");
            }
        }
    }
}
