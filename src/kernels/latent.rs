//! The parts of DeepSeek's latent attention that other attention has not: what is kept of a token, a query that can be
//! compared with it, and values made of it.

use super::matvec::{lanes, layout_of};
use super::{Control, CpuMemory, Kernel, KvFormat, Params, RmsNorm, State, layout_shaders, params, shader};
use crate::gpu::{Access, Activation, Binding, BufferId, Layout, Matrix, Part, Shader, Step};

static APPEND_SHADERS: [Shader; 1] = [shader!("latent_append", "state", "rotate")];
static QUERY_SHADERS: [Shader; 10] = layout_shaders!("latent_query", "rotate");
static VALUE_SHADERS: [Shader; 10] = layout_shaders!("latent_value", "share");

/// See `shaders/latent_append.wgsl`.
pub static APPEND: Kernel = Kernel {
    name: "latent_append",
    shaders: &APPEND_SHADERS,
    params: AppendParams::FIELDS,
    reference: append_reference,
};
/// See `shaders/latent_query.wgsl`.
pub static QUERY: Kernel =
    Kernel { name: "latent_query", shaders: &QUERY_SHADERS, params: QueryParams::FIELDS, reference: query_reference };
/// See `shaders/latent_value.wgsl`.
pub static VALUE: Kernel =
    Kernel { name: "latent_value", shaders: &VALUE_SHADERS, params: ValueParams::FIELDS, reference: value_reference };

params!(AppendParams { rank: u32, rotary: u32, stride: u32, eps: f32 });
params!(QueryParams {
    groups: u32,
    rank: u32,
    nope: u32,
    rotary: u32,
    head_rows: u32,
    first_head: u32,
    q_stride: u32,
    out_stride: u32,
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
    /// Values of a query head that know no position.
    pub nope: usize,
    /// Values of a query head, and of the shared key, that turn; even.
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

/// Appends the step's latents to the cache.
#[derive(Debug, Clone, Copy)]
pub struct LatentAppend {
    /// Sizes.
    pub shape: LatentShape,
    /// `[T, rank + rotary]`
    pub x: Activation,
    /// Norm of the latent.
    pub norm: RmsNorm,
    /// cos and sin, as [`rope_table`](super::rope_table) makes them.
    pub table: BufferId,
    /// `[context, rank + rotary]`
    pub cache: BufferId,
    /// Numbers of the cache.
    pub format: KvFormat,
}

/// Queries to compare with the cache.
#[derive(Debug, Clone, Copy)]
pub struct LatentQuery<'a> {
    /// Sizes.
    pub shape: LatentShape,
    /// `[heads · (nope + value_dim), rank]`, or W_uk alone; parts hold whole heads.
    pub w: &'a Matrix,
    /// `[T, heads · (nope + rotary)]`
    pub q: Activation,
    /// `[T, heads · (rank + rotary)]`
    pub out: Activation,
    /// cos and sin.
    pub table: BufferId,
}

/// Values of the heads from latents.
#[derive(Debug, Clone, Copy)]
pub struct LatentValue<'a> {
    /// Sizes.
    pub shape: LatentShape,
    /// As in [`LatentQuery`], or W_uv alone.
    pub w: &'a Matrix,
    /// `[T, heads · rank]`
    pub x: Activation,
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

impl LatentAppend {
    /// The step.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        let shape = self.shape;
        assert_eq!(self.x.width, shape.width(), "{label}: width of x");
        assert!(shape.rank.is_multiple_of(4) && shape.rotary.is_multiple_of(2), "{label}: {shape:?}");
        let params = AppendParams {
            rank: shape.rank as u32,
            rotary: shape.rotary as u32,
            stride: self.x.stride() as u32,
            eps: self.norm.eps,
        };
        Step {
            label: label.to_owned(),
            kernel: APPEND.name,
            shader: &APPEND_SHADERS[0],
            constants: vec![self.format.constant(), shape.rope_constant()],
            bindings: vec![
                read(1, control.state),
                read(2, self.x.buffer),
                read(3, self.table),
                read(4, self.norm.gain.buffer),
                write(5, self.cache),
            ],
            params: params.words(),
            grid: [self.x.rows as u32, 1, 1],
            detail: format!("[{},{}+{}] → cache:{:?}", self.x.rows, shape.rank, shape.rotary, self.format),
        }
    }
}

