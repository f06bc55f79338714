//! The steps that multi-head latent attention needs beside ordinary attention: writing a token's latent to the cache,
//! turning a query into the latent's space (W_uk), and turning the result of attention back into values (W_uv).
//!
//! The step that converts queries also writes the cache. The step of W_uv also reduces the splits of decode's attention.

mod cpu;

use super::attention::used_splits;
use super::matvec::lanes;
use super::small::{CAPACITY, K, LATENT_HEADS, LATENT_NOPE, LATENT_ROTARY, LATENT_VALUES, Maker, POSITION, Small};
use super::{Control, CpuMemory, Kernel, KvFormat, Params, RmsNorm, State, on_processors, params, rope_table, shader};
use crate::plan::{Access, Activation, Binding, BufferId, GROUP, Layout, Matrix, Part, Step};

/// See `shaders/latent_query.wgsl`.
pub static QUERY: Kernel = Kernel {
    name: "latent_query",
    shader: shader!("latent_query", "state", "block", "rotate", "kv", "kv_write"),
    reads_weights: true,
    variants: &[],
    params: QueryParams::FIELDS,
    reference: query_reference,
    cpu: on_processors(cpu::query),
    small: Some(small_query),
};
/// See `shaders/latent_value.wgsl`.
pub static VALUE: Kernel = Kernel {
    name: "latent_value",
    shader: shader!("latent_value", "state", "block", "share", "reduce"),
    reads_weights: true,
    variants: &[shader!(Subgroups "latent_value", "state", "block", "share", "../variants/reduce")],
    params: ValueParams::FIELDS,
    reference: value_reference,
    cpu: on_processors(cpu::value),
    small: Some(small_value),
};

params!(QueryParams {
    groups: u32,
    rank: u32,
    nope: u32,
    rotary: u32,
    head_rows: u32,
    first_head: u32,
    heads: u32,
    q_from: u32,
    x_stride: u32,
    out_stride: u32,
    eps: f32,
});
params!(ValueParams {
    groups: u32,
    rank: u32,
    value_dim: u32,
    nope: u32,
    head_rows: u32,
    first_head: u32,
    x_stride: u32,
    y_stride: u32,
});

/// Sizes of latent attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatentShape {
    /// Heads.
    pub heads: usize,
    /// Values of the latent, a multiple of 4.
    pub rank: usize,
    /// Values of a query head without positions.
    pub nope: usize,
    /// Values of the RoPE part of a query head, and of the shared key; even.
    pub rotary: usize,
    /// Values of a head.
    pub value_dim: usize,
    /// Rotate neighbours; otherwise halves.
    pub interleaved: bool,
}

impl LatentShape {
    /// Values kept of a token.
    pub fn width(&self) -> usize {
        self.rank + self.rotary
    }

    /// Rows of W_ukv for each head: W_uk, then W_uv.
    pub fn head_rows(&self) -> usize {
        self.nope + self.value_dim
    }

    /// Rows that a matrix has for each head.
    fn rows_of(&self, w: &Matrix) -> usize {
        w.rows / self.heads
    }

    fn rope_constant(&self) -> (&'static str, f64) {
        ("INTERLEAVED", f64::from(u8::from(self.interleaved)))
    }
}

/// Where the queries lie, heads of nope + rotary values: in rows of one of two activations, after so many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// Beside the latent.
    InX(usize),
    /// Beside what is made of them.
    InOut(usize),
}

/// Queries to compare with the cache, and the step's latents in the cache.
#[derive(Debug, Clone, Copy)]
pub struct LatentQuery<'a> {
    /// Sizes.
    pub shape: LatentShape,
    /// `[heads · (nope + value_dim), rank]`, or W_uk alone; parts hold whole heads.
    pub w: &'a Matrix,
    /// Rows begin with rank + rotary values: the latent and the RoPE part of the key.
    pub x: Activation,
    /// Where the queries are.
    pub queries: Queries,
    /// Rows begin with heads · (rank + rotary) values, which are made.
    pub out: Activation,
    /// Norm of the latent.
    pub norm: RmsNorm,
    /// cos and sin, as [`rope_table`](super::rope_table) makes them.
    pub table: BufferId,
    /// `[context]` rows of rank + rotary.
    pub cache: BufferId,
    /// Numbers of the cache.
    pub format: KvFormat,
}

