//! Attention over the KV cache. A workgroup takes up to 32 queries that share one key/value head, and reads keys and values
//! once for all of them.
//!
//! In decode there is one query per head and little to do in parallel, so the visible context is cut into splits: 16 to 64
//! of them, by the number of heads and the length, and fewer where the context has fewer tiles of 64 keys. Each split is a
//! workgroup's work, and a second kernel reduces the partial results. A window of 64 tokens or less is one split and needs
//! no reduction.

mod cpu;
mod small;
#[cfg(test)]
mod tests;

use super::{Control, CpuMemory, Kernel, KvFormat, Params, State, on_processors, params, shader};
use crate::plan::{Access, Activation, Binding, BufferId, Buffers, Role, Step, Vector};

/// See `shaders/attention.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "attention",
    shader: shader!("attention", "state", "kv", "halves", "kv_read", "span", "queries"),
    reads_weights: false,
    variants: &[],
    params: AttentionParams::FIELDS,
    reference,
    cpu: on_processors(cpu::attention),
    small: Some(small::attention),
};
/// See `shaders/attention_reduce.wgsl`.
pub static REDUCE: Kernel = Kernel {
    name: "attention_reduce",
    shader: shader!("attention_reduce", "state", "span"),
    reads_weights: false,
    variants: &[],
    params: ReduceParams::FIELDS,
    reference: reduce_reference,
    cpu: on_processors(cpu::reduce),
    small: Some(small::reduce),
};

params!(AttentionParams {
    heads: u32,
    kv_heads: u32,
    key_dim: u32,
    value_dim: u32,
    value_row: u32,
    window: u32,
    chunk: u32,
    q_stride: u32,
    out_stride: u32,
    scale: f32,
    capacity: u32,
});
params!(ReduceParams { value_dim: u32, window: u32, chunk: u32 });

/// Splits of the context that decode works on at once, at most.
pub const MAX_SPLITS: usize = 64;
/// Splits of the context where neither heads nor context ask for more.
const MIN_SPLITS: usize = 16;
/// Workgroups that keep a large GPU busy.
const MANY: usize = 192;
/// Keys of a split in the longest context: fewer are not worth a workgroup of their own.
const LONG_SPLIT: usize = 2048;
/// The widest query and key head the kernel holds.
pub const MAX_KEY_DIM: usize = 576;
/// The widest value head.
pub const MAX_VALUE_DIM: usize = 512;
const TILE: usize = 64;

/// Which keys a token sees: always itself, never one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All keys before the token.
    All,
    /// The last so many keys, the token's own included.
    Window(usize),
    /// The keys of the token's own chunk of the context, which is cut into chunks of so many.
    Chunk(usize),
}

impl Span {
    fn params(self) -> [u32; 2] {
        match self {
            Self::All => [0, 0],
            Self::Window(n) => [n as u32, 0],
            Self::Chunk(n) => [0, n as u32],
        }
    }

    /// The most keys that a token sees, itself included, where that is no matter of the context.
    pub fn most(self) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Window(n) | Self::Chunk(n) => Some(n),
        }
    }

    /// The first key that the last of `end` tokens sees.
    pub fn first(self, end: usize) -> usize {
        match self {
            Self::All => 0,
            Self::Window(n) => end.saturating_sub(n),
            Self::Chunk(n) => (end - 1) / n * n,
        }
    }

    fn of([window, chunk]: [u32; 2]) -> Self {
        match (window, chunk) {
            (0, 0) => Self::All,
            (n, 0) => Self::Window(n as usize),
            (_, n) => Self::Chunk(n as usize),
        }
    }
}

/// Attention of the step's queries over the cache.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// `[T, heads · key_dim]`
    pub q: Activation,
    /// `[capacity, kv_heads]` rows of key_dim.
    pub k_cache: BufferId,
    /// `[capacity, kv_heads]` rows of value_row; may be `k_cache`.
    pub v_cache: BufferId,
    /// Tokens that the caches hold, no fewer than a token sees: a position lies at its remainder.
    pub capacity: usize,
    /// `[T, heads · value_dim]`
    pub out: Activation,
    /// Numbers of the caches.
    pub format: KvFormat,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a query and key head, even, at most [`MAX_KEY_DIM`].
    pub key_dim: usize,
    /// Width of a value head, even, at most [`MAX_VALUE_DIM`].
    pub value_dim: usize,
    /// Values of a row of `v_cache`; the head's own come first.
    pub value_row: usize,
    /// Keys a token sees.
    pub span: Span,
    /// Multiplies the products of query and key.
    pub scale: f32,
    /// Attention sinks: one more score in each head's softmax, which no value belongs to.
    pub sinks: Option<Vector>,
}

/// Rows of a workgroup where there are `rows` of each of `kv_heads`: 32 where that leaves enough workgroups, and registers for their sums.
fn tile_rows(rows: usize, kv_heads: usize, value_dim: usize) -> usize {
    let most = match value_dim {
        0..=64 if kv_heads * (rows / 32) >= MANY => 32,
        0..=128 => 16,
        _ => 8,
    };
    rows.next_power_of_two().clamp(4, most)
}

