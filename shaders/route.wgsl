// Chooses each token's experts (lib/route.wgsl), a workgroup per token, and writes their slots and weights: prefill.
struct Params {
    experts: u32,       // at most 512
    top_k: u32,         // at most 64
    expert_groups: u32, // 1: no groups
    kept_groups: u32,   // groups that take part
    shared_slot: u32,   // of the first part of the shared expert
    routing_at: u32,    // where the entries begin
    entries: u32,       // of a token: top_k and the shared ones
    factor: f32,
    stride: u32,        // f32 elements from one row of logits to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 8: logits and entries; 9: corrections and slots; both in lib/route.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.x;
    if (t >= state.count) {
        return;
    }
    choose(t * params.stride, thread);
    for (var j = thread; j < params.entries; j += 64u) {
        put_entry(t, j, entry_of(t * params.stride, j));
    }
}
