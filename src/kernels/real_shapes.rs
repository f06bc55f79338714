//! The kernels of mixtures and of latent attention at the shapes of layers of published models: random weights, on the GPU
//! and in f64. What an expert stack of one binding cannot hold is split, and the experts of a token lie on both sides.

use super::testing::Bench;
use super::{
    Attention, Entries, ExpertDown, ExpertUp, Gate, KvFormat, LatentAppend, LatentQuery, LatentShape, LatentValue,
    RmsNorm, Route, Scoring, Shared, Span, rope_table,
};
use crate::gpu::{Activation, Layout, Role};

/// What WebGPU guarantees.
const BINDING: u64 = 128 << 20;
/// Sums of thousands of products of order one, in f32.
const TOL: f64 = 5e-4;

/// A layer's mixture.
struct Mixture {
    experts: usize,
    top_k: usize,
    hidden: usize,
    inner: usize,
    layout: Layout,
    gate: Gate,
    bias: bool,
    /// Parts that the two stacks have.
    parts: [usize; 2],
}

impl Mixture {
    /// One token through the router's choice and both products.
    fn check(&self, what: &str) {
        let Self { experts, top_k, hidden, inner, layout, .. } = *self;
        let mut b = Bench::new(1, 8);
        let logits = b.scratch("logits", 1, experts);
        let scores: Vec<f32> = (0..experts).map(|e| 4.0 * ((e * 37) % experts) as f32 / experts as f32).collect();
        b.set(logits.buffer, bytemuck::cast_slice(&scores));
        let slots = b.buffers.add("slots", experts as u64 * 4, Role::Weights);
        // Experts lie in another order than the router's, those of a token far apart.
        let places: Vec<u32> = (0..experts as u32).map(|e| (e * 29 + 5) % experts as u32).collect();
        b.set(slots, bytemuck::cast_slice(&places));
        let mut route = Route {
            logits,
            experts,
            top_k,
            scoring: Scoring::Softmax,
            renormalize: true,
            factor: 1.0,
            correction: None,
            groups: None,
            shared: Shared::None,
            slots,
            routing: slots,
        };
        route.routing = Route::declare(&mut b.buffers, 1, top_k);
        b.plan.push([route.step("route", &b.control)]);
        b.check_words(route.routing, 2, 0, what);
        let chosen = b.words(route.routing);
        let up = b.experts("up", experts, 2 * inner, hidden, layout, BINDING);
        let down = b.experts("down", experts, hidden, inner, layout, BINDING);
        assert_eq!([up.parts.len(), down.parts.len()], self.parts, "{what}: parts");
        let second = up.parts.last().expect("it has parts").rows.start / (2 * inner);
        let sides = [0, 1].map(|side| chosen.iter().step_by(2).any(|&e| usize::from(e as usize >= second) == side));
        assert!(up.parts.len() == 1 || sides == [true; 2], "{what}: the token's experts lie in one part");

        let entries = Entries { routing: route.routing, stride: top_k, first: 0, count: top_k };
        let (x, y) = (b.activation("x", 1, hidden), b.activation("y", 1, hidden));
        let norm = Some(RmsNorm { gain: b.vector("gain", hidden), eps: 1e-5 });
        let h = b.scratch("h", top_k, inner);
        let bias =
            self.bias.then(|| (b.vector("up bias", experts * 2 * inner), b.vector("down bias", experts * hidden)));
        let (up_bias, down_bias) = (bias.map(|b| b.0), bias.map(|b| b.1));
        let step = ExpertUp { w: &up, x, h, norm, bias: up_bias, gate: self.gate, input_weight: false, entries };
        b.plan.push(step.steps("up", &b.control));
        let step = ExpertDown { w: &down, h, y, bias: down_bias, weighted: true, factor: 1.0, entries };
        b.plan.push(step.steps("down", &b.control));
        b.check_all(&[h.buffer, y.buffer], TOL, what);
    }
}

#[test]
fn experts_of_deepseek_v2_lite() {
    let lite = |experts, top_k, inner, parts| Mixture {
        experts,
        top_k,
        hidden: 2048,
        inner,
        layout: Layout::Q4,
        gate: Gate::Silu,
        bias: false,
        parts,
    };
    lite(64, 6, 1408, [2, 1]).check("64 experts");
    lite(1, 1, 2816, [1, 1]).check("the shared part");
}

