//! Attention over the KV cache. A workgroup takes up to 16 queries that share one key/value head, and reads keys and values
//! once for all of them.
//!
//! In decode there is one query per head and little to do in parallel, so the visible context is cut into splits: 16 to 64
//! of them, by the number of heads and the length, and fewer where the context has fewer tiles of 64 keys. Each split is a
//! workgroup's work, and a second kernel reduces the partial results. A window of 64 tokens or less is one split and needs
//! no reduction.

use super::{Control, CpuMemory, Kernel, KvFormat, Params, State, params, shader};
use crate::plan::{Access, Activation, Binding, BufferId, Buffers, Role, Shader, Step, Vector};

static SHADERS: [Shader; 1] = [shader!("attention", "state", "kv", "halves", "kv_read", "span", "queries")];
static REDUCE_SHADERS: [Shader; 1] = [shader!("attention_reduce", "state", "span")];

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

/// Stretches of the context that decode works on at once, at most.
pub const MAX_SPLITS: usize = 64;
/// The same where neither heads nor context ask for more.
const MIN_SPLITS: usize = 16;
/// Keys for which a stretch is worth a workgroup of its own, in the longest context.
const LONG_STRETCH: usize = 2048;
/// The widest query and key head the kernel holds.
pub const MAX_KEY_DIM: usize = 576;
/// The widest value head.
pub const MAX_VALUE_DIM: usize = 512;
const TILE: usize = 64;

/// Which keys a token sees: always itself, never one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All before it.
    All,
    /// The last so many, itself included.
    Window(usize),
    /// Those of its own stretch of the context, which is cut into stretches of so many.
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
    /// Of the products of query and key.
    pub scale: f32,
    /// A further score of each head, without a value.
    pub sinks: Option<Vector>,
}

/// Rows of a workgroup where there are `rows`.
fn tile_rows(rows: usize, value_dim: usize) -> usize {
    rows.next_power_of_two().clamp(4, if value_dim > 256 { 8 } else { 16 })
}

/// Stretches that decode makes of what a token sees in a context of so many tokens: enough for four workgroups a head
/// and for short stretches of the longest context, each of at least one tile. Workgroups past the token's position leave at once.
pub fn splits(heads: usize, kv_heads: usize, value_dim: usize, tokens: usize) -> usize {
    let group = heads / kv_heads;
    let abreast = kv_heads * group.div_ceil(tile_rows(group, value_dim));
    let wanted = (4 * heads).div_ceil(abreast).max(tokens.div_ceil(LONG_STRETCH));
    wanted.clamp(MIN_SPLITS, MAX_SPLITS).min(tokens.div_ceil(TILE))
}

impl Attention {
    /// Declares what decode's stretches leave to the reduction.
    pub fn declare_partials(buffers: &mut Buffers, heads: usize, splits: usize, value_dim: usize) -> BufferId {
        buffers.add("attention.partials", (heads * splits * (value_dim + 2) * 4) as u64, Role::Scratch)
    }

    /// Stretches that decode makes of what a token sees.
    pub fn splits(&self) -> usize {
        let tokens = self.span.most().map_or(self.capacity, |keys| keys.min(self.capacity));
        splits(self.heads, self.kv_heads, self.value_dim, tokens)
    }

    /// Every token of the step, each in one piece.
    pub fn whole(&self, label: &str, control: &Control) -> Step {
        self.step(label, control, 1, self.out.buffer)
    }

    /// Decode: one token, in [`Self::splits`] stretches, two or more, that are left in `partials`.
    pub fn stretches(&self, label: &str, control: &Control, partials: BufferId) -> Step {
        assert!(self.splits() > 1, "{label}: one stretch leaves nothing to join");
        self.step(label, control, self.splits(), partials)
    }