/// The latents that heads attended to.
#[derive(Debug, Clone, Copy)]
pub enum Latents {
    /// `[T, heads · rank]`
    Rows(Activation),
    /// What so many splits of decode's attention left, at most 64.
    Splits(BufferId, usize),
}

/// Values of the heads from latents.
#[derive(Debug, Clone, Copy)]
pub struct LatentValue<'a> {
    /// Sizes.
    pub shape: LatentShape,
    /// As in [`LatentQuery`], or W_uv alone.
    pub w: &'a Matrix,
    /// What the heads attended to.
    pub x: Latents,
    /// `[T, heads · value_dim]`
    pub y: Activation,
}

fn read(slot: u32, buffer: BufferId) -> Binding {
    Binding { slot, buffer, access: Access::Read }
}

fn write(slot: u32, buffer: BufferId) -> Binding {
    Binding { slot, buffer, access: Access::ReadWrite }
}

fn weights(control: &Control, part: &Part) -> Vec<Binding> {
    let mut bindings = vec![read(1, control.state), read(2, part.codes)];
    bindings.extend(part.scales.map(|s| read(3, s)));
    bindings
}

impl LatentQuery<'_> {
    /// One step for each part of the matrix; the first also appends to the cache.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        let shape = self.shape;
        assert_eq!(self.w.k, shape.rank, "{label}: rank");
        assert!(shape.rank.is_multiple_of(4) && shape.rotary.is_multiple_of(2), "{label}: {shape:?}");
        let q_width = shape.heads * (shape.nope + shape.rotary);
        let (q_from, q_in, taken) = match self.queries {
            Queries::InX(from) => (from, self.x, shape.width()),
            Queries::InOut(from) => (from, self.out, shape.heads * shape.width()),
        };
        assert!(taken <= q_from && q_from + q_width <= q_in.width, "{label}: queries at {q_from}");
        let head_rows = shape.rows_of(self.w);
        self.w.parts.iter().map(move |part| {
            let mut bindings = weights(control, part);
            bindings.extend([
                read(4, self.x.buffer),
                write(5, self.out.buffer),
                read(6, self.table),
                read(7, self.norm.gain.buffer),
                write(8, self.cache),
            ]);
            let heads = part.rows.len() / head_rows;
            let params = QueryParams {
                groups: Layout::groups(shape.rank) as u32,
                rank: shape.rank as u32,
                nope: shape.nope as u32,
                rotary: shape.rotary as u32,
                head_rows: head_rows as u32,
                first_head: (part.rows.start / head_rows) as u32,
                heads: heads as u32,
                q_from: q_from as u32,
                x_stride: self.x.stride() as u32,
                out_stride: self.out.stride() as u32,
                eps: self.norm.eps,
            };
            let appends = part.rows.start == 0;
            let in_out = ("Q_IN_OUT", f64::from(u8::from(matches!(self.queries, Queries::InOut(_)))));
            Step {
                label: label.to_owned(),
                kernel: QUERY.name,
                shader: QUERY.shader.of(part.layout),
                constants: vec![shape.rope_constant(), self.format.constant(), in_out],
                bindings,
                params: params.words(),
                grid: [(heads + usize::from(appends)) as u32, self.x.rows as u32, 1],
                detail: format!(
                    "w[{heads}×{},{}]:{}ᵀ q[{},{heads}×({}+{})]{}",
                    shape.nope,
                    shape.rank,
                    part.layout.name(),
                    self.x.rows,
                    shape.nope,
                    shape.rotary,
                    if appends { format!(" → cache:{:?}", self.format) } else { String::new() }
                ),
            }
        })
    }
}

