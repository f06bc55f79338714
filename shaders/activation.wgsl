// y[t, i] of gate x[t, i] and up x[t, width + i], as lib/gate.wgsl combines them. Used where gate and up could not be
// interleaved into one matrix.
struct Params {
    width: u32,    // values in a row of y
    x_stride: u32, // f32 elements from one row of x to the next
    y_stride: u32, // f32 elements from one row of y to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(4) var<storage, read> x: array<f32>;        // [T, x_stride]: gates, then ups
@group(0) @binding(5) var<storage, read_write> y: array<f32>;  // [T, y_stride]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let t = id.y;
    if (i >= params.width || t >= state.count) {
        return;
    }
    let gate = x[t * params.x_stride + i];
    let up = x[t * params.x_stride + params.width + i];
    y[t * params.y_stride + i] = gate_up(gate, up);
}
