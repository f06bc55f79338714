//! Attention over the KV cache: one workgroup per head and token in prefill, per head and stretch of the context in
//! decode, where a second kernel joins the stretches.

use super::{Control, CpuMemory, Kernel, KvFormat, Params, State, params, shader};
use crate::gpu::{Access, Activation, Binding, BufferId, Buffers, Role, Shader, Step};

static SHADERS: [Shader; 1] = [shader!("attention", "state", "kv")];
static REDUCE_SHADERS: [Shader; 1] = [shader!("attention_reduce", "state")];

/// See `shaders/attention.wgsl`.
pub static KERNEL: Kernel = Kernel { name: "attention", shaders: &SHADERS, params: AttentionParams::FIELDS, reference };
/// See `shaders/attention_reduce.wgsl`.
pub static REDUCE: Kernel = Kernel {
    name: "attention_reduce",
    shaders: &REDUCE_SHADERS,
    params: ReduceParams::FIELDS,
    reference: reduce_reference,
};

params!(AttentionParams {
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    window: u32,
    q_stride: u32,
    out_stride: u32,
    scale: f32,
});
params!(ReduceParams { head_dim: u32, window: u32 });

/// Stretches of the context that decode works on at once.
pub const SPLITS: usize = 16;
/// The widest head the kernel holds.
pub const MAX_HEAD_DIM: usize = 256;
const TILE: usize = 64;

/// Causal attention of the step's queries over the cache.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// `[T, heads · head_dim]`
    pub q: Activation,
    /// `[context, kv_heads, head_dim]`
    pub k_cache: BufferId,
    /// `[context, kv_heads, head_dim]`
    pub v_cache: BufferId,
    /// `[T, heads · head_dim]`
    pub out: Activation,
    /// Numbers of the caches.
    pub format: KvFormat,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a head, even, at most [`MAX_HEAD_DIM`].
    pub head_dim: usize,
    /// Keys a token sees, itself included.
    pub window: Option<usize>,
    /// Of the products of query and key.
    pub scale: f32,
}

impl Attention {
    /// Declares what decode's stretches leave to the reduction.
    pub fn declare_partials(buffers: &mut Buffers, heads: usize, head_dim: usize) -> BufferId {
        buffers.add("attention.partials", (heads * SPLITS * (head_dim + 2) * 4) as u64, Role::Scratch)
    }

    /// Prefill: every token of the step, each in one piece.
    pub fn prefill(&self, label: &str, control: &Control) -> Step {
        self.step(label, control, 1, self.out.buffer)
    }

    /// Decode: one token, in [`SPLITS`] stretches and their reduction.
    pub fn decode(&self, label: &str, control: &Control, partials: BufferId) -> [Step; 2] {
        let params = ReduceParams { head_dim: self.head_dim as u32, window: self.window.unwrap_or(0) as u32 };
        let reduce = Step {
            label: format!("{label}.reduce"),
            kernel: REDUCE.name,
            shader: &REDUCE_SHADERS[0],
            constants: vec![("SPLITS", SPLITS as f64)],
            bindings: vec![
                Binding { slot: 1, buffer: control.state, access: Access::Read },
                Binding { slot: 2, buffer: partials, access: Access::Read },
                Binding { slot: 3, buffer: self.out.buffer, access: Access::ReadWrite },
            ],
            params: params.words(),
            grid: [self.heads as u32, 1, 1],
            detail: format!("[{},{SPLITS},{}] → [1,{}]", self.heads, self.head_dim, self.out.width),
        };
        [self.step(label, control, SPLITS, partials), reduce]
    }

