// x[t] = scale · W[tokens[t]], for the rows of W that lie in this part.
struct Params {
    groups: u32,    // groups of 32 in a row
    row_start: u32, // first row of this part
    row_end: u32,   // one past its last
    stride: u32,    // vec4 elements from one row of x to the next
    scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: the weights, in the layout's file
@group(0) @binding(4) var<storage, read> tokens: array<u32>;         // [T]
@group(0) @binding(5) var<storage, read_write> x: array<vec4<f32>>;  // [T, stride]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let group = id.x;
    let t = id.y;
    if (group >= params.groups || t >= state.count) {
        return;
    }
    let token = tokens[t];
    if (token < params.row_start || token >= params.row_end) {
        return;
    }
    let b = weight_block(token - params.row_start, group);
    let i = t * params.stride + group * 8u;
    x[i] = params.scale * weights_low(b, b.q0);
    x[i + 1u] = params.scale * weights_low(b, b.q1);
    x[i + 2u] = params.scale * weights_low(b, b.q2);
    x[i + 3u] = params.scale * weights_low(b, b.q3);
    x[i + 4u] = params.scale * weights_high(b, b.q4);
    x[i + 5u] = params.scale * weights_high(b, b.q5);
    x[i + 6u] = params.scale * weights_high(b, b.q6);
    x[i + 7u] = params.scale * weights_high(b, b.q7);
}
