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
@group(0) @binding(2) var<storage, read> q: array<vec2<f32>>;       // [T, q_stride]
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

// Where a cache has the rows of a workgroup's keys; all in its cells.
struct Run {
    stride: u32,  // from one token to the next
    skip: u32,    // up to the first key that is not skipped
    last: u32,    // from there to the last key
    origin: u32,  // where the cache has the first
    around: u32,  // the whole cache: no token sees more than it holds
    start: u32,   // of the head within a token
}
fn run_of(keys: Keys, kv_head: u32, cells: u32) -> Run {
    let stride = params.kv_heads * cells;
    return Run(stride, keys.skip * stride, (keys.count - keys.skip - 1u) * stride, keys.origin * stride,
               params.capacity * stride, kv_head * cells);
}

// Where the row of key i begins, of which i strides are given; it counts from the first, or from those that are skipped before it.
// Past the last key, and of one that is skipped, it is the last.
fn cell_of(run: Run, strides: u32) -> u32 {
    let at = run.origin + min(strides - run.skip, run.last);
    return min(at, at - run.around) + run.start;
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

// Where a row's query begins, in pairs.
fn query_at(row: u32, kv_head: u32) -> u32 {
    return (token_of(row) * params.q_stride + head_of(row, kv_head) * params.key_dim) / 2u;
}

// Four values of the query that begins at pair `at`, zeros past its end. Its values are even in number.
fn query_four(at: u32, four: u32) -> vec4<f32> {
    let last = params.key_dim / 2u - 1u;
    let v = vec4<f32>(q[at + min(2u * four, last)], q[at + min(2u * four + 1u, last)]);
    return v * select(vec4<f32>(), vec4<f32>(params.scale), vec4<u32>(2u * four) + vec4<u32>(0u, 0u, 1u, 1u) <= vec4<u32>(last));
}

// Adds the outer product of values and the weights of four rows.
fn add_outer(m: mat4x4<f32>, v: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(fma(v, vec4<f32>(w.x), m[0]), fma(v, vec4<f32>(w.y), m[1]),
                       fma(v, vec4<f32>(w.z), m[2]), fma(v, vec4<f32>(w.w), m[3]));
}

fn rescaled(m: mat4x4<f32>, by: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(m[0] * by.x, m[1] * by.y, m[2] * by.z, m[3] * by.w);
}

// Adds the product of a query with a key, in one chain of fused products: `dot` and a sum are an instruction more.
fn add_product(sum: f32, q: vec4<f32>, k: vec4<f32>) -> f32 {
    return fma(q.w, k.w, fma(q.z, k.z, fma(q.y, k.y, fma(q.x, k.x, sum))));
}
fn add_products(s: vec4<f32>, q0: vec4<f32>, q1: vec4<f32>, q2: vec4<f32>, q3: vec4<f32>, k: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(add_product(s.x, q0, k), add_product(s.y, q1, k), add_product(s.z, q2, k), add_product(s.w, q3, k));
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
