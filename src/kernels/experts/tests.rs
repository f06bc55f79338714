//! The products of one token's experts against their references.

use super::super::grouped::{ExpertSum, GroupedMatmul, Half, Sorted};
use super::super::route::{Scoring, Shared};
use super::*;
use crate::kernels::testing::{Bench, some_layouts};

/// A mixture of so many experts, of which `top_k` are chosen and `shared` taken by all.
struct Mixture {
    experts: usize,
    top_k: usize,
    shared: usize,
    hidden: usize,
    inner: usize,
}

/// One token through decode's kernels, then `tokens` through prefill's.
fn check(layout: Layout, mixture: &Mixture, tokens: usize, variant: usize, max_binding: u64) {
    let k = |k: usize| k.next_multiple_of(layout.row_multiple());
    let &Mixture { experts, top_k, shared, .. } = mixture;
    let (hidden, inner, all) = (k(mixture.hidden), k(mixture.inner), shared + experts);
    let what = format!("{layout:?} {top_k} of {experts}+{shared}×[{inner},{hidden}], variant {variant}");
    let bias = variant == 2;
    let gate = if bias { Gate::Clamped { limit: 1.5 } } else { Gate::Silu };
    let factor = if bias { 0.6 } else { 1.0 };
    let mut b = Bench::new(tokens, 8);
    let up = b.experts("up", all, 2 * inner, hidden, layout, max_binding);
    let down = b.experts("down", all, hidden, inner, layout, max_binding);
    let x = b.activation("x", tokens + 1, hidden);
    let gain = b.vector("gain", hidden);
    let route = Route {
        router: b.router(tokens + 1, experts, top_k + shared),
        experts,
        top_k,
        scoring: Scoring::Softmax,
        renormalize: true,
        factor: 1.2,
        corrected: false,
        groups: None,
        shared: Shared { entries: shared, first_slot: 0, gated: variant == 1 },
        table: b.route_table(experts, |e| shared + (e + 2) % experts),
    };
    let count = route.entries();
    let h = b.scratch("h", (tokens + 1) * count, inner);
    let y = b.activation("y", tokens + 1, hidden);
    let (up_bias, down_bias) = (b.vector("up bias", all * 2 * inner), b.vector("down bias", all * hidden));
    let (up_bias, down_bias) = (bias.then_some(up_bias), bias.then_some(down_bias));
    let (one, interleaved) = (|a| Activation { rows: 1, ..a }, if shared > 1 { shared } else { 0 });
    let of = |w| Experts { w, first_slot: 0, first_entry: 0, count };
    let norm = (variant != 1).then_some(RmsNorm { gain, eps: 1e-5 });
    let (route, input_weight) = (&route, variant == 1);
    let first = ExpertUp { experts: of(&up), route, x: one(x), h, norm, bias: up_bias, gate, input_weight };
    b.plan.push([route.step("route", &b.control)]);
    b.plan.push(first.steps("up"));
    b.check(h.buffer, 3e-4, &what);
    let weighted = !input_weight;
    let second = ExpertDown { experts: of(&down), interleaved, route, h, y: one(y), bias: down_bias, weighted, factor };
    b.plan.push(second.steps("down"));
    b.check(y.buffer, 5e-4, &what);

    b.plan.steps.clear();
    let sorted = Sorted::declare(&mut b.buffers, tokens + 1, count, all);
    let z = b.scratch("z", (tokens + 1) * count, hidden);
    b.plan.push([route.step("route", &b.control), sorted.step("sort", route, all, &b.control)]);
    b.check_exact(sorted.buffer, &what);
    let grouped = |half, w, rows, x, y, bias, weighted| GroupedMatmul {
        half,
        experts: of(w),
        rows,
        route,
        sorted,
        x,
        y,
        bias,
        weighted,
    };
    b.plan.push(grouped(Half::Up(gate), &up, 2 * inner, x, h, up_bias, input_weight).steps("up"));
    b.check(h.buffer, 3e-4, &what);
    b.plan.push(grouped(Half::Down { interleaved }, &down, hidden, h, z, down_bias, weighted).steps("down"));
    b.check(z.buffer, 5e-4, &what);
    b.plan.push([ExpertSum { z, entries: count, y, factor }.step("sum", &b.control)]);
    b.check(y.buffer, 5e-4, &what);
}

fn mixture([experts, top_k, shared]: [usize; 3], [hidden, inner]: [usize; 2]) -> Mixture {
    Mixture { experts, top_k, shared, hidden, inner }
}

/// More entries than the sort looks at together, more slots than it has threads, and experts that nobody goes to.
#[test]
fn the_entries_of_a_long_chunk_are_sorted() {
    for (tokens, experts, top_k) in [(256, 300, 5), (205, 8, 5), (1, 4, 1), (129, 512, 8)] {
        let mut b = Bench::new(tokens, 8);
        let route = Route {
            router: b.router(tokens + 1, experts, top_k),
            experts,
            top_k,
            scoring: Scoring::Softmax,
            renormalize: true,
            factor: 1.0,
            corrected: false,
            groups: None,
            shared: Shared { entries: 0, first_slot: 0, gated: false },
            table: b.route_table(experts, |e| (e + 2) % experts),
        };
        let sorted = Sorted::declare(&mut b.buffers, tokens + 1, top_k, experts);
        b.plan.push([route.step("route", &b.control), sorted.step("sort", &route, experts, &b.control)]);
        b.check_exact(sorted.buffer, &format!("{top_k} of {experts}, {tokens} tokens"));
    }
}

#[test]
fn every_layout_over_odd_shapes() {
    for layout in Layout::ALL {
        check(layout, &mixture([3, 1, 2], [288, 160]), 19, 0, u64::MAX);
    }
    for &layout in some_layouts() {
        check(layout, &mixture([5, 3, 0], [64, 32]), 1, 0, u64::MAX);
        check(layout, &mixture([8, 2, 1], [96, 64]), 3, 1, u64::MAX);
    }
    for layout in [Layout::F32, Layout::Bf16] {
        check(layout, &mixture([6, 2, 3], [40, 33]), 4, 0, u64::MAX);
        check(layout, &mixture([4, 4, 0], [33, 1]), 37, 2, u64::MAX);
        check(layout, &mixture([1, 1, 0], [7, 31]), 4, 2, u64::MAX);
    }
}

#[test]
fn parts_hold_whole_experts() {
    check(Layout::Q4, &mixture([16, 4, 0], [96, 64]), 5, 2, 16 << 10);
    check(Layout::Bf16, &mixture([7, 3, 2], [40, 24]), 2, 0, 8 << 10);
}
