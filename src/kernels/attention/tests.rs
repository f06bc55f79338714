//! Attention against its reference: shapes, spans, formats of the cache, long contexts.

use super::*;
use crate::kernels::testing::Bench;

// Sums of up to a thousand values of order one, weighted to one.
const TOL: f64 = 2e-5;

fn check(shape: [usize; 3], position: usize, count: usize, span: Span, format: KvFormat) {
    check_values(shape, None, [position, count, position + count + 70], span, format, false);
}

/// With `latent`, values are that many leading numbers of each key.
fn check_values(
    [heads, kv_heads, key_dim]: [usize; 3],
    latent: Option<usize>,
    [position, count, capacity]: [usize; 3],
    span: Span,
    format: KvFormat,
    sinks: bool,
) {
    let value_dim = latent.unwrap_or(key_dim);
    let mut b = Bench::new(count, 8).at(position);
    let q = b.activation("q", count, heads * key_dim);
    let out = b.scratch("out", count, heads * value_dim);
    let mut cache = |label: &str| b.cache(label, capacity * kv_heads, key_dim, format);
    let k_cache = cache("k");
    let v_cache = if latent.is_some() { k_cache } else { cache("v") };
    // What nobody may look at is no number.
    let mut asked = vec![false; capacity];
    (span.first(position + 1)..position + count).for_each(|p| asked[p % capacity] = true);
    for cache in [k_cache, v_cache] {
        let words = kv_heads * format.row_words(key_dim);
        b.spoil(cache, (0..capacity).filter(|&row| !asked[row]).map(|row| row * words..(row + 1) * words));
    }
    let sinks = sinks.then(|| b.vector("sinks", heads));
    let scale = 1.0 / (key_dim as f32).sqrt();
    let value_row = key_dim;
    let attention = Attention {
        q,
        k_cache,
        v_cache,
        capacity,
        out,
        format,
        heads,
        kv_heads,
        key_dim,
        value_dim,
        value_row,
        span,
        scale,
        sinks,
    };
    let what =
        format!("{heads}/{kv_heads}×{key_dim}/{value_dim} at {position}+{count} of {capacity} {span:?} {format:?}");
    // lavapipe ends the loops of a thread after 65,535 rounds in all.
    if position + count <= 30_000 {
        b.plan.push([attention.whole("prefill", &b.control)]);
        b.check(out.buffer, TOL, &what);
        b.plan.steps.clear();
    }
    if count == 1 {
        let partials = Attention::declare_partials(&mut b.buffers, heads, attention.splits(), value_dim);
        b.plan.push(attention.decode("decode", &b.control, partials));
        b.check(out.buffer, TOL, &format!("decode {what}"));
    }
}

#[test]
fn decode_over_odd_contexts() {
    for position in [0, 1, 31, 62, 63, 64, 127, 500, 1023, 1100] {
        // One capacity, so that a kernel is compiled once for all positions.
        for span in [Span::All, Span::Window(33), Span::Chunk(100)] {
            check_values([4, 2, 24], None, [position, 1, 1171], span, KvFormat::F16, false);
        }
    }
    for shape in [[9, 3, 40], [2, 1, 64], [3, 3, 128], [4, 1, 256], [1, 1, 2], [12, 2, 80], [14, 2, 96], [20, 1, 8]] {
        check(shape, 300, 1, Span::All, KvFormat::F32);
        check(shape, 300, 1, Span::All, KvFormat::Q8);
    }
    check([2, 1, 64], 1500, 1, Span::Window(1025), KvFormat::F16);
    for span in [Span::All, Span::Window(70)] {
        check_values([4, 2, 24], None, [200, 1, 201], span, KvFormat::F16, true);
    }
}

#[test]
fn prefill_is_causal_at_any_position() {
    for (position, count) in [(0, 1), (0, 5), (0, 65), (64, 33), (127, 2)] {
        check([4, 2, 24], position, count, Span::All, KvFormat::F32);
        check([4, 2, 24], position, count, Span::Window(3), KvFormat::F16);
        check([4, 2, 24], position, count, Span::Chunk(7), KvFormat::F16);
        check_values([4, 2, 24], None, [position, count, position + count], Span::All, KvFormat::F32, true);
    }
    check_values([4, 2, 24], None, [997, 65, 99], Span::Window(33), KvFormat::F16, true); // around its cache
    for (shape, count) in [([6, 2, 256], 3), ([9, 3, 64], 7), ([32, 2, 80], 5), ([2, 2, 320], 9), ([3, 1, 6], 40)] {
        check(shape, 100, count, Span::All, KvFormat::F16);
        check(shape, 100, count, Span::Window(20), KvFormat::Q8);
        check(shape, 100, count, Span::Chunk(55), KvFormat::F32);
    }
}

