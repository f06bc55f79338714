// A head's values from the latents it attended to: W_uv · latent, a matrix for each head (arXiv 2405.04434). In decode the
// latent comes from the partial results of attention's splits, which are reduced here: each is rescaled to the common maximum.
override PARTIALS: bool = false; // x has partial results of splits, otherwise rows of latents
override SPLITS: u32 = 16u;      // at most 64

struct Params {
    groups: u32,      // groups of 32 in a row of W: of the latent
    rank: u32,        // values of the latent, a multiple of 4, at most 512
    value_dim: u32,   // values of a head
    nope: u32,        // rows of a head in W before those of W_uv
    head_rows: u32,   // rows of W for each head
    first_head: u32,  // heads before this part of W
    x_stride: u32,    // f32 elements from one row of latents to the next
    y_stride: u32,    // f32 elements from one row of y to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: W, in the layout's file
@group(0) @binding(4) var<storage, read> x: array<f32>;         // [T, x_stride]: heads of `rank`; or [heads, SPLITS, rank + 2]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;   // [T, y_stride]: heads of value_dim

var<workgroup> latent: array<vec4<f32>, 128>;
var<workgroup> shares: array<f32, 64>;

fn input(i: u32) -> vec4<f32> {
    return latent[i];
}

// Four values of a split's or a token's latent.
fn four(base: u32) -> vec4<f32> {
    return vec4<f32>(x[base], x[base + 1u], x[base + 2u], x[base + 3u]);
}

// Fills `latent`, and what a row of W has beyond it with zeros.
fn gather(t: u32, head: u32, thread: u32) {
    let width = params.rank + 2u;
    let base = head * SPLITS * width;
    var used = 0u;
    if (PARTIALS) {
        let keys = state.position + 1u;
        let split_keys = ((keys + SPLITS - 1u) / SPLITS + 63u) / 64u * 64u; // as in lib/span.wgsl
        used = (keys + split_keys - 1u) / split_keys;
        var maximum = -3.0e38;
        for (var s = 0u; s < used; s++) {
            maximum = max(maximum, x[base + s * width + params.rank]);
        }
        var denominator = 0.0;
        for (var s = 0u; s < used; s++) {
            let at = base + s * width + params.rank;
            denominator += x[at + 1u] * exp(x[at] - maximum);
        }
        if (thread < used) {
            shares[thread] = exp(x[base + thread * width + params.rank] - maximum) / denominator;
        }
    }
    workgroupBarrier();
    for (var i = thread; i < params.groups * 8u; i += 64u) {
        var v = vec4<f32>();
        if (i * 4u < params.rank) {
            if (PARTIALS) {
                for (var s = 0u; s < used; s++) {
                    v += shares[s] * four(base + s * width + i * 4u);
                }
            } else {
                v = four(t * params.x_stride + head * params.rank + i * 4u);
            }
        }
        latent[i] = v;
    }
    workgroupBarrier();
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.z;
    if (t >= state.count) {
        return;
    }
    let head = params.first_head + workgroup.y;
    gather(t, head, thread);
    let lane = thread % LANES;
    let row = (workgroup.x * (64u / LANES) + thread / LANES) * 4u;
    let inside = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.value_dim - 1u));
    let rows = workgroup.y * params.head_rows + params.nope + inside;
    let v = reduced(share_of(rows, 0u, lane), thread).sums;
    if (lane != 0u || row >= params.value_dim) {
        return;
    }
    let out = t * params.y_stride + head * params.value_dim + row;
    let left = params.value_dim - row;
    y[out] = v.x;
    if (left > 1u) { y[out + 1u] = v.y; }
    if (left > 2u) { y[out + 2u] = v.z; }
    if (left > 3u) { y[out + 3u] = v.w; }
}
