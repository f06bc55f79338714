//! Rotary position embedding of queries and keys, with a norm of each head before it where a model has one, together
//! with the append to the KV cache.

mod cpu;

pub(super) use cpu::angles;

use super::small::{CAPACITY, Maker, POSITION, Small};
use super::{Control, CpuMemory, Kernel, KvFormat, Params, State, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, BufferId, Step, Vector};

/// See `shaders/rope_append.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "rope_append",
    shader: shader!("rope_append", "state", "rotate", "kv", "kv_write"),
    reads_weights: false,
    variants: &[],
    params: RopeParams::FIELDS,
    reference,
    cpu: on_processors(cpu::rope_append),
    small: Some(small),
};

params!(RopeParams {
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    rotary: u32,
    x_stride: u32,
    q_stride: u32,
    eps: f32,
    growth: f32,
    floor: f32,
    capacity: u32,
});

/// Rows of the first of the two tables of [`rope_table`].
const LOW: usize = 256;

/// cos and sin of `position · inv_freq`, as two tables that the angle sum combines: `[256 + ⌈context / 256⌉,
/// inv_freq.len()]` pairs. The first holds positions 0..256 times `scale`, the second multiples of 256, so every
/// position up to `context` is exact to f32 where a shader's own `cos` of a large angle would not be.
pub fn rope_table(inv_freq: &[f64], scale: f64, context: usize) -> Vec<[f32; 2]> {
    let pair = |position: usize, scale: f64| {
        inv_freq.iter().map(move |f| {
            let (sin, cos) = (position as f64 * f).sin_cos();
            [(cos * scale) as f32, (sin * scale) as f32]
        })
    };
    let low = (0..LOW).flat_map(|p| pair(p, scale));
    let high = (0..context.div_ceil(LOW).max(1)).flat_map(|p| pair(p * LOW, 1.0));
    low.chain(high).collect()
}

/// Rotates and appends the step's queries, keys and values.
#[derive(Debug, Clone, Copy)]
pub struct RopeAppend {
    /// `[T, (heads + 2 kv_heads) · head_dim]`: queries, keys, values.
    pub qkv: Activation,
    /// `[T, heads · head_dim]`
    pub q: Activation,
    /// Table of [`rope_table`].
    pub table: BufferId,
    /// `[capacity, kv_heads]` rows of head_dim.
    pub k_cache: BufferId,
    /// `[capacity, kv_heads]` rows of head_dim.
    pub v_cache: BufferId,
    /// Tokens that the caches hold: a position lies at its remainder.
    pub capacity: usize,
    /// Numbers of the caches.
    pub format: KvFormat,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// Leading values of a head that rotate, even.
    pub rotary_dim: usize,
    /// Rotate neighbours (GGUF's llama); otherwise halves (Hugging Face).
    pub interleaved: bool,
    /// RMS norm of queries and keys before they are rotated.
    pub qk_norm: Option<QkNorm>,
    /// Growth of the queries with their position.
    pub temperature: Option<Temperature>,
}

/// Llama 4 multiplies queries by `1 + growth · ln(1 + ⌊(position + 1) / floor⌋)` where they see the whole context.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// config.json's `attn_scale`.
    pub growth: f32,
    /// config.json's `floor_scale`, in tokens.
    pub floor: f32,
}

/// An RMS norm of queries and keys: of each head where a gain is as long as one, else of all heads together.
#[derive(Debug, Clone, Copy)]
pub struct QkNorm {
    /// Weight for queries, `[head_dim]` or `[heads, head_dim]`.
    pub q: Vector,
    /// Weight for keys, `[head_dim]` or `[kv_heads, head_dim]`.
    pub k: Vector,
    /// Added to the mean square.
    pub eps: f32,
}

