// Joins the SPLITS stretches that attention left for one token: each is rescaled to the common maximum.
override SPLITS: u32 = 16u;

struct Params {
    head_dim: u32,
    window: u32,    // as in attention
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> parts: array<f32>;       // [heads, SPLITS, head_dim + 2]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;   // [heads, head_dim]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let head = workgroup.x;
    let seen = state.position + 1u;
    let keys = select(seen, min(seen, params.window), params.window > 0u);
    let stretch = ((keys + SPLITS - 1u) / SPLITS + 63u) / 64u * 64u;
    let splits = (keys + stretch - 1u) / stretch;
    let width = params.head_dim + 2u;
    let base = head * SPLITS * width;
    var maximum = -3.0e38;
    for (var s = 0u; s < splits; s++) {
        maximum = max(maximum, parts[base + s * width + params.head_dim]);
    }
    var denominator = 0.0;
    for (var s = 0u; s < splits; s++) {
        let at = base + s * width + params.head_dim;
        denominator += parts[at + 1u] * exp(parts[at] - maximum);
    }
    for (var i = thread; i < params.head_dim; i += 64u) {
        var sum = 0.0;
        for (var s = 0u; s < splits; s++) {
            let at = base + s * width;
            sum += parts[at + i] * exp(parts[at + params.head_dim] - maximum);
        }
        out[head * params.head_dim + i] = sum / denominator;
    }
}
