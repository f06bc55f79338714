// y[t] += factor · Σ_j z[t, j], the products of a token's entries: the end of a mixture in prefill.
override FACTOR: f32 = 1.0;

struct Params {
    width: u32,    // values in a row of y
    entries: u32,  // rows of a token in z
    stride: u32,   // f32 elements from one row to the next, in y and z
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(4) var<storage, read> z: array<f32>;              // [T · entries, stride]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // [T, stride]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let t = id.y;
    if (t >= state.count || id.x >= params.width) {
        return;
    }
    var sum = 0.0;
    for (var j = 0u; j < params.entries; j++) {
        sum += z[(t * params.entries + j) * params.stride + id.x];
    }
    y[t * params.stride + id.x] += FACTOR * sum;
}