impl RopeAppend {
    /// The step.
    pub fn step(&self, label: &str, control: &Control) -> Step {
        let all_heads = self.heads + 2 * self.kv_heads;
        assert_eq!(self.qkv.width, all_heads * self.head_dim, "{label}: width of qkv");
        assert!(
            self.head_dim.is_multiple_of(2) && self.rotary_dim.is_multiple_of(2) && self.rotary_dim <= self.head_dim,
            "{label}"
        );
        let whole = |n: &QkNorm| n.q.len != self.head_dim || n.k.len != self.head_dim;
        let mode = self.qk_norm.as_ref().map_or(0, |n| if whole(n) { 2 } else { 1 });
        if mode == 2 {
            let n = self.qk_norm.expect("there is one");
            let widths = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
            assert_eq!((n.q.len, n.k.len), widths, "{label}: widths of the norms");
        }
        let params = RopeParams {
            heads: self.heads as u32,
            kv_heads: self.kv_heads as u32,
            head_dim: self.head_dim as u32,
            rotary: self.rotary_dim as u32,
            x_stride: self.qkv.stride() as u32,
            q_stride: self.q.stride() as u32,
            eps: self.qk_norm.map_or(0.0, |n| n.eps),
            growth: self.temperature.map_or(0.0, |t| t.growth),
            floor: self.temperature.map_or(1.0, |t| t.floor),
            capacity: self.capacity as u32,
        };
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let write = |slot, buffer| Binding { slot, buffer, access: Access::ReadWrite };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: KERNEL.shader,
            constants: vec![
                self.format.constant(),
                ("INTERLEAVED", f64::from(u8::from(self.interleaved))),
                ("QK_NORM", f64::from(mode)),
                ("TEMPERATURE", f64::from(u8::from(self.temperature.is_some()))),
            ],
            bindings: vec![
                read(1, control.state),
                read(2, self.qkv.buffer),
                read(3, self.table),
                write(4, self.q.buffer),
                write(5, self.k_cache),
                write(6, self.v_cache),
                read(7, self.qk_norm.map_or(self.table, |n| n.q.buffer)),
                read(8, self.qk_norm.map_or(self.table, |n| n.k.buffer)),
            ],
            params: params.words(),
            grid: [(all_heads * self.head_dim.div_ceil(64)).div_ceil(2) as u32, self.qkv.rows as u32, 1],
            detail: format!(
                "qkv[{},({}+2·{})×{}]{} → q, kv:{:?}",
                self.qkv.rows,
                self.heads,
                self.kv_heads,
                self.head_dim,
                if self.qk_norm.is_some() { " rms" } else { "" },
                self.format
            ),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = RopeParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let format = KvFormat::of(step);
    let interleaved = step.constant("INTERLEAVED") == 1.0;
    let (heads, kv_heads, dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    let pairs = p.rotary as usize / 2;
    for t in 0..state.count as usize {
        let position = state.position as usize + t;
        let at = |row: usize, pair: usize| {
            let table: &[[f32; 2]] = bytemuck::cast_slice(memory.words(step.buffer(3)));
            let [c, s] = table[row * pairs + pair];
            (f64::from(c), f64::from(s))
        };
        let rotation = |pair: usize| {
            let ((c0, s0), (c1, s1)) = (at(position % LOW, pair), at(LOW + position / LOW, pair));
            (c0 * c1 - s0 * s1, s0 * c1 + c0 * s1)
        };
        let start = t * p.x_stride as usize;
        let mut x: Vec<f64> = memory.floats(step.buffer(2))[start..start + (heads + 2 * kv_heads) * dim]
            .iter()
            .map(|&v| v.into())
            .collect();
        let mode = step.constant("QK_NORM") as u32;
        if mode > 0 {
            let (queries, rest) = x.split_at_mut(heads * dim);
            for (values, slot) in [(queries, 7), (&mut rest[..kv_heads * dim], 8)] {
                let width = if mode == 1 { dim } else { values.len() };
                for values in values.chunks_mut(width) {
                    let mean = values.iter().map(|v| v * v).sum::<f64>() / width as f64;
                    let scale = 1.0 / (mean + f64::from(p.eps)).sqrt();
                    let gain = memory.floats(step.buffer(slot));
                    values.iter_mut().zip(gain).for_each(|(v, &g)| *v *= scale * f64::from(g));
                }
            }
        }
        let mut out = x.clone();
        for head in 0..heads + kv_heads {
            for pair in 0..pairs {
                let (a, b) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs) };
                let (a, b) = (head * dim + a, head * dim + b);
                let (c, s) = rotation(pair);
                (out[a], out[b]) = (x[a] * c - x[b] * s, x[b] * c + x[a] * s);
            }
        }
        if step.constant("TEMPERATURE") == 1.0 {
            let folds = ((position + 1) as f64 / f64::from(p.floor)).floor();
            let by = 1.0 + f64::from(p.growth) * (1.0 + folds).ln();
            out[..heads * dim].iter_mut().for_each(|v| *v *= by);
        }
        let (q, kv) = out.split_at(heads * dim);
        let row = &mut memory.floats_mut(step.buffer(4))[t * p.q_stride as usize..];
        row.iter_mut().zip(q).for_each(|(y, &v)| *y = v as f32);
        let (k, v) = kv.split_at(kv_heads * dim);
        for (cache, values) in [(step.buffer(5), k), (step.buffer(6), v)] {
            for (head, values) in values.chunks(dim).enumerate() {
                let row = position % p.capacity as usize * kv_heads + head;
                if let Some(row) = memory.local_row(cache, row) {
                    format.put(memory, cache, row, values);
                }
            }
        }
    }
}

