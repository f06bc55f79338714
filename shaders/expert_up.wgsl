// h[j] = gate(W_e · n(x) + bias_e) for the experts e of one token, as route.wgsl chose them: the first half of a mixture's MLP in
// decode. Gate and up rows of an expert are interleaved. n: RMS norm folded in (lib/share.wgsl), or the identity.
override BIAS: bool = false;
override INPUT_WEIGHT: bool = false; // the token is scaled by its weight before the gate (Llama 4)

struct Params {
    groups: u32,        // groups of 32 in a row
    rows: u32,          // rows of an expert, even
    first_slot: u32,    // slot of the first expert of this part
    slots: u32,         // experts in this part
    width: u32,         // values of x
    h_stride: u32,      // f32 elements from one row of h to the next
    first_entry: u32,   // the first entry that lies in this matrix
    routing_at: u32,    // where the entries begin
    eps: f32,           // of the norm
}
@group(0) @binding(0) var<uniform> params: Params;
// 2, 3: the weights, in the layout's file; 4: x; 6: the norm's gain
@group(0) @binding(5) var<storage, read_write> h: array<f32>;        // [entries, h_stride]
@group(0) @binding(7) var<storage, read> bias: array<f32>;           // [experts, rows], read with BIAS only
@group(0) @binding(8) var<storage, read> router: array<u32>;         // from routing_at on pairs of slot and weight

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let entry = params.routing_at + (params.first_entry + workgroup.z) * 2u;
    let slot = router[entry] - params.first_slot;
    // The step of another part is for experts that lie there.
    let here = router[entry] >= params.first_slot && slot < params.slots;
    let lane = thread % LANES;
    let row = (workgroup.x * (64u / LANES) + thread / LANES) * 4u;
    var share = Share();
    if (here) {
        let inside = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.rows - 1u));
        share = share_of(slot * params.rows + inside, 0u, lane);
    }
    let total = reduced(share, thread);
    if (!here || lane != 0u || row >= params.rows) {
        return;
    }
    var v = total.sums;
    if (NORM) {
        v *= inverseSqrt(total.square / f32(params.width) + params.eps);
    }
    if (INPUT_WEIGHT) {
        v *= bitcast<f32>(router[entry + 1u]);
    }
    let pair = row + 2u < params.rows;
    if (BIAS) {
        let at = router[entry] * params.rows + row;
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
