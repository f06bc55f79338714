//! The kernels of mixtures and of latent attention at the shapes of layers of published models: random weights, on the GPU
//! and in f64. What an expert stack of one binding cannot hold is split, and the experts of a token lie on both sides.

use super::testing::Bench;
use super::{
    Attention, ExpertDown, ExpertUp, Experts, Gate, KvFormat, LatentQuery, LatentShape, LatentValue, Latents, Queries,
    RmsNorm, Route, Scoring, Shared, Span, rope_table,
};
use crate::plan::{Activation, Layout, Role};

/// What WebGPU guarantees.
const BINDING: u64 = 128 << 20;
/// Sums of thousands of products of order one, in f32.
const TOL: f64 = 5e-4;

/// A layer's mixture.
struct Mixture {
    experts: usize,
    top_k: usize,
    /// Shared experts.
    shared: usize,
    hidden: usize,
    inner: usize,
    gate: Gate,
    bias: bool,
    /// Parts that the two stacks have.
    parts: [usize; 2],
}

impl Mixture {
    /// One token through both products, and the router's choice on the way.
    fn check(&self, what: &str) {
        let Self { experts, top_k, shared, hidden, inner, gate, .. } = *self;
        let (all, layout) = (shared + experts, Layout::Q4);
        let mut b = Bench::new(1, 8);
        let up = b.experts("up", all, 2 * inner, hidden, layout, BINDING);
        let down = b.experts("down", all, hidden, inner, layout, BINDING);
        assert_eq!([up.parts.len(), down.parts.len()], self.parts, "{what}: parts");
        let router = b.router(1, experts, top_k + shared);
        // Experts lie in another order than the router's, those of a token far apart.
        let scores: Vec<f32> = (0..experts).map(|e| 4.0 * ((e * 37) % experts) as f32 / experts as f32).collect();
        b.set(router.logits.buffer, bytemuck::cast_slice(&scores));
        let route = &Route {
            router,
            experts,
            top_k,
            scoring: Scoring::Softmax,
            renormalize: true,
            factor: 1.0,
            corrected: false,
            groups: None,
            shared: Shared { entries: shared, first_slot: 0, gated: false },
            table: b.route_table(experts, |e| shared + (e * 29 + 5) % experts),
        };
        let (x, y) = (b.activation("x", 1, hidden), b.activation("y", 1, hidden));
        let norm = Some(RmsNorm { gain: b.vector("gain", hidden), eps: 1e-5 });
        let h = b.scratch("h", route.entries(), inner);
        let bias = self.bias.then(|| (b.vector("up bias", all * 2 * inner), b.vector("down bias", all * hidden)));
        let (up_bias, down_bias) = (bias.map(|b| b.0), bias.map(|b| b.1));
        let of = |w| Experts { w, first_slot: 0, first_entry: 0, count: route.entries() };
        let interleaved = if shared > 1 { shared } else { 0 };
        let step = ExpertUp { experts: of(&up), route, x, h, norm, bias: up_bias, gate, input_weight: false };
        b.plan.push([route.step("route", &b.control)]);
        b.plan.push(step.steps("up"));
        let bias = down_bias;
        let step = ExpertDown { experts: of(&down), interleaved, route, h, y, bias, weighted: true, factor: 1.0 };
        b.plan.push(step.steps("down"));
        b.check_all(&[h.buffer, y.buffer], TOL, what);
        b.check_words(router.logits.buffer, 2, router.routing_at, what);
        let routing = &b.words(router.logits.buffer)[router.routing_at..];
        let chosen: Vec<usize> = routing.iter().step_by(2).take(top_k).map(|&slot| slot as usize).collect();
        for part in &up.parts {
            let slots = part.rows.start / (2 * inner)..part.rows.end / (2 * inner);
            assert!(chosen.iter().any(|slot| slots.contains(slot)), "{what}: none of {chosen:?} is in {slots:?}");
        }
    }
}

#[test]
fn experts_of_deepseek_v2_lite() {
    let (gate, parts) = (Gate::Silu, [2, 1]);
    let lite = Mixture { experts: 64, top_k: 6, shared: 2, hidden: 2048, inner: 1408, gate, bias: false, parts };
    lite.check("64 experts");
}

#[test]
fn experts_of_gpt_oss_20b() {
    let (hidden, gate, parts) = (2880, Gate::Clamped { limit: 7.0 }, [2, 1]);
    let oss = Mixture { experts: 32, top_k: 4, shared: 0, hidden, inner: hidden, gate, bias: true, parts };
    oss.check("32 experts");
}

