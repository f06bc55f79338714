// h[t, j] = gate(W_e · n(x[t]) + bias_e) for the experts e that `routing` gives token t: the first half of a mixture's MLP.
// Gate and up rows of an expert take turns. n: RMS norm folded in (lib/share.wgsl), or the identity.
override BIAS: bool = false;
override INPUT_WEIGHT: bool = false; // the token is scaled by its weight before the gate (Llama 4)

struct Params {
    groups: u32,      // groups of 32 in a row
    rows: u32,        // rows of an expert, even
    first_slot: u32,  // experts before this part
    slots: u32,       // experts in this part
    x_stride: u32,    // vec4 elements from one row of x to the next
    h_stride: u32,    // f32 elements from one row of h to the next
    entries: u32,     // experts of a token that lie in this matrix
    first_entry: u32, // the first of them
    route_stride: u32, // entries of a token in all
    width: u32,       // values in a row of x
    eps: f32,
}
struct Entry {
    slot: u32,
    weight: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: the weights, in the layout's file; 4: x, [T, x_stride]; 6: the norm's gain
@group(0) @binding(5) var<storage, read_write> h: array<f32>;        // [T · entries, h_stride]
@group(0) @binding(7) var<storage, read> bias: array<f32>;           // [experts, rows], read with BIAS only
@group(0) @binding(8) var<storage, read> routing: array<Entry>;      // [T, route_stride]

var<workgroup> sums: array<vec4<f32>, 64>;
var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.z / params.entries;
    let j = workgroup.z % params.entries;
    if (t >= state.count) {
        return;
    }
    let entry = routing[t * params.route_stride + params.first_entry + j];
    let slot = entry.slot - params.first_slot;
    if (entry.slot < params.first_slot || slot >= params.slots) {
        return;
    }
    let lane = thread % LANES;
    let row = (workgroup.x * (64u / LANES) + thread / LANES) * 4u;
    let rows = slot * params.rows + min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.rows - 1u));
    let share = share_of(rows, t * params.x_stride, lane);
    sums[thread] = share.sums;
    squares[thread] = share.square;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (lane < reach) {
            sums[thread] += sums[thread + reach];
            squares[thread] += squares[thread + reach];
        }
    }
    if (lane != 0u || row >= params.rows) {
        return;
    }
    var v = sums[thread];
    if (NORM) {
        v *= inverseSqrt(squares[thread] / f32(params.width) + params.eps);
    }
    if (INPUT_WEIGHT) {
        v *= entry.weight;
    }
    let pair = row + 2u < params.rows;
    if (BIAS) {
        let at = entry.slot * params.rows + row;
        v.x += bias[at];
        v.y += bias[at + 1u];
        if (pair) {
            v.z += bias[at + 2u];
            v.w += bias[at + 3u];
        }
    }
    let out = workgroup.z * params.h_stride + row / 2u;
    h[out] = gate_up(v.x, v.y);
    if (pair) {
        h[out + 1u] = gate_up(v.z, v.w);
    }
}
