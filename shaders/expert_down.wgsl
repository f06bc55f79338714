// y[t] += factor · Σ_j weight_j · (W_e · h[t, j] + bias_e) over the experts of token t: the second half of a mixture's MLP,
// weighted, summed and joined with the residual stream in one step.
override BIAS: bool = false;
override WEIGHTED: bool = true;  // otherwise the weights have been used before
override FACTOR: f32 = 1.0;

struct Params {
    groups: u32,      // groups of 32 in a row
    rows: u32,        // rows of an expert: the width of y
    first_slot: u32,  // experts before this part
    slots: u32,       // experts in this part
    x_stride: u32,    // vec4 elements from one row of h to the next
    y_stride: u32,    // f32 elements from one row of y to the next
    entries: u32,     // experts of a token that lie in this matrix
    first_entry: u32, // the first of them
    route_stride: u32, // entries of a token in all
}
struct Entry {
    slot: u32,
    weight: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: the weights, in the layout's file; 4: h, [T · entries, x_stride]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // [T, y_stride]
@group(0) @binding(7) var<storage, read> bias: array<f32>;           // [experts, rows], read with BIAS only
@group(0) @binding(8) var<storage, read> routing: array<Entry>;      // [T, route_stride]

var<workgroup> sums: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.z;
    if (t >= state.count) {
        return;
    }
    let lane = thread % LANES;
    let row = (workgroup.x * (64u / LANES) + thread / LANES) * 4u;
    let inside = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.rows - 1u));
    var sum = vec4<f32>();
    for (var j = 0u; j < params.entries; j++) {
        let entry = routing[t * params.route_stride + params.first_entry + j];
        let slot = entry.slot - params.first_slot;
        if (entry.slot < params.first_slot || slot >= params.slots) {
            continue;
        }
        var v = share_of(slot * params.rows + inside, (t * params.entries + j) * params.x_stride, lane).sums;
        if (BIAS && lane == 0u) {
            let at = entry.slot * params.rows;
            v += vec4<f32>(bias[at + inside.x], bias[at + inside.y], bias[at + inside.z], bias[at + inside.w]);
        }
        sum += select(v, entry.weight * v, WEIGHTED);
    }
    sums[thread] = sum;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (lane < reach) {
            sums[thread] += sums[thread + reach];
        }
    }
    if (lane != 0u || row >= params.rows) {
        return;
    }
    let v = FACTOR * sums[thread];
    let out = t * params.y_stride + row;
    let left = params.rows - row;
    y[out] += v.x;
    if (left > 1u) { y[out + 1u] += v.y; }
    if (left > 2u) { y[out + 2u] += v.z; }
    if (left > 3u) { y[out + 3u] += v.w; }
}
