// Rotates queries and keys by their position (RoFormer, arXiv 2104.09864), writes the queries to `q` and appends keys
// and values to the KV cache, where a position lies at its remainder by the cache's capacity. With QK_NORM queries and
// keys are RMS-normalised first: 1 each head for itself (Qwen 3, arXiv 2505.09388), 2 all heads together (OLMoE, arXiv
// 2409.02060). One thread makes two neighbouring values; with QK_NORM it sums the squares for itself, which all threads of
// a head read from one cache line after another.
override QK_NORM: u32 = 0u;
override TEMPERATURE: bool = false;  // queries grow with the logarithm of their position (Llama 4)

struct Params {
    heads: u32,      // query heads
    kv_heads: u32,
    head_dim: u32,   // even
    rotary: u32,     // leading values of a head that rotate, even
    x_stride: u32,   // f32 elements from one row of x to the next
    q_stride: u32,   // f32 elements from one row of q to the next
    eps: f32,        // of the norm
    growth: f32,     // of TEMPERATURE, for each e-fold of the position
    floor: f32,      // positions that count as one there
    capacity: u32,   // tokens that the caches hold
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> x: array<f32>;                // [T, x_stride]: q heads, k heads, v heads
@group(0) @binding(3) var<storage, read> table: array<vec2<f32>>;      // [256 + context / 256, rotary / 2] cos, sin
@group(0) @binding(4) var<storage, read_write> q: array<f32>;          // [T, q_stride]
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>;    // [capacity, kv_heads] rows of head_dim
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>;    // [capacity, kv_heads] rows of head_dim
@group(0) @binding(7) var<storage, read> q_gain: array<f32>;           // [head_dim], or [heads, head_dim]; read with QK_NORM only
@group(0) @binding(8) var<storage, read> k_gain: array<f32>;           // [head_dim], or [kv_heads, head_dim]; read with QK_NORM only

// The gain of value i of a head, by its number among queries and keys.
fn gain(head: u32, i: u32) -> f32 {
    if (QK_NORM == 0u) {
        return 1.0;
    }
    let is_query = head < params.heads;
    let place = select(0u, select(head - params.heads, head, is_query) * params.head_dim, QK_NORM == 2u) + i;
    if (is_query) {
        return q_gain[place];
    }
    return k_gain[place];
}

// 1 / sqrt(mean(x²) + eps) over a head, or over all heads of its kind, of the row at `row`.
fn norm_scale(row: u32, head: u32) -> f32 {
    if (QK_NORM == 0u) {
        return 1.0;
    }
    var first = head;
    var count = 1u;
    if (QK_NORM == 2u) {
        let is_query = head < params.heads;
        first = select(params.heads, 0u, is_query);
        count = select(params.kv_heads, params.heads, is_query);
    }
    let base = row + first * params.head_dim;
    var sum = 0.0;
    for (var i = 0u; i < count * params.head_dim; i++) {
        let v = x[base + i];
        sum += v * v;
    }
    return inverseSqrt(sum / f32(count * params.head_dim) + params.eps);
}

// Value i of a head of the row at `row`, with its gain, rotated to `position`.
fn rotated(row: u32, head: u32, i: u32, position: u32) -> f32 {
    let base = row + head * params.head_dim;
    let v = x[base + i] * gain(head, i);
    if (i >= params.rotary) {
        return v;
    }
    let pairs = params.rotary / 2u;
    let place = place_of(i, pairs);
    let cos_sin = rotation(position, place.pair, pairs);
    let other = x[base + place.partner] * gain(head, place.partner);
    return v * cos_sin.x + select(-1.0, 1.0, place.second) * other * cos_sin.y;
}

// 32 threads take a run of 64 values of a head.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.y;
    if (t >= state.count) {
        return;
    }
    let runs = (params.head_dim + 63u) / 64u;
    let run = 2u * workgroup.x + thread / 32u;
    let head = run / runs;
    let pair = run % runs * 32u + thread % 32u;
    let i = 2u * pair;
    let inside = head < params.heads + 2u * params.kv_heads && i < params.head_dim;
    let position = state.position + t;
    var v = vec2<f32>();
    if (inside) {
        let row = t * params.x_stride;
        let base = row + head * params.head_dim;
        v = vec2<f32>(x[base + i], x[base + i + 1u]);
        if (head < params.heads + params.kv_heads) {
            v = vec2<f32>(rotated(row, head, i, position), rotated(row, head, i + 1u, position)) * norm_scale(row, head);
        }
    }
    let words = packed(v, pair, params.head_dim, thread);
    if (!inside) {
        return;
    }
    if (head < params.heads) {
        if (TEMPERATURE) {
            v *= 1.0 + params.growth * log(1.0 + floor(f32(position + 1u) / params.floor));
        }
        let out = t * params.q_stride + head * params.head_dim + i;
        q[out] = v.x;
        q[out + 1u] = v.y;
        return;
    }
    let is_key = head < params.heads + params.kv_heads;
    let kv_head = select(head - params.heads - params.kv_heads, head - params.heads, is_key);
    let out = (position % params.capacity * params.kv_heads + kv_head) * kv_words(params.head_dim);
    if (is_key) {
        if (words.first != NOWHERE) { k_cache[out + words.first] = words.values.x; }
        if (words.second != NOWHERE) { k_cache[out + words.second] = words.values.y; }
    } else {
        if (words.first != NOWHERE) { v_cache[out + words.first] = words.values.x; }
        if (words.second != NOWHERE) { v_cache[out + words.second] = words.values.y; }
    }
}