    /// Decode: one token, in stretches of what it can see and their reduction; in one piece where that is little.
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
            shader: &REDUCE_SHADERS[0],
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
        vec![self.stretches(label, control, partials), reduce]
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
        let rows = tile_rows(all_rows, self.value_dim);
        let columns = self.value_dim.div_ceil(4).next_power_of_two().min(64);
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        Step {
            label: label.to_owned(),
            kernel: KERNEL.name,
            shader: &SHADERS[0],
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

/// How many of `splits` stretches `keys` make, each of whole tiles.
pub(super) fn stretches(keys: usize, splits: usize) -> usize {
    keys.div_ceil(keys.div_ceil(splits).next_multiple_of(TILE))
}

/// The score without a value of a head.
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
        let stretch = (end - start).div_ceil(splits).next_multiple_of(TILE);
        for head in 0..heads {
            let q: Vec<f64> = memory.floats(step.buffer(2))[t * p.q_stride as usize + head * key_dim..][..key_dim]
                .iter()
                .map(|&v| f64::from(v) * f64::from(p.scale))
                .collect();
            let at = |key: usize| key % p.capacity as usize * kv_heads + head / (heads / kv_heads);
            for split in 0..splits {
                let keys = start + split * stretch..end.min(start + (split + 1) * stretch);
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
}

fn reduce_reference(step: &Step, memory: &mut CpuMemory) {
    let p = ReduceParams::of(step);
    let state: State = memory.read(step.buffer(1));
    let splits = step.constant("SPLITS") as usize;
    let dim = p.value_dim as usize;
    let end = state.position as usize + 1;
    let keys = end - Span::of([p.window, p.chunk]).first(end);
    let used = stretches(keys, splits);
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

#[cfg(test)]
mod tests {
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
        for shape in [[9, 3, 40], [2, 1, 64], [3, 3, 128], [4, 1, 256], [1, 1, 2], [12, 2, 80], [14, 2, 96], [20, 1, 8]]
        {
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

    /// Caches that hold what the step's tokens see and no more, at positions that have been around several times.
    #[test]
    fn caches_are_rings() {
        for (span, reach) in
            [(Span::Window(1), 1), (Span::Window(33), 33), (Span::Window(200), 200), (Span::Chunk(70), 70)]
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

    /// The first token, and as far as models go: positions of more than 16 bits, 64 stretches.
    #[test]
    fn the_end_of_a_long_context() {
        for (position, format) in [(65_535, KvFormat::F16), (65_600, KvFormat::Q8), (131_071, KvFormat::Q8)] {
            check_values([6, 1, 24], None, [position, 1, 131_072], Span::All, format, false);
        }
        check_values([6, 1, 24], None, [29_900, 20, 131_072], Span::All, KvFormat::F16, false);
        check_values([6, 1, 24], None, [0, 1, 131_072], Span::All, KvFormat::F16, false);
        assert_eq!(splits(12, 2, 128, 4096), 24, "four workgroups a head");
        assert_eq!(splits(12, 2, 128, 131_072), 64, "of 2,048 keys each");
        assert_eq!(splits(32, 8, 128, 8192), 16);
        assert_eq!(splits(16, 1, 512, 4096), 32, "heads of one latent in two tiles");
        assert_eq!(splits(4, 1, 64, 64), 1);
    }

    /// Of DeepSeek-V2's shape, and of smaller ones.
    #[test]
    fn one_cache_holds_keys_and_values() {
        for (heads, key_dim, value_dim) in [(4, 48, 32), (3, 56, 40), (2, 576, 512), (20, 576, 512)] {
            check_values([heads, 1, key_dim], Some(value_dim), [130, 1, 131], Span::All, KvFormat::F16, false);
            check_values([heads, 1, key_dim], Some(value_dim), [3, 5, 8], Span::All, KvFormat::F32, false);
            check_values([heads, 1, key_dim], Some(value_dim), [130, 1, 131], Span::All, KvFormat::Q8, false);
            check_values([heads, 1, key_dim], Some(value_dim), [70, 3, 80], Span::All, KvFormat::Q8, false);
        }
    }
}