#[test]
fn experts_of_qwen3_30b_a3b() {
    let (gate, parts) = (Gate::Silu, [2, 1]);
    let qwen = Mixture { experts: 128, top_k: 8, shared: 0, hidden: 2048, inner: 768, gate, bias: false, parts };
    qwen.check("128 experts");
}

#[test]
fn latent_attention_of_deepseek_v2_lite() {
    for format in [KvFormat::F16, KvFormat::Q8] {
        latent_attention(format);
    }
}

fn latent_attention(format: KvFormat) {
    let position = 150;
    let shape = LatentShape { heads: 16, rank: 512, nope: 128, rotary: 64, value_dim: 128, interleaved: true };
    let mut b = Bench::new(1, 8).at(position);
    let inv_freq: Vec<f64> = (0..32).map(|i| 1e4f64.powf(-f64::from(i) / 32.0)).collect();
    let angles = rope_table(&inv_freq, 1.0, 256);
    let table = b.buffers.add("table", (angles.len() * 8) as u64, Role::Weights);
    b.set(table, bytemuck::cast_slice(&angles));
    let w = b.experts("kv_b", shape.heads, shape.head_rows(), shape.rank, Layout::Q8, BINDING);
    let x = b.activation("x", 1, shape.width() + shape.heads * 192);
    let norm = RmsNorm { gain: b.vector("gain", shape.rank), eps: 1e-6 };
    let cache = b.cache("cache", 256, shape.width(), format);
    let scratch = |b: &mut Bench, label: &str, width: usize| b.scratch(label, 1, shape.heads * width);
    let query = scratch(&mut b, "query", shape.width());
    let (latent, values) = (scratch(&mut b, "latent", shape.rank), scratch(&mut b, "values", shape.value_dim));
    let queries = Queries::InX(shape.width());
    let absorb = LatentQuery { shape, w: &w, x, queries, out: query, norm, table, cache, format };
    b.plan.push(absorb.steps("query", &b.control));
    let attention = Attention {
        q: query,
        k_cache: cache,
        v_cache: cache,
        out: latent,
        format,
        heads: shape.heads,
        kv_heads: 1,
        key_dim: shape.width(),
        value_dim: shape.rank,
        value_row: shape.width(),
        span: Span::All,
        capacity: 256,
        scale: 192f32.powf(-0.5),
        sinks: None,
    };
    let splits = attention.splits();
    let partials = Attention::declare_partials(&mut b.buffers, shape.heads, splits, shape.rank);
    b.plan.push([attention.split("attend", &b.control, partials)]);
    b.plan
        .push(LatentValue { shape, w: &w, x: Latents::Splits(partials, splits), y: values }.steps("value", &b.control));
    // An f16 that rounds the other way moves a score by a thousandth.
    b.check_all(&[query.buffer, values.buffer], 4e-3, "a decoded token");
}

#[test]
fn attention_of_gpt_oss_20b() {
    let (heads, kv_heads, dim) = (64, 8, 64);
    let cases = [(Span::Window(128), 200, 1), (Span::All, 200, 1), (Span::Window(128), 120, 20)];
    for ((span, position, tokens), format) in
        cases.into_iter().flat_map(|case| [(case, KvFormat::F16), (case, KvFormat::Q8)])
    {
        let mut b = Bench::new(tokens, 8).at(position);
        let wide = |b: &mut Bench, label: &str| -> Activation { b.activation(label, tokens, heads * dim) };
        let (q, out) = (wide(&mut b, "q"), wide(&mut b, "out"));
        let mut cache = |label: &str| b.cache(label, 256 * kv_heads, dim, format);
        let (k_cache, v_cache) = (cache("k"), cache("v"));
        let sinks = Some(b.vector("sinks", heads));
        let attention = Attention {
            q,
            k_cache,
            v_cache,
            out,
            format,
            heads,
            kv_heads,
            key_dim: dim,
            value_dim: dim,
            value_row: dim,
            span,
            capacity: 256,
            scale: 0.125,
            sinks,
        };
        let partials = Attention::declare_partials(&mut b.buffers, heads, attention.splits(), dim);
        match tokens {
            1 => b.plan.push(attention.decode("attend", &b.control, partials)),
            _ => b.plan.push([attention.whole("attend", &b.control)]),
        }
        b.check(out.buffer, 2e-5, &format!("{span:?}, {tokens} tokens, {format:?}"));
    }
}