#[test]
fn experts_of_gpt_oss_20b() {
    let (hidden, gate) = (2880, Gate::Clamped { limit: 7.0 });
    let oss =
        Mixture { experts: 32, top_k: 4, hidden, inner: hidden, layout: Layout::Q4, gate, bias: true, parts: [2, 1] };
    oss.check("32 experts");
}

#[test]
fn experts_of_qwen3_30b_a3b() {
    let (layout, gate) = (Layout::Q4, Gate::Silu);
    let qwen = Mixture { experts: 128, top_k: 8, hidden: 2048, inner: 768, layout, gate, bias: false, parts: [2, 1] };
    qwen.check("128 experts");
}

#[test]
fn latent_attention_of_deepseek_v2_lite() {
    let shape = LatentShape { heads: 16, rank: 512, nope: 128, rotary: 64, value_dim: 128, interleaved: true };
    let (position, format) = (150, KvFormat::F16);
    let mut b = Bench::new(1, 8).at(position);
    let inv_freq: Vec<f64> = (0..32).map(|i| 1e4f64.powf(-f64::from(i) / 32.0)).collect();
    let angles = rope_table(&inv_freq, 1.0, 256);
    let table = b.buffers.add("table", (angles.len() * 8) as u64, Role::Weights);
    b.set(table, bytemuck::cast_slice(&angles));
    let w = b.experts("kv_b", shape.heads, shape.head_rows(), shape.rank, Layout::Q8, BINDING);
    let (kv, q) = (b.activation("kv", 1, shape.width()), b.activation("q", 1, shape.heads * 192));
    let norm = RmsNorm { gain: b.vector("gain", shape.rank), eps: 1e-6 };
    let cache = b.cache("cache", 256 * shape.width(), format);
    let scratch = |b: &mut Bench, label: &str, width: usize| b.scratch(label, 1, shape.heads * width);
    let query = scratch(&mut b, "query", shape.width());
    let (latent, values) = (scratch(&mut b, "latent", shape.rank), scratch(&mut b, "values", shape.value_dim));
    let append = LatentAppend { shape, x: kv, norm, table, cache, format };
    b.plan.push([append.step("append", &b.control)]);
    b.plan.push(LatentQuery { shape, w: &w, q, out: query, table }.steps("query", &b.control));
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
        scale: 192f32.powf(-0.5),
        sinks: None,
    };
    let partials = Attention::declare_partials(&mut b.buffers, shape.heads, shape.rank);
    b.plan.push(attention.decode("attend", &b.control, partials));
    b.plan.push(LatentValue { shape, w: &w, x: latent, y: values }.steps("value", &b.control));
    // An f16 that rounds the other way moves a score by a thousandth.
    b.check_all(&[query.buffer, latent.buffer, values.buffer], 4e-3, "a decoded token");
}

#[test]
fn attention_of_gpt_oss_20b() {
    let (heads, kv_heads, dim) = (64, 8, 64);
    for (span, position, tokens) in [(Span::Window(128), 200, 1), (Span::All, 200, 1), (Span::Window(128), 120, 20)] {
        let mut b = Bench::new(tokens, 8).at(position);
        let wide = |b: &mut Bench, label: &str| -> Activation { b.activation(label, tokens, heads * dim) };
        let (q, out) = (wide(&mut b, "q"), wide(&mut b, "out"));
        let mut cache = |label: &str| b.cache(label, 256 * kv_heads * dim, KvFormat::F16);
        let (k_cache, v_cache) = (cache("k"), cache("v"));
        let sinks = Some(b.vector("sinks", heads));
        let attention = Attention {
            q,
            k_cache,
            v_cache,
            out,
            format: KvFormat::F16,
            heads,
            kv_heads,
            key_dim: dim,
            value_dim: dim,
            value_row: dim,
            span,
            scale: 0.125,
            sinks,
        };
        let partials = Attention::declare_partials(&mut b.buffers, heads, dim);
        match tokens {
            1 => b.plan.push(attention.decode("attend", &b.control, partials)),
            _ => b.plan.push([attention.prefill("attend", &b.control)]),
        }
        b.check(out.buffer, 2e-5, &format!("{span:?}, {tokens} tokens"));
    }
}