impl LatentQuery<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        let shape = self.shape;
        assert_eq!(self.w.k, shape.rank, "{label}: rank");
        assert_eq!(self.q.width, shape.heads * (shape.nope + shape.rotary), "{label}: width of q");
        assert_eq!(self.out.width, shape.heads * shape.width(), "{label}: width of the output");
        let head_rows = shape.rows_of(self.w);
        self.w.parts.iter().map(move |part| {
            let mut bindings = weights(control, part);
            bindings.extend([read(4, self.q.buffer), write(5, self.out.buffer), read(6, self.table)]);
            let params = QueryParams {
                groups: Layout::groups(shape.rank) as u32,
                rank: shape.rank as u32,
                nope: shape.nope as u32,
                rotary: shape.rotary as u32,
                head_rows: head_rows as u32,
                first_head: (part.rows.start / head_rows) as u32,
                q_stride: self.q.stride() as u32,
                out_stride: self.out.stride() as u32,
            };
            let heads = part.rows.len() / head_rows;
            Step {
                label: label.to_owned(),
                kernel: QUERY.name,
                shader: &QUERY_SHADERS[part.layout as usize],
                constants: vec![shape.rope_constant()],
                bindings,
                params: params.words(),
                grid: [heads as u32, self.q.rows as u32, 1],
                detail: format!(
                    "w[{heads}×{},{}]:{}ᵀ q[{},{heads}×({}+{})]",
                    shape.nope,
                    shape.rank,
                    part.layout.name(),
                    self.q.rows,
                    shape.nope,
                    shape.rotary
                ),
            }
        })
    }
}

