//! A mixture of experts in place of the MLP, input norm and residual included (arXiv 1701.06538, 2401.04088).
//!
//! Shared experts, to which every token goes, lie in front of the routed ones in the same matrices, cut to a routed
//! expert's width, where widths and layouts allow. Otherwise they have matrices of their own and take two steps more.

use crate::Result;
use crate::kernels::{
    self, Epilogue, ExpertDown, ExpertSum, ExpertUp, Experts, Gate, GroupedMatmul, Groups, Norm, RmsNorm, Route,
    Router, Scoring, Shared,
};
use crate::model::build::{ExpertMatrices, FusedExperts, MoeScratch, SharedMatrices};
use crate::model::{Builder, Mode, Recorder};
use crate::plan::{Activation, Matrix, Vector};

/// Properties of an architecture's mixture of experts that its config does not state.
#[derive(Debug, Clone, Copy)]
pub struct MoeParts {
    /// How the router's logits become scores.
    pub scoring: Scoring,
    /// Whether a token's expert weights are renormalised to sum to one, if the files do not say.
    pub renormalize: bool,
    /// Whether the shared expert has a gate of its own.
    pub shared_gate: bool,
    /// Whether a correction is added to the scores when experts are selected.
    pub correction: bool,
    /// Biases on the router and on the experts.
    pub bias: bool,
    /// Whether an expert's input, not its output, is scaled by the expert's weight (Llama 4).
    pub input_weight: bool,
    /// The gated activation, if it is not the config's `hidden_act`.
    pub gate: Option<Gate>,
    /// The layout of the gate and up projections of all experts if they are stored as one tensor.
    pub fused: FusedExperts,
}

impl MoeParts {
    /// Experts selected by these scores, without any optional property.
    pub const fn new(scoring: Scoring, renormalize: bool) -> Self {
        Self {
            scoring,
            renormalize,
            shared_gate: false,
            correction: false,
            bias: false,
            input_weight: false,
            gate: None,
            fused: FusedExperts { interleaved: false, transposed: false },
        }
    }
}

/// `x += Σ_e weight_e · W_down,e · (gate(W_gate,e · n) ⊙ (W_up,e · n))`, n = norm(x), over the experts that the router
/// selects, plus the same expression for the shared expert.
pub struct Moe {
    label: String,
    norm: RmsNorm,
    router: Matrix,
    route: Route,
    up: Matrix,
    down: Matrix,
    /// Leading slots of the matrices that hold the shared expert, split to the width of the others; their down rows are
    /// interleaved.
    shared_slots: usize,
    /// The shared expert, if it has matrices of its own: up, down, and the activation between them.
    apart: Option<(Matrix, Matrix, Activation)>,
    router_bias: Option<Vector>,
    up_bias: Option<Vector>,
    down_bias: Option<Vector>,
    gate: Gate,
    input_weight: bool,
    factor: f32,
    scratch: MoeScratch,
}

impl Moe {
    /// Declares layer `i`'s weights.
    pub fn new(b: &mut Builder<'_>, i: usize, parts: MoeParts) -> Result<Self> {
        let moe = b.config.moe.clone().expect("a mixture's layer has its facts");
        let hidden = b.config.hidden_size;
        let label = format!("l{i}.moe");
        let role = |r: &str| format!("{i}.{r}");
        let norm = b.norm(&format!("{label}.norm"), &role("mlp_norm"))?;
        let gated = parts.shared_gate && moe.shared_inner.is_some();
        let mut rows = vec![(role("router"), moe.experts)];
        rows.extend(gated.then(|| (role("shared.router"), 1)));
        let router = b.stacked(&format!("{label}.router"), &rows, hidden)?;
        let (mut router_bias, mut up_bias, mut down_bias) = (None, None, None);
        if parts.bias {
            // Biases of gates and ups are interleaved, whether they are stored as one tensor or two.
            let (up, width) = match b.has(&role("experts.gate_up.bias")) || !b.has(&role("experts.gate.bias")) {
                true => (vec![role("experts.gate_up.bias")], 2 * moe.inner),
                false => (vec![role("experts.gate.bias"), role("experts.up.bias")], moe.inner),
            };
            let mut bias =
                |s: &str, roles: &[String], shape: &[usize]| b.flat(&format!("{label}.{s}"), roles, shape).map(Some);
            router_bias = bias("router.bias", &[role("router.bias")], &[moe.experts])?;
            up_bias = bias("up.bias", &up, &[moe.experts, width])?;
            down_bias = bias("down.bias", &[role("experts.down.bias")], &[moe.experts, hidden])?;
        }
        let ExpertMatrices { up, down, shared } = b.expert_matrices(&label, i, &moe, parts.fused)?;
        let scratch = b.moe_scratch(&moe, router.rows);
        // The shared expert's slots precede those of the routed experts; if it has its own matrices, its slot follows
        // them.
        let (shared_slots, shared, apart) = match shared {
            SharedMatrices::None => (0, Shared::default(), None),
            SharedMatrices::Merged(n) => (n, Shared { entries: n, first_slot: 0, gated }, None),
            SharedMatrices::Apart { up, down } => {
                let between = b.shared_scratch(down.k);
                (0, Shared { entries: 1, first_slot: moe.experts, gated }, Some((up, down, between)))
            }
        };
        // GGUF metadata does not declare corrections: their presence is the only sign.
        let correction = role("router.correction");
        let corrected = if b.names_biases() { parts.correction } else { b.has(&correction) };
        let correction = corrected.then_some(correction);
        let table = b.route_table(&format!("{label}.table"), correction.as_deref(), moe.experts, shared_slots)?;
        let route = Route {
            router: scratch.router,
            experts: moe.experts,
            top_k: moe.top_k,
            scoring: moe.scoring.unwrap_or(parts.scoring),
            renormalize: moe.norm_topk_prob.unwrap_or(parts.renormalize),
            factor: moe.factor as f32,
            corrected,
            groups: moe.groups.map(|g| Groups { count: g.count, kept: g.kept, top_two: g.top_two }),
            shared,
            table,
        };
        let factor = b.config.residual_scale as f32;
        let gate = parts.gate.unwrap_or(b.gate);
        let input_weight = parts.input_weight;
        Ok(Self {
            label,
            norm,
            router,
            route,
            up,
            down,
            shared_slots,
            apart,
            router_bias,
            up_bias,
            down_bias,
            gate,
            input_weight,
            factor,
            scratch,
        })
    }