/// Splits that decode makes of what a token sees in a context of so many tokens: enough for four workgroups a head, for a large GPU,
/// and for short splits of the longest context, each of at least one tile. Workgroups past the token's position leave at once. What
/// splits of wide heads leave is added up by each of many workgroups, so that they are fewer.
pub fn splits(heads: usize, kv_heads: usize, value_dim: usize, tokens: usize) -> usize {
    let group = heads / kv_heads;
    let abreast = kv_heads * group.div_ceil(tile_rows(group, kv_heads, value_dim));
    let workgroups = if value_dim > 256 { 4 * heads } else { MANY.max(4 * heads) };
    let wanted = workgroups.div_ceil(abreast).max(tokens.div_ceil(LONG_SPLIT));
    wanted.clamp(MIN_SPLITS, MAX_SPLITS).min(tokens.div_ceil(TILE))
}

impl Attention {
    /// Declares what decode's splits leave to the reduction.
    pub fn declare_partials(buffers: &mut Buffers, heads: usize, splits: usize, value_dim: usize) -> BufferId {
        buffers.add("attention.partials", (heads * splits * (value_dim + 2) * 4) as u64, Role::Scratch)
    }

    /// Splits that decode makes of what a token sees.
    pub fn splits(&self) -> usize {
        let tokens = self.span.most().map_or(self.capacity, |keys| keys.min(self.capacity));
        splits(self.heads, self.kv_heads, self.value_dim, tokens)
    }

    /// Every token of the step, each in one piece.
    pub fn whole(&self, label: &str, control: &Control) -> Step {
        self.step(label, control, 1, self.out.buffer)
    }

    /// Decode: one token, in [`Self::splits`] splits, two or more, that are left in `partials`.
    pub fn split(&self, label: &str, control: &Control, partials: BufferId) -> Step {
        assert!(self.splits() > 1, "{label}: one split leaves nothing to reduce");
        self.step(label, control, self.splits(), partials)
    }

    /// Decode: one token, in splits of what it can see and their reduction; in one piece where that is little.
    pub fn decode(&self, label: &str, control: &Control, partials: BufferId) -> Vec<Step> {
        let splits = self.splits();
        if splits == 1 {
            return vec![self.whole(label, control)];
        }
        let [window, chunk] = self.span.params();
        let params = ReduceParams { value_dim: self.value_dim as u32, window, chunk };
        let reduce = Step {
            label: format!("{label}.reduce"),
            kernel: REDUCE.name,
            shader: REDUCE.shader,
            constants: vec![("SPLITS", splits as f64), self.sinks_constant()],
            bindings: vec![
                Binding { slot: 1, buffer: control.state, access: Access::Read },
                Binding { slot: 2, buffer: partials, access: Access::Read },
                Binding { slot: 3, buffer: self.out.buffer, access: Access::ReadWrite },
                Binding { slot: 6, buffer: self.sinks.map_or(partials, |s| s.buffer), access: Access::Read },
            ],
            params: params.words(),
            grid: [self.heads as u32, 1, 1],
            detail: format!("[{},{splits},{}] → [1,{}]", self.heads, self.value_dim, self.out.width),
        };
        vec![self.split(label, control, partials), reduce]
    }

    fn sinks_constant(&self) -> (&'static str, f64) {
        ("SINKS", f64::from(u8::from(self.sinks.is_some())))
    }

    fn step(&self, label: &str, control: &Control, splits: usize, out: BufferId) -> Step {
        assert!(self.key_dim <= MAX_KEY_DIM && self.key_dim.is_multiple_of(2), "{label}: width of a key");
        assert!(self.value_dim <= MAX_VALUE_DIM && self.value_dim.is_multiple_of(2), "{label}: width of a value");
        assert!(self.value_row >= self.value_dim && self.value_row.is_multiple_of(2), "{label}: values");
        assert!(self.heads.is_multiple_of(self.kv_heads), "{label}: heads");
        let [window, chunk] = self.span.params();
        let params = AttentionParams {
            heads: self.heads as u32,
            kv_heads: self.kv_heads as u32,
            key_dim: self.key_dim as u32,
            value_dim: self.value_dim as u32,
            value_row: self.value_row as u32,
            window,
            chunk,
            q_stride: self.q.stride() as u32,
            out_stride: self.out.stride() as u32,
            scale: self.scale,
            capacity: self.capacity as u32,
        };
        let all_rows = self.heads / self.kv_heads * self.q.rows;
        let rows = tile_rows(all_rows, self.kv_heads, self.value_dim);
        let columns = self.value_dim.div_ceil(4).next_power_of_two().min(64);
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: KERNEL.shader,
            constants: vec![
                ("SPLITS", splits as f64),
                ("ROWS", rows as f64),
                ("COLUMNS", columns as f64),
                ("WIDE", f64::from(u8::from(self.value_dim > 256))),
                self.format.constant(),
                self.sinks_constant(),
            ],
            bindings: vec![
                read(1, control.state),
                read(2, self.q.buffer),
                read(3, self.k_cache),
                read(4, self.v_cache),
                Binding { slot: 5, buffer: out, access: Access::ReadWrite },
                read(6, self.sinks.map_or(self.q.buffer, |s| s.buffer)),
            ],
            params: params.words(),
            grid: [self.kv_heads as u32, splits as u32, all_rows.div_ceil(rows) as u32],
            detail: format!(
                "q[{},{}×{}]/{rows} kv[{}×{}]:{:?}{}{}",
                self.q.rows,
                self.heads,
                self.key_dim,
                self.kv_heads,
                self.value_dim,
                self.format,
                match self.span {
                    Span::All => String::new(),
                    Span::Window(n) => format!(" window {n} of {}", self.capacity),
                    Span::Chunk(n) => format!(" chunk {n} of {}", self.capacity),
                },
                if self.sinks.is_some() { " sinks" } else { "" },
            ),
        }
    }
}

