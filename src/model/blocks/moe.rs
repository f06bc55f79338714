//! A mixture of experts in place of the MLP, input norm and residual included (arXiv 1701.06538, 2401.04088).

use crate::Result;
use crate::gpu::{Matrix, Vector};
use crate::kernels::{Entries, Epilogue, ExpertDown, ExpertUp, Gate, Groups, Norm, RmsNorm, Route, Scoring, Shared};
use crate::model::build::MoeScratch;
use crate::model::{Builder, Mode, Recorder};

/// What an architecture's mixture does besides what its config says.
#[derive(Debug, Clone, Copy)]
pub struct MoeParts {
    /// How the router's logits become scores.
    pub scoring: Scoring,
    /// Whether a token's weights are made to sum to one, where the files do not say.
    pub renormalize: bool,
    /// Whether the part that every token goes to has a gate of its own.
    pub shared_gate: bool,
    /// Whether a correction is added to the scores where experts are chosen.
    pub correction: bool,
    /// Biases on the router and on the experts.
    pub bias: bool,
    /// A token is scaled by its weight before its expert, and not after it (Llama 4).
    pub input_weight: bool,
    /// How gates and ups are joined, where that is not the config's `hidden_act`.
    pub gate: Option<Gate>,
    /// Gates and ups take turns where they are published as one, transposed.
    pub turning: bool,
}

impl MoeParts {
    /// Experts by these scores, and nothing more.
    pub const fn new(scoring: Scoring, renormalize: bool) -> Self {
        Self {
            scoring,
            renormalize,
            shared_gate: false,
            correction: false,
            bias: false,
            input_weight: false,
            gate: None,
            turning: false,
        }
    }
}

/// `x += Σ_e weight_e · W_down,e · (gate(W_gate,e · n) ⊙ (W_up,e · n))`, n = norm(x), over the experts that the router
/// chooses, and the same of a part that every token goes to.
pub struct Moe {
    label: String,
    norm: RmsNorm,
    router: Matrix,
    route: Route,
    up: Matrix,
    down: Matrix,
    /// Of the part that every token goes to.
    shared: Option<(Matrix, Matrix)>,
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
        let shared_gate = parts.shared_gate && moe.shared_inner.is_some();
        let mut rows = vec![(role("router"), moe.experts)];
        rows.extend(shared_gate.then(|| (role("shared.router"), 1)));
        let router = b.stacked(&format!("{label}.router"), &rows, hidden)?;
        // GGUF names no such fact: a correction is there or it is not.
        let corrected = if b.names_biases() { parts.correction } else { b.has(&role("router.correction")) };
        let correction = match corrected {
            true => Some(b.vector(&format!("{label}.correction"), &[(role("router.correction"), moe.experts)])?),
            false => None,
        };
        let (mut router_bias, mut up_bias, mut down_bias) = (None, None, None);
        if parts.bias {
            // Gates and ups take turns, published together or apart.
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
        let up = b.experts_up(&format!("{label}.up"), i, &moe, parts.turning)?;
        let down = b.experts_down(&format!("{label}.down"), i, &moe)?;
        let shared = match moe.shared_inner {
            None => None,
            Some(inner) => {
                let up = b.shared_up(&format!("{label}.shared.up"), i, inner)?;
                Some((up, b.shared_down(&format!("{label}.shared.down"), i, inner)?))
            }
        };
        let kind = match (shared.is_some(), shared_gate) {
            (false, _) => Shared::None,
            (true, false) => Shared::Always,
            (true, true) => Shared::Gated,
        };
        let entries = moe.top_k + usize::from(shared.is_some());
        let scratch = b.moe_scratch(&moe, router.rows, entries);
        let route = Route {
            logits: scratch.logits,
            experts: moe.experts,
            top_k: moe.top_k,
            scoring: moe.scoring.unwrap_or(parts.scoring),
            renormalize: moe.norm_topk_prob.unwrap_or(parts.renormalize),
            factor: moe.factor as f32,
            correction,
            groups: moe.groups.map(|g| Groups { count: g.count, kept: g.kept, top_two: g.top_two }),
            shared: kind,
            slots: scratch.slots,
            routing: scratch.routing,
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
            shared,
            router_bias,
            up_bias,
            down_bias,
            gate,
            input_weight,
            factor,
            scratch,
        })
    }

    /// Appends the steps.
    pub fn record(&self, r: &mut Recorder<'_>) {
        let label = |s: &str| format!("{}.{s}", self.label);
        let y = r.rows(r.scratch.x);
        // In prefill the norm is a step of its own; many products read its result.
        let (x, norm) = match r.mode {
            Mode::Decode => (y, Some(self.norm)),
            Mode::Prefill => {
                let normed = r.rows(r.scratch.normed);
                r.plan.push([Norm { x: y, y: normed, norm: self.norm, add: false }.step(&label("norm"), &r.control)]);
                (normed, None)
            }
        };
        let epilogue = Epilogue { bias: self.router_bias, ..Epilogue::default() };
        r.linear(&label("router"), &self.router, norm, x, self.scratch.logits, epilogue);
        let route = Route { logits: r.rows(self.scratch.logits), ..self.route };
        r.plan.push([route.step(&label("route"), &r.control)]);
        let entries = |first, count| Entries { routing: self.scratch.routing, stride: route.entries(), first, count };
        let routed = (&self.up, &self.down, self.scratch.h, entries(0, route.top_k), true);
        let shared = self.shared.as_ref().map(|(up, down)| {
            (up, down, self.scratch.shared.expect("declared with the first"), entries(route.top_k, 1), false)
        });
        let halves: Vec<_> = [Some(routed), shared].into_iter().flatten().collect();
        // All of the first halves before any second: those change the residual stream that the first read.
        let name = |routed: bool, s: &str| label(&format!("{}{s}", if routed { "" } else { "shared." }));
        for &(up, _, h, entries, routed) in &halves {
            let bias = self.up_bias.filter(|_| routed);
            let input_weight = self.input_weight && routed;
            let step = ExpertUp { w: up, x, h, norm, bias, gate: self.gate, input_weight, entries };
            r.plan.push(step.steps(&name(routed, "up"), &r.control));
        }
        for &(_, down, h, entries, routed) in &halves {
            let bias = self.down_bias.filter(|_| routed);
            let weighted = !(self.input_weight && routed);
            let step = ExpertDown { w: down, h, y, bias, weighted, factor: self.factor, entries };
            r.plan.push(step.steps(&name(routed, "down"), &r.control));
        }
    }
}
