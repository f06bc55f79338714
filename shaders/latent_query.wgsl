// The query of a head as latent attention compares it with the cache (arXiv 2405.04434, "absorbed"): W_ukᵀ · q_nope, then
// q_rope turned to its position. A workgroup per head and token; four threads share a group of 32 outputs.
struct Params {
    groups: u32,      // groups of 32 in a row of W: of the latent
    rank: u32,        // values of the latent
    nope: u32,        // values of a head that know no position
    rotary: u32,      // values that turn
    head_rows: u32,   // rows of W for each head, of which the first `nope` are W_uk
    first_head: u32,  // heads before this part of W
    q_stride: u32,    // f32 elements from one row of q to the next
    out_stride: u32,  // the same of out
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: W, in the layout's file
@group(0) @binding(4) var<storage, read> q: array<f32>;              // [T, q_stride]: heads of nope + rotary values
@group(0) @binding(5) var<storage, read_write> out: array<f32>;      // [T, out_stride]: heads of rank + rotary values
@group(0) @binding(6) var<storage, read> table: array<vec2<f32>>;    // [256 + context / 256, rotary / 2] cos, sin

var<workgroup> sums: array<vec4<f32>, 512>; // [64 threads, 8]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.y;
    if (t >= state.count) {
        return;
    }
    let head = params.first_head + workgroup.x;
    let q_base = t * params.q_stride + head * (params.nope + params.rotary);
    let out_base = t * params.out_stride + head * (params.rank + params.rotary);
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
                let v = q[q_base + i];
                let s = v * b.scale;
                let m = vec4<f32>(v * b.minimum);
                a0 += s * b.q0 + m;
                a1 += s * b.q1 + m;
                a2 += s * b.q2 + m;
                a3 += s * b.q3 + m;
                a4 += s * b.q4 + m;
                a5 += s * b.q5 + m;
                a6 += s * b.q6 + m;
                a7 += s * b.q7 + m;
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
            // Each of the four joins two of the eight.
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
    let position = state.position + t;
    for (var i = thread; i < params.rotary; i += 64u) {
        let place = place_of(i, pairs);
        let turn = rotation(position, place.pair, pairs);
        let base = q_base + params.nope;
        out[out_base + params.rank + i] =
            q[base + i] * turn.x + select(-1.0, 1.0, place.second) * q[base + place.partner] * turn.y;
    }
}
