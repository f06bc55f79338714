//! The router: which experts a token goes to, and with what weights.

use super::small::{ENTRIES, EXPERTS, Maker, Small};
use super::{Control, CpuMemory, Kernel, Params, State, params, shader};
use crate::plan::{Access, Activation, Binding, BufferId, Buffers, Role, Step};

/// See `shaders/route.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "route",
    shader: shader!("route", "state"),
    reads_weights: false,
    variants: &[],
    params: RouteParams::FIELDS,
    reference,
    cpu: None,
    small: Some(small),
};

params!(RouteParams {
    experts: u32,
    top_k: u32,
    expert_groups: u32,
    kept_groups: u32,
    shared_slot: u32,
    routing_at: u32,
    entries: u32,
    factor: f32,
    stride: u32,
});

/// Experts of a layer at most.
pub const MAX_EXPERTS: usize = 512;
/// Experts of a token at most.
pub const MAX_TOP_K: usize = 64;
/// Groups of experts at most.
pub const MAX_GROUPS: usize = 64;

/// How logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// Softmax over all experts.
    Softmax,
    /// The sigmoid of each.
    Sigmoid,
}

/// Routing that is limited to some groups of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Groups of the layer, a divisor of the experts, at most [`MAX_GROUPS`].
    pub count: usize,
    /// Groups that take part.
    pub kept: usize,
    /// A group's score is the sum of its best two; otherwise its best.
    pub top_two: bool,
}

/// The shared expert, whose entries follow those of the chosen experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shared {
    /// Parts as wide as an expert, or 1.
    pub entries: usize,
    /// Slot of the first part.
    pub first_slot: usize,
    /// The weight of its parts is sigmoid(the logit after the experts'), otherwise 1.
    pub gated: bool,
}

/// The buffer of the router's logits and of the entries that are made from them.
#[derive(Debug, Clone, Copy)]
pub struct Router {
    /// `[T, experts]`, or one more where the shared entries are gated.
    pub logits: Activation,
    /// The word at which the entries begin: `[T, entries]` pairs of slot and weight.
    pub routing_at: usize,
}

impl Router {
    /// Declares it for `tokens` with at most `entries` each.
    pub fn declare(buffers: &mut Buffers, tokens: usize, logits: usize, entries: usize) -> Self {
        let mut logits = Activation { buffer: BufferId(0), rows: tokens, width: logits };
        let routing_at = tokens * logits.stride();
        logits.buffer = buffers.add("router", ((routing_at + tokens * entries * 2) * 4) as u64, Role::Scratch);
        Self { logits, routing_at }
    }
}

/// Routing of tokens.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Logits and entries.
    pub router: Router,
    /// Experts, at most [`MAX_EXPERTS`].
    pub experts: usize,
    /// Experts of a token, at most [`MAX_TOP_K`].
    pub top_k: usize,
    /// How logits become scores.
    pub scoring: Scoring,
    /// Weights are divided by their sum.
    pub renormalize: bool,
    /// Multiplies the weights.
    pub factor: f32,
    /// Whether the table's corrections are added to the scores where experts are chosen (not in their weights).
    pub corrected: bool,
    /// Groups of experts, where only some take part.
    pub groups: Option<Groups>,
    /// The entries after the chosen ones.
    pub shared: Shared,
    /// `[experts]` corrections in f32, `[experts]` slots.
    pub table: BufferId,
}

impl Route {
    /// Entries of a token.
    pub fn entries(&self) -> usize {
        self.top_k + self.shared.entries
    }

    fn params(&self, label: &str) -> RouteParams {
        assert!(self.experts <= MAX_EXPERTS && self.top_k >= 1 && self.top_k <= self.experts, "{label}: experts");
        let groups = self.groups.unwrap_or(Groups { count: 1, kept: 1, top_two: false });
        assert!(groups.count <= MAX_GROUPS && self.experts.is_multiple_of(groups.count), "{label}: groups");
        RouteParams {
            experts: self.experts as u32,
            top_k: self.top_k as u32,
            expert_groups: groups.count as u32,
            kept_groups: groups.kept as u32,
            shared_slot: self.shared.first_slot as u32,
            routing_at: self.router.routing_at as u32,
            entries: self.entries() as u32,
            factor: self.factor,
            stride: self.router.logits.stride() as u32,
        }
    }

