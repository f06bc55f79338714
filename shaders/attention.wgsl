// out = softmax(q · Kᵀ · scale) · V over the keys a token may see: causal, and the last `window` where that is set.
// Grouped heads (arXiv 2305.13245), online softmax over tiles of 64 keys (FlashAttention, arXiv 2205.14135).
// A workgroup takes one head of one token and one of SPLITS stretches of the context; with more than one, each leaves
// its unnormalised sum, maximum and denominator to attention_reduce (Flash-Decoding).
override SPLITS: u32 = 1u;

struct Params {
    heads: u32,      // query heads
    kv_heads: u32,
    head_dim: u32,   // even, at most 256
    window: u32,     // keys a token sees, itself included; 0: all before it
    q_stride: u32,   // f32 elements from one row of q to the next
    out_stride: u32, // the same of out
    scale: f32,      // usually 1 / sqrt(head_dim)
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> q: array<f32>;             // [T, q_stride]
@group(0) @binding(3) var<storage, read> k_cache: array<u32>;       // [context, kv_heads, head_dim]
@group(0) @binding(4) var<storage, read> v_cache: array<u32>;       // [context, kv_heads, head_dim]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;     // [T, out_stride], or [heads, SPLITS, head_dim + 2]

var<workgroup> query: array<vec2<f32>, 128>;
var<workgroup> partial: array<f32, 512>;      // [64 keys, 8 lanes]
var<workgroup> score: array<f32, 64>;
var<workgroup> weight: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let head = workgroup.x;
    let split = workgroup.y;
    let t = workgroup.z;
    if (t >= state.count) {
        return;
    }
    let end = state.position + t + 1u;
    let start = select(0u, end - min(end, params.window), params.window > 0u);
    let stretch = ((end - start + SPLITS - 1u) / SPLITS + 63u) / 64u * 64u;
    let first = start + split * stretch;
    if (first >= end) {
        return;
    }
    let stop = min(first + stretch, end);
    let pairs = params.head_dim / 2u;
    let kv_head = head / (params.heads / params.kv_heads);
    let q_base = t * params.q_stride + head * params.head_dim;
    for (var i = thread; i < pairs; i += 64u) {
        query[i] = vec2<f32>(q[q_base + 2u * i], q[q_base + 2u * i + 1u]) * params.scale;
    }
    workgroupBarrier();

    var sum0 = vec2<f32>(); // this thread's pair of the output
    var sum1 = vec2<f32>(); // and the one 64 pairs on
    var maximum = -3.0e38;
    var denominator = 0.0;
    for (var tile = first; tile < stop; tile += 64u) {
        let lane = thread % 8u;
        for (var round = 0u; round < 8u; round++) {
            let slot = round * 8u + thread / 8u;
            let key = min(tile + slot, stop - 1u);
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
        score[thread] = select(-3.0e38, s, tile + thread < stop);
        workgroupBarrier();
        var tile_maximum = maximum;
        for (var j = 0u; j < 64u; j++) {
            tile_maximum = max(tile_maximum, score[j]);
        }
        weight[thread] = select(0.0, exp(score[thread] - tile_maximum), tile + thread < stop);
        workgroupBarrier();
        let rescale = exp(maximum - tile_maximum);
        sum0 *= rescale;
        sum1 *= rescale;
        denominator *= rescale;
        maximum = tile_maximum;
        for (var j = 0u; j < min(64u, stop - tile); j++) {
            let w = weight[j];
            denominator += w;
            let base = ((tile + j) * params.kv_heads + kv_head) * pairs;
            if (thread < pairs) {
                sum0 += w * value_pair(base + thread);
            }
            if (thread + 64u < pairs) {
                sum1 += w * value_pair(base + thread + 64u);
            }
        }
    }

    var base = t * params.out_stride + head * params.head_dim;
    if (SPLITS == 1u) {
        sum0 /= denominator;
        sum1 /= denominator;
    } else {
        base = (head * SPLITS + split) * (params.head_dim + 2u);
        if (thread == 0u) {
            out[base + params.head_dim] = maximum;
            out[base + params.head_dim + 1u] = denominator;
        }
    }
    if (thread < pairs) {
        out[base + 2u * thread] = sum0.x;
        out[base + 2u * thread + 1u] = sum0.y;
    }
    if (thread + 64u < pairs) {
        out[base + 2u * thread + 128u] = sum1.x;
        out[base + 2u * thread + 129u] = sum1.y;
    }
}