    fn step(&self, label: &str, control: &Control, splits: usize, out: BufferId) -> Step {
        assert!(self.head_dim <= MAX_HEAD_DIM && self.head_dim.is_multiple_of(2), "{label}: width of a head");
        assert!(self.heads.is_multiple_of(self.kv_heads), "{label}: heads");
        let params = AttentionParams {
            heads: self.heads as u32,
            kv_heads: self.kv_heads as u32,
            head_dim: self.head_dim as u32,
            window: self.window.unwrap_or(0) as u32,
            q_stride: self.q.stride() as u32,
            out_stride: self.out.stride() as u32,
            scale: self.scale,
        };
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: &SHADERS[0],
            constants: vec![("SPLITS", splits as f64), self.format.constant()],
            bindings: vec![
                read(1, control.state),
                read(2, self.q.buffer),
                read(3, self.k_cache),
                read(4, self.v_cache),
                Binding { slot: 5, buffer: out, access: Access::ReadWrite },
            ],
            params: params.words(),
            grid: [self.heads as u32, splits as u32, self.q.rows as u32],
            detail: format!(
                "q[{},{}×{}] kv[{}×{}]:{:?}{}",
                self.q.rows,
                self.heads,
                self.head_dim,
                self.kv_heads,
                self.head_dim,
                self.format,
                self.window.map_or(String::new(), |w| format!(" window {w}"))
            ),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = AttentionParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let format = KvFormat::of(step);
    let splits = step.constant("SPLITS") as usize;
    let (heads, kv_heads, dim) = (p.heads as usize, p.kv_heads as usize, p.head_dim as usize);
    for t in 0..state.count as usize {
        let end = state.position as usize + t + 1;
        let start = if p.window > 0 { end.saturating_sub(p.window as usize) } else { 0 };
        let stretch = (end - start).div_ceil(splits).next_multiple_of(TILE);
        for head in 0..heads {
            let q: Vec<f64> = memory.floats(step.buffer(2))[t * p.q_stride as usize + head * dim..][..dim]
                .iter()
                .map(|&v| f64::from(v) * f64::from(p.scale))
                .collect();
            let at = |key: usize| (key * kv_heads + head / (heads / kv_heads)) * dim;
            for split in 0..splits {
                let keys = start + split * stretch..end.min(start + (split + 1) * stretch);
                if keys.is_empty() {
                    continue;
                }
                let scores: Vec<f64> = keys
                    .clone()
                    .map(|key| (0..dim).map(|i| q[i] * format.get(memory, step.buffer(3), at(key) + i)).sum())
                    .collect();
                let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - maximum).exp()).collect();
                let denominator: f64 = weights.iter().sum();
                let sums: Vec<f64> = (0..dim)
                    .map(|i| {
                        let value = |key| format.get(memory, step.buffer(4), at(key) + i);
                        keys.clone().zip(&weights).map(|(key, w)| w * value(key)).sum()
                    })
                    .collect();
                let out = memory.floats_mut(step.buffer(5));
                if splits == 1 {
                    let row = &mut out[t * p.out_stride as usize + head * dim..][..dim];
                    row.iter_mut().zip(sums).for_each(|(y, v)| *y = (v / denominator) as f32);
                } else {
                    let row = &mut out[(head * splits + split) * (dim + 2)..][..dim + 2];
                    row.iter_mut().zip(sums).for_each(|(y, v)| *y = v as f32);
                    row[dim] = maximum as f32;
                    row[dim + 1] = denominator as f32;
                }
            }
        }
    }
}

fn reduce_reference(step: &Step, memory: &mut CpuMemory) {
    let p = ReduceParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let splits = step.constant("SPLITS") as usize;
    let dim = p.head_dim as usize;
    let seen = state.position as usize + 1;
    let keys = if p.window > 0 { seen.min(p.window as usize) } else { seen };
    let used = keys.div_ceil(keys.div_ceil(splits).next_multiple_of(TILE));
    for head in 0..step.grid[0] as usize {
        let parts: Vec<Vec<f64>> = (0..used)
            .map(|s| {
                let row = &memory.floats(step.buffer(2))[(head * splits + s) * (dim + 2)..][..dim + 2];
                row.iter().map(|&v| v.into()).collect()
            })
            .collect();
        let maximum = parts.iter().map(|p| p[dim]).fold(f64::NEG_INFINITY, f64::max);
        let denominator: f64 = parts.iter().map(|p| p[dim + 1] * (p[dim] - maximum).exp()).sum();
        for i in 0..dim {
            let sum: f64 = parts.iter().map(|p| p[i] * (p[dim] - maximum).exp()).sum();
            memory.floats_mut(step.buffer(3))[head * dim + i] = (sum / denominator) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;

    // Sums of up to a thousand values of order one, weighted to one.
    const TOL: f64 = 2e-5;

    fn check(
        [heads, kv_heads, dim]: [usize; 3],
        position: usize,
        count: usize,
        window: Option<usize>,
        format: KvFormat,
    ) {
        let context = position + count;
        let mut b = Bench::new(count, 8).at(position);
        let q = b.activation("q", count, heads * dim);
        let out = b.scratch("out", count, heads * dim);
        let mut cache = |label: &str| b.cache(label, context * kv_heads * dim, format);
        let (k_cache, v_cache) = (cache("k"), cache("v"));
        let scale = 1.0 / (dim as f32).sqrt();
        let attention = Attention { q, k_cache, v_cache, out, format, heads, kv_heads, head_dim: dim, window, scale };
        b.plan.push([attention.prefill("prefill", &b.control)]);
        let what = format!("{heads}/{kv_heads}×{dim} at {position}+{count} window {window:?} {format:?}");
        b.check(out.buffer, TOL, &what);
        if count == 1 {
            b.plan.steps.clear();
            let partials = Attention::declare_partials(&mut b.buffers, heads, dim);
            b.plan.push(attention.decode("decode", &b.control, partials));
            b.check(out.buffer, TOL, &format!("decode {what}"));
        }
    }

    #[test]
    fn decode_over_odd_contexts() {
        for position in [0, 1, 31, 62, 63, 64, 127, 500, 1023, 1100] {
            check([4, 2, 24], position, 1, None, KvFormat::F16);
            check([4, 2, 24], position, 1, Some(33), KvFormat::F16);
        }
        for shape in [[9, 3, 40], [2, 1, 64], [3, 3, 128], [4, 1, 256], [1, 1, 2]] {
            check(shape, 300, 1, None, KvFormat::F32);
        }
        check([2, 1, 64], 1500, 1, Some(1025), KvFormat::F16);
    }

    #[test]
    fn prefill_is_causal_at_any_position() {
        for (position, count) in [(0, 1), (0, 5), (0, 65), (64, 33), (127, 2)] {
            check([4, 2, 24], position, count, None, KvFormat::F32);
            check([4, 2, 24], position, count, Some(3), KvFormat::F16);
        }
        check([6, 2, 256], 10, 3, None, KvFormat::F16);
    }
}