impl LatentValue<'_> {
    /// One step for each part of the matrix.
    pub fn steps<'a>(&'a self, label: &'a str, control: &'a Control) -> impl Iterator<Item = Step> + 'a {
        let shape = self.shape;
        assert_eq!((self.w.k, self.x.width), (shape.rank, shape.heads * shape.rank), "{label}: widths");
        let head_rows = shape.rows_of(self.w);
        self.w.parts.iter().map(move |part| {
            let lanes = lanes(Layout::groups(shape.rank));
            let mut bindings = weights(control, part);
            bindings.extend([read(4, self.x.buffer), write(5, self.y.buffer), read(6, self.x.buffer)]);
            let params = ValueParams {
                groups: Layout::groups(shape.rank) as u32,
                rank: shape.rank as u32,
                value_dim: shape.value_dim as u32,
                nope: (head_rows - shape.value_dim) as u32,
                head_rows: head_rows as u32,
                first_head: (part.rows.start / head_rows) as u32,
                x_stride: self.x.stride() as u32,
                y_stride: self.y.stride() as u32,
            };
            let heads = part.rows.len() / head_rows;
            Step {
                label: label.to_owned(),
                kernel: VALUE.name,
                shader: &VALUE_SHADERS[part.layout as usize],
                constants: vec![("LANES", f64::from(lanes)), ("NORM", 0.0)],
                bindings,
                params: params.words(),
                grid: [(shape.value_dim as u32).div_ceil(4 * 64 / lanes), heads as u32, self.x.rows as u32],
                detail: format!("w[{heads}×{},{}]:{}", shape.value_dim, shape.rank, part.layout.name()),
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

fn append_reference(step: &Step, memory: &mut CpuMemory) {
    let p = AppendParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let (rank, rotary) = (p.rank as usize, p.rotary as usize);
    for t in 0..state.count as usize {
        let x = row(memory, step.buffer(2), t * p.stride as usize, rank + rotary);
        let mean = x[..rank].iter().map(|v| v * v).sum::<f64>() / rank as f64;
        let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
        let position = state.position as usize + t;
        let gain = row(memory, step.buffer(4), 0, rank);
        let mut kept: Vec<f64> = x[..rank].iter().zip(&gain).map(|(v, g)| v * g * scale).collect();
        kept.extend(rotate(step, memory, 3, position, &x[rank..]));
        let first = position * (rank + rotary);
        let words = memory.words_mut(step.buffer(5));
        match KvFormat::of(step) {
            KvFormat::F32 => {
                let out: &mut [f32] = &mut bytemuck::cast_slice_mut(words)[first..];
                out.iter_mut().zip(kept).for_each(|(y, v)| *y = v as f32);
            }
            KvFormat::F16 => {
                let out: &mut [half::f16] = &mut bytemuck::cast_slice_mut(words)[first..];
                out.iter_mut().zip(kept).for_each(|(y, v)| *y = half::f16::from_f64(v));
            }
        }
    }
}

fn query_reference(step: &Step, memory: &mut CpuMemory) {
    let p = QueryParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let layout = layout_of(step, &QUERY_SHADERS);
    let (rank, nope, rotary) = (p.rank as usize, p.nope as usize, p.rotary as usize);
    for t in 0..state.count as usize {
        for local in 0..step.grid[0] as usize {
            let head = p.first_head as usize + local;
            let q = row(memory, step.buffer(4), t * p.q_stride as usize + head * (nope + rotary), nope + rotary);
            let mut out = vec![0.0; rank];
            for (i, &v) in q[..nope].iter().enumerate() {
                let w = weight_row(step, memory, layout, rank, local * p.head_rows as usize + i);
                out.iter_mut().zip(w).for_each(|(y, w)| *y += v * f64::from(w));
            }
            out.extend(rotate(step, memory, 6, state.position as usize + t, &q[nope..]));
            let at = t * p.out_stride as usize + head * (rank + rotary);
            let to = &mut memory.floats_mut(step.buffer(5))[at..];
            to.iter_mut().zip(out).for_each(|(y, v)| *y = v as f32);
        }
    }
}

fn value_reference(step: &Step, memory: &mut CpuMemory) {
    let p = ValueParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let layout = layout_of(step, &VALUE_SHADERS);
    let (rank, value_dim) = (p.rank as usize, p.value_dim as usize);
    for t in 0..state.count as usize {
        for local in 0..step.grid[1] as usize {
            let head = p.first_head as usize + local;
            let x = row(memory, step.buffer(4), t * p.x_stride as usize + head * rank, rank);
            for i in 0..value_dim {
                let w = weight_row(step, memory, layout, rank, local * p.head_rows as usize + p.nope as usize + i);
                let v: f64 = w.iter().zip(&x).map(|(&w, x)| f64::from(w) * x).sum();
                memory.floats_mut(step.buffer(5))[t * p.y_stride as usize + head * value_dim + i] = v as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Role;
    use crate::kernels::rope_table;
    use crate::kernels::testing::Bench;

    fn check(layout: Layout, shape: LatentShape, [position, tokens]: [usize; 2], format: KvFormat, max_binding: u64) {
        let what = format!("{layout:?} {shape:?} at {position}+{tokens} {format:?}");
        let context = position + tokens + 1;
        let mut b = Bench::new(tokens, 8).at(position);
        let inv_freq: Vec<f64> = (0..shape.rotary / 2).map(|i| 0.8f64.powi(i as i32)).collect();
        let table = rope_table(&inv_freq, 1.1, context);
        let table_buffer = b.buffers.add("table", (table.len() * 8) as u64, Role::Weights);
        b.set(table_buffer, bytemuck::cast_slice(&table));
        let x = b.activation("kv", tokens + 1, shape.width());
        let norm = RmsNorm { gain: b.vector("gain", shape.rank), eps: 1e-5 };
        let cache = b.buffers.add("cache", (context * shape.width() * format.bytes()) as u64, Role::Kv);
        b.plan.push([LatentAppend { shape, x, norm, table: table_buffer, cache, format }.step("append", &b.control)]);
        match format {
            KvFormat::F32 => b.check(cache, 1e-5, &what),
            KvFormat::F16 => b.check_f16(cache, 4e-3, &what),
        }
        b.plan.steps.clear();
        let w = b.experts("w", shape.heads, shape.head_rows(), shape.rank, layout, max_binding);
        let q = b.activation("q", tokens + 1, shape.heads * (shape.nope + shape.rotary));
        let out = b.scratch("out", tokens + 1, shape.heads * shape.width());
        b.plan.push(LatentQuery { shape, w: &w, q, out, table: table_buffer }.steps("query", &b.control));
        b.check(out.buffer, 3e-4, &what);
        b.plan.steps.clear();
        let x = b.activation("latents", tokens + 1, shape.heads * shape.rank);
        let y = b.scratch("y", tokens + 1, shape.heads * shape.value_dim);
        b.plan.push(LatentValue { shape, w: &w, x, y }.steps("value", &b.control));
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
            check(layout, shape(4, rank, 24, 16, 20, true), [3, 2], KvFormat::F16, u64::MAX);
        }
        for odd in [shape(3, 40, 33, 6, 7, false), shape(1, 4, 1, 2, 1, true), shape(2, 544, 16, 64, 36, true)] {
            check(Layout::Bf16, odd, [300, 3], KvFormat::F32, u64::MAX);
        }
        check(Layout::F32, shape(16, 64, 24, 16, 20, true), [0, 2], KvFormat::F16, 32 << 10);
    }
}
