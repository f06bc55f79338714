// Prepares latent attention (arXiv 2405.04434). For each head it makes the absorbed query, which is compared with the cache:
// W_ukᵀ · q_nope, and q_rope rotated to its position. It also writes what the cache keeps of a token: the latent,
// RMS-normalised, and the RoPE part of the key, which all heads share. There is a workgroup for each head of a token, and one for
// its row of the cache.
override Q_IN_OUT: bool = false; // the queries lie in rows of `out`, otherwise of x

struct Params {
    groups: u32,      // groups of 32 in a row of W: of the latent
    rank: u32,        // values of the latent, even
    nope: u32,        // values of a head without positions
    rotary: u32,      // values of the RoPE part, even
    head_rows: u32,   // rows of W for each head, of which the first `nope` are W_uk
    first_head: u32,  // heads before this part of W
    heads: u32,       // in this part; the workgroup after them is the cache's
    q_from: u32,      // f32 elements of a row before the queries
    x_stride: u32,    // f32 elements from one row of x to the next
    out_stride: u32,  // f32 elements from one row of out to the next
    eps: f32,         // of the norm
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: W, in the layout's file
@group(0) @binding(4) var<storage, read> x: array<f32>;              // [T, x_stride]: latent, RoPE part of the key, …
@group(0) @binding(5) var<storage, read_write> out: array<f32>;      // [T, out_stride]: heads of rank + rotary values, …
@group(0) @binding(6) var<storage, read> table: array<vec2<f32>>;    // [256 + context / 256, rotary / 2] cos, sin
@group(0) @binding(7) var<storage, read> gain: array<f32>;           // [rank]
@group(0) @binding(8) var<storage, read_write> cache: array<u32>;    // [context] rows of rank + rotary

var<workgroup> sums: array<vec4<f32>, 512>; // [64 threads, 8]

// Value i of the queries of token t: heads of nope + rotary values.
fn query(t: u32, i: u32) -> f32 {
    if (Q_IN_OUT) {
        return out[t * params.out_stride + params.q_from + i];
    }
    return x[t * params.x_stride + params.q_from + i];
}

// Two neighbouring values of the RoPE part of the key, rotated.
fn rotated_key(t: u32, i: u32) -> vec2<f32> {
    let base = t * params.x_stride + params.rank;
    let pairs = params.rotary / 2u;
    var v = array<f32, 2>();
    for (var n = 0u; n < 2u; n++) {
        let place = place_of(i + n, pairs);
        let cos_sin = rotation(state.position + t, place.pair, pairs);
        v[n] = x[base + i + n] * cos_sin.x + select(-1.0, 1.0, place.second) * x[base + place.partner] * cos_sin.y;
    }
    return vec2<f32>(v[0], v[1]);
}

fn append(t: u32, thread: u32) {
    let base = t * params.x_stride;
    var square = 0.0;
    for (var i = thread; i < params.rank; i += 64u) {
        square += x[base + i] * x[base + i];
    }
    sums[thread].x = square;
    for (var reach = 32u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            sums[thread].x += sums[thread + reach].x;
        }
    }
    workgroupBarrier();
    let scale = inverseSqrt(sums[0].x / f32(params.rank) + params.eps);
    let width = params.rank + params.rotary;
    let base_out = (state.position + t) * kv_words(width);
    for (var first = 0u; first < width; first += 128u) {
        let i = first + 2u * thread;
        var v = vec2<f32>();
        if (i < params.rank) {
            v = vec2<f32>(x[base + i] * gain[i], x[base + i + 1u] * gain[i + 1u]) * scale;
        } else if (i < width) {
            v = rotated_key(t, i - params.rank);
        }
        let words = packed(v, i / 2u, width, thread);
        if (i < width) {
            if (words.first != NOWHERE) { cache[base_out + words.first] = words.values.x; }
            if (words.second != NOWHERE) { cache[base_out + words.second] = words.values.y; }
        }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.y;
    if (t >= state.count) {
        return;
    }
    if (workgroup.x == params.heads) {
        append(t, thread);
        return;
    }
    let head = params.first_head + workgroup.x;
    let q = head * (params.nope + params.rotary);
    let out_base = t * params.out_stride + head * (params.rank + params.rotary);
    // Four threads share a group of 32 outputs.
    let lane = thread % 4u;
    for (var first = 0u; first < params.groups; first += 16u) {
        let g = first + thread / 4u;
        var a0 = vec4<f32>();
        var a1 = vec4<f32>();
        var a2 = vec4<f32>();
        var a3 = vec4<f32>();
        var a4 = vec4<f32>();
        var a5 = vec4<f32>();
        var a6 = vec4<f32>();
        var a7 = vec4<f32>();
        if (g < params.groups) {
            for (var i = lane; i < params.nope; i += 4u) {
                let b = weight_block(workgroup.x * params.head_rows + i, g);
                let v = query(t, q + i);
                a0 += v * weights_low(b, b.q0);
                a1 += v * weights_low(b, b.q1);
                a2 += v * weights_low(b, b.q2);
                a3 += v * weights_low(b, b.q3);
                a4 += v * weights_high(b, b.q4);
                a5 += v * weights_high(b, b.q5);
                a6 += v * weights_high(b, b.q6);
                a7 += v * weights_high(b, b.q7);
            }
        }
        let at = thread * 8u;
        sums[at] = a0;
        sums[at + 1u] = a1;
        sums[at + 2u] = a2;
        sums[at + 3u] = a3;
        sums[at + 4u] = a4;
        sums[at + 5u] = a5;
        sums[at + 6u] = a6;
        sums[at + 7u] = a7;
        workgroupBarrier();
        if (g < params.groups) {
            // Each of the four adds up two of the eight.
            for (var j = 2u * lane; j < 2u * lane + 2u; j++) {
                let source = (thread - lane) * 8u + j;
                let v = sums[source] + sums[source + 8u] + sums[source + 16u] + sums[source + 24u];
                let r = g * 32u + j * 4u;
                if (r < params.rank) { out[out_base + r] = v.x; }
                if (r + 1u < params.rank) { out[out_base + r + 1u] = v.y; }
                if (r + 2u < params.rank) { out[out_base + r + 2u] = v.z; }
                if (r + 3u < params.rank) { out[out_base + r + 3u] = v.w; }
            }
        }
        workgroupBarrier();
    }
    let pairs = params.rotary / 2u;
    for (var i = thread; i < params.rotary; i += 64u) {
        let place = place_of(i, pairs);
        let cos_sin = rotation(state.position + t, place.pair, pairs);
        let own = query(t, q + params.nope + i);
        let partner = query(t, q + params.nope + place.partner);
        out[out_base + params.rank + i] = own * cos_sin.x + select(-1.0, 1.0, place.second) * partner * cos_sin.y;
    }
}