/// How many of `splits` splits `keys` fill, each of whole tiles.
pub(super) fn used_splits(keys: usize, splits: usize) -> usize {
    keys.div_ceil(keys.div_ceil(splits).next_multiple_of(TILE))
}

/// The attention sink of a head.
fn sink(step: &Step, memory: &CpuMemory, head: usize) -> Option<f64> {
    (step.constant("SINKS") == 1.0).then(|| memory.floats(step.buffer(6))[head].into())
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    let p = AttentionParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let format = KvFormat::of(step);
    let splits = step.constant("SPLITS") as usize;
    let (heads, kv_heads) = (p.heads as usize, p.kv_heads as usize);
    let (key_dim, value_dim, value_row) = (p.key_dim as usize, p.value_dim as usize, p.value_row as usize);
    for t in 0..state.count as usize {
        let end = state.position as usize + t + 1;
        let start = Span::of([p.window, p.chunk]).first(end);
        let length = (end - start).div_ceil(splits).next_multiple_of(TILE);
        for head in memory.share().of(heads) {
            let q: Vec<f64> = memory.floats(step.buffer(2))[t * p.q_stride as usize + head * key_dim..][..key_dim]
                .iter()
                .map(|&v| f64::from(v) * f64::from(p.scale))
                .collect();
            let kv_head = head / (heads / kv_heads);
            let held = memory.cached_heads(step.buffer(3), kv_heads);
            let at = |key: usize| key % p.capacity as usize * held.len() + kv_head - held.start;
            for split in 0..splits {
                let keys = start + split * length..end.min(start + (split + 1) * length);
                if keys.is_empty() {
                    continue;
                }
                let score = |k: usize| {
                    let key = format.get(memory, step.buffer(3), at(k), key_dim);
                    q.iter().zip(key).map(|(q, k)| q * k).sum()
                };
                let scores: Vec<f64> = keys.clone().map(score).collect();
                let sink = sink(step, memory, head).filter(|_| splits == 1);
                let maximum = scores.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - maximum).exp()).collect();
                let denominator = weights.iter().sum::<f64>() + sink.map_or(0.0, |s| (s - maximum).exp());
                let mut sums = vec![0.0; value_dim];
                for (key, w) in keys.zip(weights) {
                    let value = format.get(memory, step.buffer(4), at(key), value_row);
                    sums.iter_mut().zip(value).for_each(|(y, v)| *y += w * v);
                }
                let out = memory.floats_mut(step.buffer(5));
                if splits == 1 {
                    let row = &mut out[t * p.out_stride as usize + head * value_dim..][..value_dim];
                    row.iter_mut().zip(sums).for_each(|(y, v)| *y = (v / denominator) as f32);
                } else {
                    let row = &mut out[(head * splits + split) * (value_dim + 2)..][..value_dim + 2];
                    row.iter_mut().zip(sums).for_each(|(y, v)| *y = v as f32);
                    row[value_dim] = maximum as f32;
                    row[value_dim + 1] = denominator as f32;
                }
            }
        }
    }
    cpu::exchange_heads(step, memory, &p, splits);
}

fn reduce_reference(step: &Step, memory: &mut CpuMemory) {
    let p = ReduceParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let splits = step.constant("SPLITS") as usize;
    let dim = p.value_dim as usize;
    let end = state.position as usize + 1;
    let keys = end - Span::of([p.window, p.chunk]).first(end);
    let used = used_splits(keys, splits);
    for head in 0..step.grid[0] as usize {
        let parts: Vec<Vec<f64>> = (0..used)
            .map(|s| {
                let row = &memory.floats(step.buffer(2))[(head * splits + s) * (dim + 2)..][..dim + 2];
                row.iter().map(|&v| v.into()).collect()
            })
            .collect();
        let sink = sink(step, memory, head);
        let maximum = parts.iter().map(|p| p[dim]).chain(sink).fold(f64::NEG_INFINITY, f64::max);
        let denominator: f64 = parts.iter().map(|p| p[dim + 1] * (p[dim] - maximum).exp()).sum::<f64>()
            + sink.map_or(0.0, |s| (s - maximum).exp());
        for i in 0..dim {
            let sum: f64 = parts.iter().map(|p| p[i] * (p[dim] - maximum).exp()).sum();
            memory.floats_mut(step.buffer(3))[head * dim + i] = (sum / denominator) as f32;
        }
    }
}
