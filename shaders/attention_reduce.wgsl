// Reduces the partial results of the SPLITS splits of attention for one token: each is rescaled to the common maximum.
override SPLITS: u32 = 16u;   // at most 64
override SINKS: bool = false; // as in attention
const THREADS = 64u;          // of a workgroup

struct Params {
    value_dim: u32,
    window: u32,
    chunk: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> parts: array<f32>;       // [heads, SPLITS, value_dim + 2]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;   // [heads, value_dim]
@group(0) @binding(6) var<storage, read> sinks: array<f32>;       // [heads], read with SINKS only

var<workgroup> shares: array<f32, 64>; // of the splits

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let head = workgroup.x;
    let end = state.position + 1u;
    let keys = end - first_key(end);
    let split_keys = keys_of_split(keys);
    let splits = (keys + split_keys - 1u) / split_keys;
    let width = params.value_dim + 2u;
    let base = head * SPLITS * width;
    var maximum = -3.0e38;
    if (SINKS) {
        maximum = sinks[head];
    }
    for (var s = 0u; s < splits; s++) {
        maximum = max(maximum, parts[base + s * width + params.value_dim]);
    }
    var denominator = 0.0;
    if (SINKS) {
        denominator = exp(sinks[head] - maximum);
    }
    for (var s = 0u; s < splits; s++) {
        let at = base + s * width + params.value_dim;
        denominator += parts[at + 1u] * exp(parts[at] - maximum);
    }
    for (var s = thread; s < splits; s += THREADS) {
        shares[s] = exp(parts[base + s * width + params.value_dim] - maximum) / denominator;
    }
    workgroupBarrier();
    for (var i = thread; i < params.value_dim; i += THREADS) {
        var sum = 0.0;
        for (var s = 0u; s < splits; s++) {
            sum += parts[base + s * width + i] * shares[s];
        }
        out[head * params.value_dim + i] = sum;
    }
}
