// y = f(W · n(x) + bias) for one row of x, each weight read once.
//   n: RMS norm folded in (lib/share.wgsl), n(x) = x · g / sqrt(mean(x²) + eps), or the identity.
//   f: see lib/epilogue.wgsl.
struct Params {
    groups: u32,     // groups of 32 in a row
    rows: u32,       // rows of W in this part
    row_offset: u32, // this part's first row in the whole matrix
    x_stride: u32,   // vec4 elements from one row of x to the next
    x_from: u32,     // vec4 elements of a row of x before those used
    width: u32,      // values used
    eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: the weights, in the layout's file; 4: x, [T, x_stride], of which the step's last row is used; 6: the norm's gain
// 5: y, [rows of the matrix] (half of them if GATED); 7: the bias; both in lib/epilogue.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let tile = (workgroup.x + workgroup.y * grid.x) * (64u / LANES) + thread / LANES;
    let row = tile * 4u;
    let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.rows - 1u));
    let total = reduced(share_of(rows, (state.count - 1u) * params.x_stride + params.x_from, lane), thread);
    if (lane != 0u) {
        return;
    }
    var scale = 1.0;
    if (NORM) {
        scale = inverseSqrt(total.square / f32(params.width) + params.eps);
    }
    finish(0u, row, total.sums * scale);
}