impl LatentValue<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        let shape = self.shape;
        let (x, x_stride, splits) = match self.x {
            Latents::Rows(x) => {
                assert_eq!(x.width, shape.heads * shape.rank, "{label}: width of x");
                (x.buffer, x.stride(), 0)
            }
            Latents::Splits(partials, splits) => (partials, 0, splits),
        };
        assert_eq!(self.w.k, shape.rank, "{label}: rank");
        let head_rows = shape.rows_of(self.w);
        self.w.parts.iter().map(move |part| {
            let lanes = lanes(Layout::groups(shape.rank));
            let mut bindings = weights(control, part);
            bindings.extend([read(4, x), write(5, self.y.buffer), read(6, x)]);
            let params = ValueParams {
                groups: Layout::groups(shape.rank) as u32,
                rank: shape.rank as u32,
                value_dim: shape.value_dim as u32,
                nope: (head_rows - shape.value_dim) as u32,
                head_rows: head_rows as u32,
                first_head: (part.rows.start / head_rows) as u32,
                x_stride: x_stride as u32,
                y_stride: self.y.stride() as u32,
            };
            let heads = part.rows.len() / head_rows;
            Step {
                label: label.to_owned(),
                kernel: VALUE.name,
                shader: VALUE.shader.of(part.layout),
                constants: vec![
                    ("LANES", f64::from(lanes)),
                    ("NORM", 0.0),
                    ("PARTIALS", f64::from(u8::from(splits > 0))),
                    ("SPLITS", splits.max(1) as f64),
                ],
                bindings,
                params: params.words(),
                grid: [(shape.value_dim as u32).div_ceil(4 * 64 / lanes), heads as u32, self.y.rows as u32],
                detail: format!(
                    "w[{heads}×{},{}]:{}{}",
                    shape.value_dim,
                    shape.rank,
                    part.layout.name(),
                    if splits > 0 { format!(" of {splits} splits") } else { String::new() }
                ),
            }
        })
    }
}

/// A rotated vector of values, in f64.
fn rotate(step: &Step, memory: &CpuMemory, table: u32, position: usize, x: &[f64]) -> Vec<f64> {
    let pairs = x.len() / 2;
    let at = |row: usize, pair: usize| {
        let table: &[[f32; 2]] = bytemuck::cast_slice(memory.words(step.buffer(table)));
        let [c, s] = table[row * pairs + pair];
        (f64::from(c), f64::from(s))
    };
    let mut out = x.to_vec();
    for pair in 0..pairs {
        let (a, b) = if step.constant("INTERLEAVED") == 1.0 { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs) };
        let ((c0, s0), (c1, s1)) = (at(position % 256, pair), at(256 + position / 256, pair));
        let (c, s) = (c0 * c1 - s0 * s1, s0 * c1 + c0 * s1);
        (out[a], out[b]) = (x[a] * c - x[b] * s, x[b] * c + x[a] * s);
    }
    out
}

fn row(memory: &CpuMemory, buffer: BufferId, start: usize, len: usize) -> Vec<f64> {
    memory.floats(buffer)[start..start + len].iter().map(|&v| v.into()).collect()
}

/// Row `r` of the step's weights.
fn weight_row(step: &Step, memory: &CpuMemory, layout: Layout, k: usize, r: usize) -> Vec<f32> {
    let codes = memory.bytes(step.buffer(2));
    let scales = if layout.has_scales() { memory.bytes(step.buffer(3)) } else { &[] };
    let (cb, sb) = (layout.code_row_bytes(k), layout.scale_row_bytes(k));
    layout.dequantize_row(k, &codes[r * cb..][..cb], &scales[r * sb..][..sb])
}

fn query_reference(step: &Step, memory: &mut CpuMemory) {
    let p = QueryParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let layout = step.layout();
    let (rank, nope, rotary) = (p.rank as usize, p.nope as usize, p.rotary as usize);
    for t in 0..state.count as usize {
        let position = state.position as usize + t;
        for local in 0..p.heads as usize {
            let head = p.first_head as usize + local;
            let (from, stride) = if step.constant("Q_IN_OUT") == 1.0 { (5, p.out_stride) } else { (4, p.x_stride) };
            let start = t * stride as usize + p.q_from as usize + head * (nope + rotary);
            let q = row(memory, step.buffer(from), start, nope + rotary);
            let mut out = vec![0.0; rank];
            for (i, &v) in q[..nope].iter().enumerate() {
                let w = weight_row(step, memory, layout, rank, local * p.head_rows as usize + i);
                out.iter_mut().zip(w).for_each(|(y, w)| *y += v * f64::from(w));
            }
            out.extend(rotate(step, memory, 6, position, &q[nope..]));
            let at = t * p.out_stride as usize + head * (rank + rotary);
            let to = &mut memory.floats_mut(step.buffer(5))[at..];
            to.iter_mut().zip(out).for_each(|(y, v)| *y = v as f32);
        }
        if step.grid[0] > p.heads {
            let x = row(memory, step.buffer(4), t * p.x_stride as usize, rank + rotary);
            let mean = x[..rank].iter().map(|v| v * v).sum::<f64>() / rank as f64;
            let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
            let gain = row(memory, step.buffer(7), 0, rank);
            let mut kept: Vec<f64> = x[..rank].iter().zip(&gain).map(|(v, g)| v * g * scale).collect();
            kept.extend(rotate(step, memory, 6, position, &x[rank..]));
            KvFormat::of(step).put(memory, step.buffer(8), position, &kept);
        }
    }
}

