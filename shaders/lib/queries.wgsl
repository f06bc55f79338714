// What the attention kernels have in common: parameters, bindings, rows of queries, the keys that they see, and where results go. A row
// is one query: the heads that share a key and value head, token after token. The kernel's file declares SPLITS.
override SINKS: bool = false; // each head has an attention sink: one more score in the softmax, which no value belongs to (gpt-oss)

struct Params {
    heads: u32,      // query heads
    kv_heads: u32,
    key_dim: u32,    // of a query and a key head, even
    value_dim: u32,  // of a value head, even
    value_row: u32,  // values of a row of v_cache
    window: u32,     // 0: none
    chunk: u32,      // 0: none
    q_stride: u32,   // f32 elements from one row of q to the next
    out_stride: u32, // f32 elements from one row of out to the next
    scale: f32,      // usually 1 / sqrt(key_dim)
    capacity: u32,   // tokens that the caches hold: position p lies at p % capacity
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> q: array<f32>;             // [T, q_stride]
@group(0) @binding(3) var<storage, read> k_cache: array<u32>;       // [capacity, kv_heads] rows of key_dim
@group(0) @binding(4) var<storage, read> v_cache: array<u32>;       // [capacity, kv_heads] rows of value_row
@group(0) @binding(5) var<storage, read_write> out: array<f32>;     // [T, out_stride], or [heads, SPLITS, value_dim + 2]
@group(0) @binding(6) var<storage, read> sinks: array<f32>;         // [heads], read with SINKS only

const NONE = -3.0e38; // the score of a key that a row does not see

// The keys that a workgroup reads: those that any of its rows sees, or one of SPLITS splits of them.
struct Keys {
    first: u32,  // position of the first, or of a skipped one before it
    skip: u32,   // how many before it are skipped
    count: u32,  // with those that are skipped; 0 where the split has none
    origin: u32, // where the cache has the first
}

// The keys of the rows from `first_row` to before `rows`.
fn keys_of(first_row: u32, rows: u32, split: u32) -> Keys {
    let end = state.position + token_of(rows - 1u) + 1u;
    let start = first_key(state.position + token_of(first_row) + 1u);
    // Whole: tiles at multiples of 64, so that sums do not depend on which tokens are asked for together.
    let skip = select(0u, start % 64u, SPLITS == 1u);
    let split_keys = keys_of_split(end - start + skip);
    let first = start - skip + split * split_keys;
    if (first >= end) {
        return Keys(first, skip, 0u, 0u);
    }
    return Keys(first, skip, min(split_keys, end - first), (first + skip) % params.capacity);
}

// Where the cache has the token `offset` past the one at `origin`; no token sees more than `capacity`.
fn place(origin: u32, offset: u32) -> u32 {
    let i = origin + offset;
    return select(i, i - params.capacity, i >= params.capacity);
}

// The head of a row.
fn head_of(row: u32, kv_head: u32) -> u32 {
    let group = params.heads / params.kv_heads;
    return kv_head * group + row % group;
}

// The token of a row among those of the step.
fn token_of(row: u32) -> u32 {
    return row / (params.heads / params.kv_heads);
}

fn query_four(row: u32, kv_head: u32, four: u32) -> vec4<f32> {
    let at = token_of(row) * params.q_stride + head_of(row, kv_head) * params.key_dim + 4u * four;
    let last = params.key_dim - 4u * four; // even: two or more are left
    var v = vec4<f32>(q[at], q[at + 1u], 0.0, 0.0);
    if (last > 2u) {
        v.z = q[at + 2u];
        v.w = q[at + 3u];
    }
    return v * params.scale;
}

// The outer product of values and the weights of four rows.
fn outer(v: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(v * w.x, v * w.y, v * w.z, v * w.w);
}

fn rescaled(m: mat4x4<f32>, by: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(m[0] * by.x, m[1] * by.y, m[2] * by.z, m[3] * by.w);
}

// Four dot products with a key.
fn products(q0: vec4<f32>, q1: vec4<f32>, q2: vec4<f32>, q3: vec4<f32>, k: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(dot(q0, k), dot(q1, k), dot(q2, k), dot(q3, k));
}

// exp(scores - maximum), and 0 for keys that are not seen.
fn weights(scores: vec4<f32>, maximum: vec4<f32>) -> vec4<f32> {
    return select(exp(scores - maximum), vec4<f32>(), scores <= vec4<f32>(0.9 * NONE));
}

// The scores of a key for the rows that see it.
fn seen(scores: vec4<f32>, key: u32, since: vec4<u32>, until: vec4<u32>) -> vec4<f32> {
    let at = vec4<u32>(key);
    return select(vec4<f32>(NONE), scores, (at >= since) & (at < until));
}

// What the weighted sum of a row's values is multiplied with: one over the softmax's denominator, an attention sink included.
fn normalization(row: u32, kv_head: u32, maximum: f32, denominator: f32) -> f32 {
    if (SINKS) {
        let sink = sinks[head_of(row, kv_head)];
        let with_sink = max(maximum, sink);
        return exp(maximum - with_sink) / (denominator * exp(maximum - with_sink) + exp(sink - with_sink));
    }
    return 1.0 / denominator;
}

// Where a row's results go.
fn result_at(row: u32, kv_head: u32, split: u32) -> u32 {
    let head = head_of(row, kv_head);
    if (SPLITS == 1u) {
        return token_of(row) * params.out_stride + head * params.value_dim;
    }
    return (head * SPLITS + split) * (params.value_dim + 2u);
}

fn put(row: u32, rows: u32, kv_head: u32, split: u32, column: u32, v: vec4<f32>) {
    let i = 4u * column;
    if (row >= rows || i >= params.value_dim) {
        return;
    }
    let at = result_at(row, kv_head, split) + i;
    out[at] = v.x;
    out[at + 1u] = v.y;
    if (i + 2u < params.value_dim) {
        out[at + 2u] = v.z;
        out[at + 3u] = v.w;
    }
}

// Results of four rows.
fn store(row: u32, rows: u32, kv_head: u32, split: u32, column: u32, m: mat4x4<f32>) {
    put(row, rows, kv_head, split, column, m[0]);
    put(row + 1u, rows, kv_head, split, column, m[1]);
    put(row + 2u, rows, kv_head, split, column, m[2]);
    put(row + 3u, rows, kv_head, split, column, m[3]);
}
