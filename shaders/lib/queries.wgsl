// Rows of queries, for the attention kernels: a row is one query, the heads that share a key and value head, token after
// token. The kernel's file declares params, q, out and SPLITS.
const NONE = -3.0e38; // the score of a key that a row does not see

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