fn value_reference(step: &Step, memory: &mut CpuMemory) {
    let p = ValueParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let layout = step.layout();
    let (rank, value_dim) = (p.rank as usize, p.value_dim as usize);
    for t in 0..state.count as usize {
        for local in 0..step.grid[1] as usize {
            let head = p.first_head as usize + local;
            let x = if step.constant("PARTIALS") == 0.0 {
                row(memory, step.buffer(4), t * p.x_stride as usize + head * rank, rank)
            } else {
                let splits = step.constant("SPLITS") as usize;
                let used = used_splits(state.position as usize + 1, splits);
                let parts: Vec<Vec<f64>> = (0..used)
                    .map(|s| row(memory, step.buffer(4), (head * splits + s) * (rank + 2), rank + 2))
                    .collect();
                let maximum = parts.iter().map(|p| p[rank]).fold(f64::NEG_INFINITY, f64::max);
                let share = |p: &[f64]| (p[rank] - maximum).exp();
                let denominator: f64 = parts.iter().map(|p| p[rank + 1] * share(p)).sum();
                (0..rank).map(|i| parts.iter().map(|p| p[i] * share(p)).sum::<f64>() / denominator).collect()
            };
            for i in 0..value_dim {
                let w = weight_row(step, memory, layout, rank, local * p.head_rows as usize + p.nope as usize + i);
                let v: f64 = w.iter().zip(&x).map(|(&w, x)| f64::from(w) * x).sum();
                memory.floats_mut(step.buffer(5))[t * p.y_stride as usize + head * value_dim + i] = v as f32;
            }
        }
    }
}

fn small_query(maker: &mut Maker, step: &Step) -> Small {
    let format = KvFormat::of(step);
    let (width, queries) = (K + LATENT_ROTARY, LATENT_HEADS * (LATENT_NOPE + LATENT_ROTARY));
    let in_out = step.constant("Q_IN_OUT") == 1.0;
    let q_from = if in_out { LATENT_HEADS * width } else { width };
    let [x_stride, out_stride] =
        if in_out { [width, q_from + queries] } else { [q_from + queries, LATENT_HEADS * width] };
    let frequencies: Vec<f64> = (0..LATENT_ROTARY / 2).map(|i| 0.1f64.powi(i as i32)).collect();
    maker.state(POSITION, 2);
    maker.weights(step.layout(), LATENT_HEADS * (LATENT_NOPE + LATENT_VALUES), K);
    maker.floats(4, 2 * x_stride);
    maker.floats(5, 2 * out_stride);
    maker.bytes(6, bytemuck::cast_slice(&rope_table(&frequencies, 1.0, CAPACITY)).to_vec());
    maker.floats(7, K);
    maker.zeros(8, CAPACITY * format.row_words(width));
    let params = QueryParams {
        groups: (K / GROUP) as u32,
        rank: K as u32,
        nope: LATENT_NOPE as u32,
        rotary: LATENT_ROTARY as u32,
        head_rows: (LATENT_NOPE + LATENT_VALUES) as u32,
        first_head: 0,
        heads: LATENT_HEADS as u32,
        q_from: q_from as u32,
        x_stride: x_stride as u32,
        out_stride: out_stride as u32,
        eps: QueryParams::of(step).eps,
    };
    (params.words(), [LATENT_HEADS as u32 + 1, 2, 1], vec![(5, None), (8, Some((format, width)))])
}