    /// The experts in the common matrices, and the shared expert if it has its own.
    fn halves(&self) -> impl Iterator<Item = Half<'_>> {
        let label = |s: &str| format!("{}.{s}", self.label);
        let common = match self.apart {
            None => self.route.entries(),
            Some(_) => self.route.top_k,
        };
        let of = |w, first_slot, first_entry, count| Experts { w, first_slot, first_entry, count };
        let routed = Half {
            labels: [label("up"), label("down")],
            up: of(&self.up, 0, 0, common),
            down: of(&self.down, 0, 0, common),
            h: self.scratch.h,
            shared_slots: self.shared_slots,
            routed: true,
        };
        let apart = self.apart.as_ref().map(|(up, down, h)| Half {
            labels: [label("shared.up"), label("shared.down")],
            up: of(up, self.route.experts, common, 1),
            down: of(down, self.route.experts, common, 1),
            h: *h,
            shared_slots: 0,
            routed: false,
        });
        [Some(routed), apart].into_iter().flatten()
    }

    /// Appends the block's steps.
    pub fn record(&self, r: &mut Recorder<'_>) {
        let epilogue = Epilogue { bias: self.router_bias, ..Epilogue::default() };
        let (label, logits) = (format!("{}.router", self.label), self.scratch.router.logits);
        match r.mode {
            Mode::Decode => {
                r.linear(&label, &self.router, Some(self.norm), r.scratch.x, logits, epilogue);
                self.decode(r);
            }
            Mode::Prefill => {
                // The norm is a separate step, because many products read its result.
                let (x, y) = (r.scratch.x, r.scratch.normed);
                let norm = Norm { x, from: 0, y, norm: self.norm, add: false };
                r.plan.push([norm.step(&format!("{}.norm", self.label), &r.control)]);
                r.linear(&label, &self.router, None, y, logits, epilogue);
                self.prefill(r);
            }
        }
    }

    /// Decode: the products of one token, expert by expert.
    fn decode(&self, r: &mut Recorder<'_>) {
        let x = r.rows(r.scratch.x);
        let router = Router { logits: r.rows(self.scratch.router.logits), ..self.scratch.router };
        let route = Route { router, ..self.route };
        r.plan.push([route.step(&format!("{}.route", self.label), &r.control)]);
        // All up products precede all down products, which change the residual stream that the up products read.
        for half in self.halves() {
            let up = ExpertUp {
                experts: half.up,
                route: &self.route,
                x,
                h: half.h,
                norm: Some(self.norm),
                bias: self.up_bias.filter(|_| half.routed),
                gate: self.gate,
                input_weight: self.input_weight,
            };
            r.plan.push(up.steps(&half.labels[0]));
        }
        for half in self.halves() {
            let down = ExpertDown {
                experts: half.down,
                interleaved: half.shared_slots,
                route: &self.route,
                h: half.h,
                y: x,
                bias: self.down_bias.filter(|_| half.routed),
                weighted: !self.input_weight,
                factor: self.factor,
            };
            r.plan.push(down.steps(&half.labels[1]));
        }
    }

    /// Prefill: the products of a chunk, with its tokens grouped by expert.
    fn prefill(&self, r: &mut Recorder<'_>) {
        let label = |s: &str| format!("{}.{s}", self.label);
        let (route, sorted, z) = (&self.route, self.scratch.sorted, self.scratch.z);
        let slots = route.experts + route.shared.entries;
        r.plan.push([route.step(&label("route"), &r.control), sorted.step(&label("sort"), route, slots, &r.control)]);
        let (y, x) = (r.scratch.x, r.scratch.normed);
        for half in self.halves() {
            let bias = |bias: Option<Vector>| bias.filter(|_| half.routed);
            let up = GroupedMatmul {
                half: kernels::Half::Up(self.gate),
                experts: half.up,
                rows: 2 * half.h.width,
                route,
                sorted,
                x,
                y: half.h,
                bias: bias(self.up_bias),
                weighted: self.input_weight,
            };
            let down = GroupedMatmul {
                half: kernels::Half::Down { interleaved: half.shared_slots },
                experts: half.down,
                rows: z.width,
                x: half.h,
                y: z,
                bias: bias(self.down_bias),
                weighted: !self.input_weight,
                ..up
            };
            r.plan.push(up.steps(&half.labels[0]));
            r.plan.push(down.steps(&half.labels[1]));
        }
        let sum = ExpertSum { z, entries: route.entries(), y, factor: self.factor };
        r.plan.push([sum.step(&label("sum"), &r.control)]);
    }
}

/// The experts of one pair of matrices.
struct Half<'a> {
    /// Labels of the up and down products.
    labels: [String; 2],
    up: Experts<'a>,
    down: Experts<'a>,
    /// The activation between the two products.
    h: Activation,
    /// As [`Moe::shared_slots`].
    shared_slots: usize,
    /// Whether the router selects these experts.
    routed: bool,
}