fn small(maker: &mut Maker, step: &Step) -> Small {
    let p = RopeParams::of(step);
    let (heads, dim, format) = (p.heads.min(2), p.head_dim as usize, KvFormat::of(step));
    let all = (heads + 2) as usize * dim;
    let params = RopeParams {
        heads,
        kv_heads: 1,
        x_stride: all as u32,
        q_stride: heads * p.head_dim,
        capacity: CAPACITY as u32,
        ..p
    };
    let pairs = p.rotary as usize / 2;
    let frequencies: Vec<f64> = (0..pairs).map(|i| 10_000f64.powf(-(i as f64) / pairs as f64)).collect();
    maker.state(POSITION, 2);
    maker.floats(2, 2 * all);
    maker.bytes(3, bytemuck::cast_slice(&rope_table(&frequencies, 1.0, CAPACITY)).to_vec());
    maker.zeros(4, 2 * heads as usize * dim);
    maker.zeros(5, CAPACITY * format.row_words(dim));
    maker.zeros(6, CAPACITY * format.row_words(dim));
    maker.floats(7, heads as usize * dim);
    maker.floats(8, dim);
    let grid = [((heads + 2) * p.head_dim.div_ceil(64)).div_ceil(2), 2, 1];
    (params.words(), grid, vec![(4, None), (5, Some((format, dim))), (6, Some((format, dim)))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;
    use crate::plan::Role;

    #[test]
    fn the_two_tables_combine_to_the_angle_of_any_position() {
        let inv_freq = [1.0, 0.1, 1e-4];
        let table = rope_table(&inv_freq, 1.0, 131_072);
        for position in [0usize, 1, 255, 256, 257, 4095, 100_003, 131_071] {
            for (i, f) in inv_freq.iter().enumerate() {
                let [a, b] = [table[(position % 256) * 3 + i], table[(256 + position / 256) * 3 + i]];
                let (sin, cos) = (position as f64 * f).sin_cos();
                let c = f64::from(a[0]) * f64::from(b[0]) - f64::from(a[1]) * f64::from(b[1]);
                let s = f64::from(a[1]) * f64::from(b[0]) + f64::from(a[0]) * f64::from(b[1]);
                assert!((c - cos).abs() < 2e-7 && (s - sin).abs() < 2e-7, "{position} {f}");
            }
        }
    }

    #[test]
    fn both_rotations_and_both_formats() {
        for (heads, kv_heads, head_dim, rotary_dim) in
            [(4, 2, 24, 24), (9, 3, 40, 40), (2, 1, 64, 32), (1, 1, 2, 2), (3, 1, 16, 0), (3, 3, 80, 80), (2, 2, 6, 4)]
        {
            for format in [KvFormat::F32, KvFormat::F16, KvFormat::Q8] {
                for (interleaved, position, normed) in [(false, 0, 1), (true, 250, 0), (false, 700, 2)] {
                    let (context, capacity) = (1024, if normed == 1 { 1024 } else { 18 });
                    let mut b = Bench::new(7, 8).at(position);
                    let qkv = b.activation("qkv", 8, (heads + 2 * kv_heads) * head_dim);
                    let q = b.scratch("q", 8, heads * head_dim);
                    let inv_freq: Vec<f64> = (0..rotary_dim / 2).map(|i| 0.9f64.powi(i)).collect();
                    let table = rope_table(&inv_freq, 1.1, context);
                    let table_buffer = b.buffers.add("table", (table.len() * 8) as u64, Role::Weights);
                    b.set(table_buffer, bytemuck::cast_slice(&table));
                    let bytes = format.bytes(capacity * kv_heads, head_dim);
                    let k_cache = b.buffers.add("k", bytes, Role::Kv);
                    let v_cache = b.buffers.add("v", bytes, Role::Kv);
                    let (q_heads, k_heads) = if normed == 2 { (heads, kv_heads) } else { (1, 1) };
                    let qk_norm = (normed > 0).then(|| QkNorm {
                        q: b.vector("q gain", q_heads * head_dim),
                        k: b.vector("k gain", k_heads * head_dim),
                        eps: 1e-5,
                    });
                    let temperature = (position == 700).then_some(Temperature { growth: 0.1, floor: 16.0 });
                    let rope = RopeAppend {
                        qkv,
                        q,
                        table: table_buffer,
                        k_cache,
                        v_cache,
                        capacity,
                        format,
                        heads,
                        kv_heads,
                        head_dim,
                        rotary_dim: rotary_dim as usize,
                        interleaved,
                        qk_norm,
                        temperature,
                    };
                    b.plan.push([rope.step("rope", &b.control)]);
                    let what =
                        format!("{heads}/{kv_heads}×{head_dim} {format:?} interleaved={interleaved} normed={normed}");
                    b.check(q.buffer, 1e-5, &what);
                    for cache in [k_cache, v_cache] {
                        b.check_kv(cache, head_dim, format, &what);
                    }
                }
            }
        }
    }
}