fn small_value(maker: &mut Maker, step: &Step) -> Small {
    let partials = step.constant("PARTIALS") == 1.0;
    let (splits, tokens) = (step.constant("SPLITS") as usize, if partials { 1 } else { 2 });
    maker.state(POSITION, tokens);
    maker.weights(step.layout(), LATENT_HEADS * (LATENT_NOPE + LATENT_VALUES), K);
    if partials {
        maker.partials(4, LATENT_HEADS * splits, K);
    } else {
        maker.floats(4, tokens * LATENT_HEADS * K);
    }
    maker.zeros(5, tokens * LATENT_HEADS * LATENT_VALUES);
    maker.zeros(6, 4);
    let params = ValueParams {
        groups: (K / GROUP) as u32,
        rank: K as u32,
        value_dim: LATENT_VALUES as u32,
        nope: LATENT_NOPE as u32,
        head_rows: (LATENT_NOPE + LATENT_VALUES) as u32,
        first_head: 0,
        x_stride: (LATENT_HEADS * K) as u32,
        y_stride: (LATENT_HEADS * LATENT_VALUES) as u32,
    };
    let rows = 4 * 64 / step.constant("LANES") as u32;
    (params.words(), [(LATENT_VALUES as u32).div_ceil(rows), LATENT_HEADS as u32, tokens as u32], vec![(5, None)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::rope_table;
    use crate::kernels::testing::Bench;
    use crate::plan::Role;

    fn check(layout: Layout, shape: LatentShape, [position, tokens]: [usize; 2], format: KvFormat, max_binding: u64) {
        let what = format!("{layout:?} {shape:?} at {position}+{tokens} {format:?}");
        let context = position + tokens + 1;
        let mut b = Bench::new(tokens, 8).at(position);
        let inv_freq: Vec<f64> = (0..shape.rotary / 2).map(|i| 0.8f64.powi(i as i32)).collect();
        let table = rope_table(&inv_freq, 1.1, context);
        let table_buffer = b.buffers.add("table", (table.len() * 8) as u64, Role::Weights);
        b.set(table_buffer, bytemuck::cast_slice(&table));
        let w = b.experts("w", shape.heads, shape.head_rows(), shape.rank, layout, max_binding);
        let norm = RmsNorm { gain: b.vector("gain", shape.rank), eps: 1e-5 };
        let (q_width, out_width) = (shape.heads * (shape.nope + shape.rotary), shape.heads * shape.width());
        for in_out in [false, true] {
            // Queries after a gap, in either of the two.
            let from = if in_out { out_width } else { shape.width() } + 5;
            let x = b.activation("x", tokens + 1, if in_out { shape.width() } else { from + q_width });
            let out = b.activation("out", tokens + 1, if in_out { from + q_width } else { out_width });
            let queries = if in_out { Queries::InOut(from) } else { Queries::InX(from) };
            let cache = b.buffers.add("cache", format.bytes(context, shape.width()), Role::Kv);
            let query = LatentQuery { shape, w: &w, x, queries, out, norm, table: table_buffer, cache, format };
            b.plan.steps.clear();
            b.plan.push(query.steps("query", &b.control));
            b.check(out.buffer, 3e-4, &what);
            b.check_kv(cache, shape.width(), format, &what);
        }
        b.plan.steps.clear();
        let x = b.activation("latents", tokens + 1, shape.heads * shape.rank);
        let y = b.scratch("y", tokens + 1, shape.heads * shape.value_dim);
        b.plan.push(LatentValue { shape, w: &w, x: Latents::Rows(x), y }.steps("value", &b.control));
        b.check(y.buffer, 3e-4, &what);
        b.plan.steps.clear();
        let splits = 5;
        let partials = b.partials(shape.heads, splits, shape.rank);
        let y = Activation { rows: 1, ..y };
        b.plan.push(LatentValue { shape, w: &w, x: Latents::Splits(partials, splits), y }.steps("value", &b.control));
        b.one_token();
        b.check(y.buffer, 3e-4, &what);
    }

    #[test]
    fn every_layout_and_odd_sizes() {
        let shape = |heads, rank, nope, rotary, value_dim, interleaved| LatentShape {
            heads,
            rank,
            nope,
            rotary,
            value_dim,
            interleaved,
        };
        for layout in Layout::ALL {
            let rank = 32usize.next_multiple_of(layout.row_multiple());
            let format = if layout.has_scales() { KvFormat::Q8 } else { KvFormat::F16 };
            check(layout, shape(4, rank, 24, 16, 20, true), [3, 2], format, u64::MAX);
        }
        for odd in [shape(3, 40, 33, 6, 7, false), shape(1, 4, 1, 2, 1, true), shape(2, 512, 16, 64, 36, true)] {
            check(Layout::Bf16, odd, [300, 3], KvFormat::F32, u64::MAX);
            check(Layout::Bf16, odd, [300, 3], KvFormat::Q8, u64::MAX);
        }
        check(Layout::F32, shape(16, 64, 24, 16, 20, true), [0, 2], KvFormat::F16, 32 << 10);
    }
}
