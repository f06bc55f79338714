// h[j] = gate(W_e · n(x) + bias_e) for the experts e of one token: the first half of a mixture's MLP in decode. Each
// workgroup works out the routing for itself (lib/route.wgsl); those of the first rows write it for the second half.
// Gate and up rows of an expert are interleaved. n: RMS norm folded in (lib/share.wgsl), or the identity.
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
    experts: u32,       // as in route.wgsl
    top_k: u32,
    expert_groups: u32,
    kept_groups: u32,
    shared_slot: u32,
    routing_at: u32,
    entries: u32,
    factor: f32,
    eps: f32,           // of the norm
}
@group(0) @binding(0) var<uniform> params: Params;
// 2, 3: the weights, in the layout's file; 4: x; 6: the norm's gain; 8: logits and entries; 9: corrections and slots
@group(0) @binding(5) var<storage, read_write> h: array<f32>;        // [entries, h_stride]
@group(0) @binding(7) var<storage, read> bias: array<f32>;           // [experts, rows], read with BIAS only

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let j = params.first_entry + workgroup.z;
    if (j < params.top_k) {
        choose(0u, thread);
    }
    let entry = entry_of(0u, j);
    if (workgroup.x == 0u && thread == 0u) {
        put_entry(0u, j, entry);
    }
    let slot = entry.slot - params.first_slot;
    // The step of another part is for experts that lie there.
    let here = entry.slot >= params.first_slot && slot < params.slots;
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