/// Workgroups of 32 rows, where there are many: tiles of 32 keys.
#[test]
fn prefill_of_many_rows() {
    for (shape, count) in [([64, 64, 24], 97), ([48, 8, 64], 130)] {
        let [heads, kv_heads, dim] = shape;
        assert_eq!(tile_rows(heads / kv_heads * count, kv_heads, dim), 32);
        check(shape, 41, count, Span::All, KvFormat::F16);
    }
    check([64, 64, 6], 100, 96, Span::Window(50), KvFormat::Q8);
    check([64, 64, 22], 100, 96, Span::Chunk(55), KvFormat::F32);
    assert_eq!(tile_rows(384, 2, 64), 16, "24 workgroups would be too few");
    assert_eq!(tile_rows(2048, 8, 128), 16, "64 sums of a thread would be too many");
}

/// Caches that hold what the step's tokens see and no more, at positions that have been around several times.
#[test]
fn caches_are_rings() {
    for (span, reach) in [(Span::Window(1), 1), (Span::Window(33), 33), (Span::Window(200), 200), (Span::Chunk(70), 70)]
    {
        for (count, spare) in [(1, 0), (7, 1), (65, 2)] {
            let capacity = reach - 1 + count + spare;
            for position in [0, capacity - 1, 3 * capacity - 2, 997] {
                let format = [KvFormat::F16, KvFormat::Q8, KvFormat::F32][spare.min(2)];
                check_values([4, 2, 24], None, [position, count, capacity], span, format, count == 7);
            }
        }
    }
    check_values([4, 2, 24], None, [1000, 1, 131], Span::Window(129), KvFormat::F16, true);
    check_values([4, 2, 24], None, [1000, 1, 700], Span::Chunk(700), KvFormat::F16, true);
}

/// The first token, and as far as models go: positions of more than 16 bits, 64 splits.
#[test]
fn the_end_of_a_long_context() {
    for (position, format) in [(65_535, KvFormat::F16), (65_600, KvFormat::Q8), (131_071, KvFormat::Q8)] {
        check_values([6, 1, 24], None, [position, 1, 131_072], Span::All, format, false);
    }
    check_values([6, 1, 24], None, [29_900, 20, 131_072], Span::All, KvFormat::F16, false);
    check_values([6, 1, 24], None, [0, 1, 131_072], Span::All, KvFormat::F16, false);
    assert_eq!(splits(12, 2, 128, 4096), 64, "a tile each");
    assert_eq!(splits(12, 2, 128, 131_072), 64, "of 2,048 keys each");
    assert_eq!(splits(32, 8, 128, 8192), 24, "192 workgroups");
    assert_eq!(splits(64, 8, 64, 8192), 32, "four workgroups a head");
    assert_eq!(splits(16, 1, 512, 4096), 32, "heads of one latent in two tiles");
    assert_eq!(splits(4, 1, 64, 64), 1);
}

/// Heads of DeepSeek-V2's shape, and of smaller ones.
#[test]
fn one_cache_holds_keys_and_values() {
    for (heads, key_dim, value_dim) in [(4, 48, 32), (3, 56, 40), (2, 576, 512), (20, 576, 512)] {
        check_values([heads, 1, key_dim], Some(value_dim), [130, 1, 131], Span::All, KvFormat::F16, false);
        check_values([heads, 1, key_dim], Some(value_dim), [3, 5, 8], Span::All, KvFormat::F32, false);
        check_values([heads, 1, key_dim], Some(value_dim), [130, 1, 131], Span::All, KvFormat::Q8, false);
        check_values([heads, 1, key_dim], Some(value_dim), [70, 3, 80], Span::All, KvFormat::Q8, false);
    }
}

/// Heads can be shared out in any way: each makes the same bits.
#[test]
fn ranges_of_heads_make_the_same_bits() {
    for (count, position, splits) in [(1, 300, true), (7, 100, false), (70, 30, false)] {
        let (shape, capacity) = ([6, 2, 24], position + count);
        let mut b = Bench::new(count, 8).at(position);
        let [heads, kv_heads, dim] = shape;
        let q = b.activation("q", count, heads * dim);
        let out = b.scratch("out", count, heads * dim);
        let [k_cache, v_cache] = ["k", "v"].map(|label| b.cache(label, capacity * kv_heads, dim, KvFormat::F16));
        let attention = Attention {
            q,
            k_cache,
            v_cache,
            capacity,
            out,
            format: KvFormat::F16,
            heads,
            kv_heads,
            key_dim: dim,
            value_dim: dim,
            value_row: dim,
            span: Span::All,
            scale: 0.2,
            sinks: None,
        };
        let partials = Attention::declare_partials(&mut b.buffers, heads, attention.splits(), dim);
        let step = match splits {
            true => attention.split("split", &b.control, partials),
            false => attention.whole("whole", &b.control),
        };
        let memory = b.filled();
        let whole = cpu::heads(&step, &memory, 0..heads);
        for cut in 0..=heads {
            let mut both = cpu::heads(&step, &memory, 0..cut);
            both.extend(cpu::heads(&step, &memory, cut..heads));
            assert_eq!(both.len(), whole.len());
            assert!(both.iter().all(|made| whole.contains(made)), "{count} tokens, cut at {cut}");
        }
    }
}
