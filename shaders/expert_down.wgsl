// y += factor · Σ_j weight_j · (W_e · h[j] + bias_e) over the experts e of one token: the second half of a mixture's MLP in
// decode, weighted, summed and added to the residual stream in one step.
override BIAS: bool = false;
override WEIGHTED: bool = true;  // otherwise the weights have been used before
override FACTOR: f32 = 1.0;

struct Params {
    groups: u32,      // groups of 32 in a row
    rows: u32,        // rows of an expert: the width of y
    first_slot: u32,  // slot of the first expert of this part
    slots: u32,       // experts in this part
    interleaved: u32, // see lib/expert_rows.wgsl
    x_stride: u32,    // vec4 elements from one row of h to the next
    first_entry: u32, // the first entry that lies in this matrix
    count: u32,       // entries that lie in this matrix
    routing_at: u32,  // where the entries begin
}
@group(0) @binding(0) var<uniform> params: Params;
// 2, 3: the weights, in the layout's file; 4: h, [count, x_stride]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // [rows]
@group(0) @binding(7) var<storage, read> bias: array<f32>;           // [experts, rows], read with BIAS only
@group(0) @binding(8) var<storage, read> router: array<u32>;         // from routing_at on pairs of slot and weight

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let row = (workgroup.x * (64u / LANES) + thread / LANES) * 4u;
    let inside = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.rows - 1u));
    var sum = vec4<f32>();
    for (var j = 0u; j < params.count; j++) {
        let at = params.routing_at + (params.first_entry + j) * 2u;
        let slot = router[at] - params.first_slot;
        if (router[at] < params.first_slot || slot >= params.slots) {
            continue;
        }
        let rows = vec4<u32>(expert_row(slot, inside.x), expert_row(slot, inside.y),
                             expert_row(slot, inside.z), expert_row(slot, inside.w));
        var v = share_of(rows, j * params.x_stride, lane).sums;
        if (BIAS && lane == 0u) {
            let b = router[at] * params.rows;
            v += vec4<f32>(bias[b + inside.x], bias[b + inside.y], bias[b + inside.z], bias[b + inside.w]);
        }
        sum += select(v, bitcast<f32>(router[at + 1u]) * v, WEIGHTED);
    }
    let total = reduced(Share(sum, 0.0), thread);
    if (lane != 0u || row >= params.rows) {
        return;
    }
    let v = FACTOR * total.sums;
    let left = params.rows - row;
    y[row] += v.x;
    if (left > 1u) { y[row + 1u] += v.y; }
    if (left > 2u) { y[row + 2u] += v.z; }
    if (left > 3u) { y[row + 3u] += v.w; }
}