    fn constants(&self) -> [(&'static str, f64); 5] {
        let on = |b: bool| f64::from(u8::from(b));
        [
            ("SIGMOID", on(self.scoring == Scoring::Sigmoid)),
            ("RENORMALIZE", on(self.renormalize)),
            ("CORRECTED", on(self.corrected)),
            ("TOP_TWO", on(self.groups.is_some_and(|g| g.top_two))),
            ("SHARED_GATE", on(self.shared.gated)),
        ]
    }

    /// Words for [`Step::detail`].
    fn words(&self) -> String {
        format!("{} of {} by {:?}", self.top_k, self.experts, self.scoring).to_lowercase()
    }

    /// The step for as many tokens as there are rows of logits.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        let bindings = vec![
            Binding { slot: 1, buffer: control.state, access: Access::Read },
            Binding { slot: 8, buffer: self.router.logits.buffer, access: Access::ReadWrite },
            Binding { slot: 9, buffer: self.table, access: Access::Read },
        ];
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: KERNEL.shader,
            constants: self.constants().to_vec(),
            bindings,
            params: self.params(label).words(),
            grid: [self.router.logits.rows as u32, 1, 1],
            detail: self.words(),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = RouteParams::of(step);
    let state: State = memory.read(step.buffer(1));
    for t in 0..state.count as usize {
        choose(step, memory, &p, t);
    }
}

/// Chooses the experts of token `t` and writes its entries.
fn choose(step: &Step, memory: &mut CpuMemory, p: &RouteParams, t: usize) {
    let on = |name: &str| step.constant(name) == 1.0;
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let (experts, groups) = (p.experts as usize, p.expert_groups as usize);
    let row = &memory.floats(step.buffer(8))[t * p.stride as usize..];
    let logits: Vec<f64> = row[..experts].iter().map(|&v| v.into()).collect();
    let shared = if on("SHARED_GATE") { sigmoid(row[experts].into()) } else { 1.0 };
    let scores: Vec<f64> = if on("SIGMOID") {
        logits.iter().map(|&v| sigmoid(v)).collect()
    } else {
        let maximum = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|v| (v - maximum).exp()).sum();
        logits.iter().map(|v| (v - maximum).exp() / sum).collect()
    };
    let mut choice = scores.clone();
    if on("CORRECTED") {
        let correction = memory.floats(step.buffer(9));
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
        for &group in &order[p.kept_groups as usize..] {
            choice[group * size..(group + 1) * size].fill(f64::NEG_INFINITY);
        }
    }
    let mut order: Vec<usize> = (0..experts).collect();
    order.sort_by(|&a, &b| choice[b].total_cmp(&choice[a]));
    let chosen = &order[..p.top_k as usize];
    let total: f64 = chosen.iter().map(|&e| scores[e]).sum();
    let factor = f64::from(p.factor) / if on("RENORMALIZE") { total + 1e-20 } else { 1.0 };
    let slots = &memory.words(step.buffer(9))[experts..];
    let of_experts = chosen.iter().map(|&e| (slots[e], scores[e] * factor));
    let of_all = (p.shared_slot..).take((p.entries - p.top_k) as usize).map(|slot| (slot, shared));
    let entries: Vec<u32> =
        of_experts.chain(of_all).flat_map(|(slot, weight)| [slot, (weight as f32).to_bits()]).collect();
    let at = p.routing_at as usize + t * entries.len();
    memory.words_mut(step.buffer(8))[at..at + entries.len()].copy_from_slice(&entries);
}

fn small(maker: &mut Maker, step: &Step) -> Small {
    let p = RouteParams::of(step);
    let [expert_groups, kept_groups, top_k] = Maker::choice(p.expert_groups, p.top_k);
    maker.state(0, 3);
    let routing_at = maker.router(3);
    let params = RouteParams {
        experts: EXPERTS as u32,
        top_k,
        expert_groups,
        kept_groups,
        shared_slot: 0,
        routing_at: routing_at as u32,
        entries: ENTRIES as u32,
        stride: (routing_at / 3) as u32,
        ..p
    };
    (params.words(), [3, 1, 1], vec![(8, None)])
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
                let entries = (experts + i) % 3;
                let shared = Shared { entries, first_slot: 7 * entries, gated: entries == 2 };
                let mut b = Bench::new(5, 8);
                let router = b.router(6, experts, top_k + entries);
                let table = b.route_table(experts, |e| (e * 7 + 3) % experts);
                let route = Route {
                    router,
                    experts,
                    top_k,
                    scoring,
                    renormalize: i == 1,
                    factor: 2.5,
                    corrected: i == 1,
                    groups,
                    shared,
                    table,
                };
                b.plan.push([route.step("route", &b.control)]);
                // Slots are small integers in words that both sides write alike; as f32 they are tiny.
                let what = format!("{top_k} of {experts}, {scoring:?}, {groups:?}, {shared:?}");
                b.check(router.logits.buffer, 1e-5, &what);
                b.check_words(router.logits.buffer, 2, router.routing_at, &what);
            }
        }
    }
}
