// Rotates queries and keys by their position (RoFormer, arXiv 2104.09864), writes the queries to `q` and appends keys
// and values to the KV cache. One thread makes two neighbouring values.
//
// cos and sin come from two short tables joined by the angle sum, exact to f32 at any position:
//   table[0..256]  position mod 256 (scaled by the attention factor of YaRN),  table[256..]  position / 256.
override KV_F16: bool = true;        // the cache holds pairs of f16 in a word; otherwise f32
override INTERLEAVED: bool = false;  // rotate (2i, 2i+1) as in the paper; otherwise (i, i + rotary/2)

struct Params {
    heads: u32,      // query heads
    kv_heads: u32,
    head_dim: u32,   // even
    rotary: u32,     // leading values of a head that rotate, even
    x_stride: u32,   // f32 elements from one row of x to the next
    q_stride: u32,   // the same of q
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> x: array<f32>;                // [T, x_stride]: q heads, k heads, v heads
@group(0) @binding(3) var<storage, read> table: array<vec2<f32>>;      // [256 + context / 256, rotary / 2] cos, sin
@group(0) @binding(4) var<storage, read_write> q: array<f32>;          // [T, q_stride]
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>;    // [context, kv_heads, head_dim]
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>;    // [context, kv_heads, head_dim]

// Value i of the head at `base`, rotated to `position`.
fn rotated(base: u32, i: u32, position: u32) -> f32 {
    let v = x[base + i];
    if (i >= params.rotary) {
        return v;
    }
    let pairs = params.rotary / 2u;
    var pair: u32;
    var partner: u32;
    var sign: f32;
    if (INTERLEAVED) {
        pair = i / 2u;
        partner = i ^ 1u;
        sign = select(-1.0, 1.0, (i & 1u) == 1u);
    } else {
        let second = i >= pairs;
        pair = select(i, i - pairs, second);
        partner = select(i + pairs, i - pairs, second);
        sign = select(-1.0, 1.0, second);
    }
    let a = table[(position % 256u) * pairs + pair];
    let b = table[(256u + position / 256u) * pairs + pair];
    let c = a.x * b.x - a.y * b.y;
    let s = a.y * b.x + a.x * b.y;
    return v * c + sign * x[base + partner] * s;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pairs = params.head_dim / 2u;
    let head = id.x / pairs;
    let i = (id.x % pairs) * 2u;
    let t = id.y;
    if (head >= params.heads + 2u * params.kv_heads || t >= state.count) {
        return;
    }
    let position = state.position + t;
    let base = t * params.x_stride + head * params.head_dim;
    var v = vec2<f32>(x[base + i], x[base + i + 1u]);
    if (head < params.heads + params.kv_heads) {
        v = vec2<f32>(rotated(base, i, position), rotated(base, i + 1u, position));
    }
    if (head < params.heads) {
        let out = t * params.q_stride + head * params.head_dim + i;
        q[out] = v.x;
        q[out + 1u] = v.y;
        return;
    }
    let is_key = head < params.heads + params.kv_heads;
    let kv_head = select(head - params.heads - params.kv_heads, head - params.heads, is_key);
    let out = (position * params.kv_heads + kv_head) * params.head_dim + i;
    if (KV_F16) {
        let word = pack2x16float(v);
        if (is_key) { k_cache[out / 2u] = word; } else { v_cache[out / 2u] = word; }
    } else {
        let words = bitcast<vec2<u32>>(v);
        if (is_key) {
            k_cache[out] = words.x;
            k_cache[out + 1u] = words.y;
        } else {
            v_cache[out] = words.x;
            v_cache[out + 1u] = words.y;
        }
    }
}
