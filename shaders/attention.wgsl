// out = softmax(q · Kᵀ · scale) · V over the keys a token may see (lib/span.wgsl).
// Grouped heads (arXiv 2305.13245), online softmax over tiles of 64 keys (FlashAttention, arXiv 2205.14135).
// A workgroup takes one head of one token and one of SPLITS stretches of the context; with more than one, each leaves
// its unnormalised sum, maximum and denominator to attention_reduce (Flash-Decoding).
// Values may be the leading part of what is compared as keys: the latent of DeepSeek-V2 (arXiv 2405.04434) is both.
override SPLITS: u32 = 1u;
override SINKS: bool = false; // each head has one more score, which takes part in the softmax and has no value (gpt-oss)

struct Params {
    heads: u32,      // query heads
    kv_heads: u32,
    key_dim: u32,    // of a query and a key head, even, at most 576
    value_dim: u32,  // of a value head, even, at most 512
    value_row: u32,  // values of v_cache from one head to the next
    window: u32,     // 0: none
    chunk: u32,      // 0: none
    q_stride: u32,   // f32 elements from one row of q to the next
    out_stride: u32, // the same of out
    scale: f32,      // usually 1 / sqrt(key_dim)
    capacity: u32,   // tokens that the caches hold: position p lies at p % capacity
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> q: array<f32>;             // [T, q_stride]
@group(0) @binding(3) var<storage, read> k_cache: array<u32>;       // [capacity, kv_heads, key_dim]
@group(0) @binding(4) var<storage, read> v_cache: array<u32>;       // [capacity, kv_heads, value_row]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;     // [T, out_stride], or [heads, SPLITS, value_dim + 2]
@group(0) @binding(6) var<storage, read> sinks: array<f32>;         // [heads], read with SINKS only

var<workgroup> query: array<vec2<f32>, 288>;
var<workgroup> partial: array<f32, 512>;      // [64 keys, 8 lanes]
var<workgroup> score: array<f32, 64>;
var<workgroup> weight: array<f32, 64>;

// Where the cache has the token `offset` past the one at `origin`; no token sees more than `capacity`.
fn place(origin: u32, offset: u32) -> u32 {
    let i = origin + offset;
    return select(i, i - params.capacity, i >= params.capacity);
}

fn put(base: u32, pair: u32, pairs: u32, v: vec2<f32>) {
    if (pair < pairs) {
        out[base + 2u * pair] = v.x;
        out[base + 2u * pair + 1u] = v.y;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let head = workgroup.x;
    let split = workgroup.y;
    let t = workgroup.z;
    if (t >= state.count) {
        return;
    }
    let end = state.position + t + 1u;
    let start = first_key(end);
    let stretch = stretch_of(end - start);
    let first = start + split * stretch;
    if (first >= end) {
        return;
    }
    let keys = min(stretch, end - first); // of this stretch
    let origin = first % params.capacity;
    let pairs = params.key_dim / 2u;
    let value_pairs = params.value_dim / 2u;
    let kv_head = head / (params.heads / params.kv_heads);
    let q_base = t * params.q_stride + head * params.key_dim;
    for (var i = thread; i < pairs; i += 64u) {
        query[i] = vec2<f32>(q[q_base + 2u * i], q[q_base + 2u * i + 1u]) * params.scale;
    }
    workgroupBarrier();

    var sum0 = vec2<f32>(); // this thread's pair of the output
    var sum1 = vec2<f32>(); // and those 64, 128 and 192 pairs on
    var sum2 = vec2<f32>();
    var sum3 = vec2<f32>();
    var maximum = -3.0e38;
    var denominator = 0.0;
    for (var tile = 0u; tile < keys; tile += 64u) {
        let lane = thread % 8u;
        for (var round = 0u; round < 8u; round++) {
            let slot = round * 8u + thread / 8u;
            let key = place(origin, min(tile + slot, keys - 1u));
            let base = (key * params.kv_heads + kv_head) * pairs;
            var s = 0.0;
            for (var i = lane; i < pairs; i += 8u) {
                s += dot(query[i], key_pair(base + i));
            }
            partial[slot * 8u + lane] = s;
        }
        workgroupBarrier();
        let p = thread * 8u;
        let s = partial[p] + partial[p + 1u] + partial[p + 2u] + partial[p + 3u]
              + partial[p + 4u] + partial[p + 5u] + partial[p + 6u] + partial[p + 7u];
        score[thread] = select(-3.0e38, s, tile + thread < keys);
        workgroupBarrier();
        var tile_maximum = maximum;
        for (var j = 0u; j < 64u; j++) {
            tile_maximum = max(tile_maximum, score[j]);
        }
        weight[thread] = select(0.0, exp(score[thread] - tile_maximum), tile + thread < keys);
        workgroupBarrier();
        let rescale = exp(maximum - tile_maximum);
        sum0 *= rescale;
        sum1 *= rescale;
        sum2 *= rescale;
        sum3 *= rescale;
        denominator *= rescale;
        maximum = tile_maximum;
        for (var j = 0u; j < min(64u, keys - tile); j++) {
            let w = weight[j];
            denominator += w;
            let base = (place(origin, tile + j) * params.kv_heads + kv_head) * (params.value_row / 2u);
            if (thread < value_pairs) {
                sum0 += w * value_pair(base + thread);
            }
            if (thread + 64u < value_pairs) {
                sum1 += w * value_pair(base + thread + 64u);
            }
            if (thread + 128u < value_pairs) {
                sum2 += w * value_pair(base + thread + 128u);
            }
            if (thread + 192u < value_pairs) {
                sum3 += w * value_pair(base + thread + 192u);
            }
        }
    }

    var base = t * params.out_stride + head * params.value_dim;
    var factor = 1.0;
    if (SPLITS == 1u) {
        if (SINKS) {
            let with_sink = max(maximum, sinks[head]);
            factor = exp(maximum - with_sink);
            denominator = denominator * factor + exp(sinks[head] - with_sink);
        }
        factor /= denominator;
    } else {
        base = (head * SPLITS + split) * (params.value_dim + 2u);
        if (thread == 0u) {
            out[base + params.value_dim] = maximum;
            out[base + params.value_dim + 1u] = denominator;
        }
    }
    put(base, thread, value_pairs, sum0 * factor);
    put(base, thread + 64u, value_pairs, sum1 * factor);
    put(base, thread + 128u, value_pairs, sum2 * factor);
    put(base, thread + 192u, value_pairs, sum3 * factor);
}
