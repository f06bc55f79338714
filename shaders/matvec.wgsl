// y = f(W · n(x) + bias) for one row of x, each weight read once.
//   n: RMS norm folded in, n(x) = x · g / sqrt(mean(x²) + eps): Σx² is summed in the same loop and scales the output
//      (Zhang & Sennrich 2019, arXiv 1910.07467), or the identity.
//   f: see lib/epilogue.wgsl.
// LANES neighbouring threads share four rows; each takes every LANES-th group of 32 weights.
override LANES: u32 = 16u;
override NORM: bool = false;

struct Params {
    groups: u32,     // groups of 32 in a row
    rows: u32,       // rows of W in this part
    row_offset: u32, // this part's first row in the whole matrix
    x_stride: u32,   // vec4 elements from one row of x to the next
    width: u32,      // values in a row of x
    eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: the weights, in the layout's file
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;       // [T, x_stride]; the step's last row is used
// 5: y, [rows of the matrix] (half of them if GATED); 7: the bias; both in lib/epilogue.wgsl
@group(0) @binding(6) var<storage, read> gain: array<vec4<f32>>;    // [x_stride] norm weight

var<workgroup> sums: array<vec4<f32>, 64>;
var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let tile = (workgroup.x + workgroup.y * grid.x) * (64u / LANES) + thread / LANES;
    let row = tile * 4u;
    let last = params.rows - 1u;
    let r0 = min(row, last);
    let r1 = min(row + 1u, last);
    let r2 = min(row + 2u, last);
    let r3 = min(row + 3u, last);
    let base = (state.count - 1u) * params.x_stride;

    var s0 = 0.0;
    var s1 = 0.0;
    var s2 = 0.0;
    var s3 = 0.0;
    var square = 0.0;
    for (var g = lane; g < params.groups; g += LANES) {
        let i = base + g * 8u;
        var x0 = x[i];
        var x1 = x[i + 1u];
        var x2 = x[i + 2u];
        var x3 = x[i + 3u];
        var x4 = x[i + 4u];
        var x5 = x[i + 5u];
        var x6 = x[i + 6u];
        var x7 = x[i + 7u];
        if (NORM) {
            square += dot(x0, x0) + dot(x1, x1) + dot(x2, x2) + dot(x3, x3)
                    + dot(x4, x4) + dot(x5, x5) + dot(x6, x6) + dot(x7, x7);
            let j = g * 8u;
            x0 *= gain[j];
            x1 *= gain[j + 1u];
            x2 *= gain[j + 2u];
            x3 *= gain[j + 3u];
            x4 *= gain[j + 4u];
            x5 *= gain[j + 5u];
            x6 *= gain[j + 6u];
            x7 *= gain[j + 7u];
        }
        let total = dot(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7, vec4<f32>(1.0));
        let b0 = weight_block(r0, g);
        s0 += b0.scale * (dot(b0.q0, x0) + dot(b0.q1, x1) + dot(b0.q2, x2) + dot(b0.q3, x3)
                        + dot(b0.q4, x4) + dot(b0.q5, x5) + dot(b0.q6, x6) + dot(b0.q7, x7)) + b0.minimum * total;
        let b1 = weight_block(r1, g);
        s1 += b1.scale * (dot(b1.q0, x0) + dot(b1.q1, x1) + dot(b1.q2, x2) + dot(b1.q3, x3)
                        + dot(b1.q4, x4) + dot(b1.q5, x5) + dot(b1.q6, x6) + dot(b1.q7, x7)) + b1.minimum * total;
        let b2 = weight_block(r2, g);
        s2 += b2.scale * (dot(b2.q0, x0) + dot(b2.q1, x1) + dot(b2.q2, x2) + dot(b2.q3, x3)
                        + dot(b2.q4, x4) + dot(b2.q5, x5) + dot(b2.q6, x6) + dot(b2.q7, x7)) + b2.minimum * total;
        let b3 = weight_block(r3, g);
        s3 += b3.scale * (dot(b3.q0, x0) + dot(b3.q1, x1) + dot(b3.q2, x2) + dot(b3.q3, x3)
                        + dot(b3.q4, x4) + dot(b3.q5, x5) + dot(b3.q6, x6) + dot(b3.q7, x7)) + b3.minimum * total;
    }
    sums[thread] = vec4<f32>(s0, s1, s2, s3);
    squares[thread] = square;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (lane < reach) {
            sums[thread] += sums[thread + reach];
            squares[thread] += squares[thread + reach];
        }
    }
    if (lane != 0u) {
        return;
    }
    var scale = 1.0;
    if (NORM) {
        scale = inverseSqrt(squares[thread] / f32(params.width) + params.eps);
    }
    finish(0u, row, sums[thread] * scale);
}
