// y = f(W · n(x) + bias) for one row of x, as matvec.wgsl does it, for software adapters. Four threads, which such an adapter
// runs as one, share 48 rows: each holds every fourth group of x while it goes through the rows. A load costs as much as ten
// products there, and a loop that fits the CPU's cache of decoded instructions runs at twice the speed of the same code unrolled.
override NORM: bool = false;

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
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> gain: array<vec4<f32>>; // norm weight, as long as a row of x; read with NORM only

const ROWS = 48u;
const THREADS = 4u;
var<workgroup> sums: array<array<f32, ROWS>, THREADS>;
var<workgroup> squares: vec4<f32>;

fn sum(r: u32) -> f32 {
    return sums[0][r] + sums[1][r] + sums[2][r] + sums[3][r];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let first = (workgroup.x + workgroup.y * grid.x) * ROWS;
    if (first >= params.rows) {
        return;
    }
    let rows = min(ROWS, params.rows - first);
    let base = (state.count - 1u) * params.x_stride + params.x_from;
    var own: array<f32, ROWS>;
    var square = 0.0;
    for (var g = thread; g < params.groups; g += THREADS) {
        let i = base + g * 8u;
        var v = array(x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
        if (NORM) {
            square += dot(v[0], v[0]) + dot(v[1], v[1]) + dot(v[2], v[2]) + dot(v[3], v[3])
                    + dot(v[4], v[4]) + dot(v[5], v[5]) + dot(v[6], v[6]) + dot(v[7], v[7]);
            let j = g * 8u;
            v = array(v[0] * gain[j], v[1] * gain[j + 1u], v[2] * gain[j + 2u], v[3] * gain[j + 3u],
                      v[4] * gain[j + 4u], v[5] * gain[j + 5u], v[6] * gain[j + 6u], v[7] * gain[j + 7u]);
        }
        let held = in_units(v);
        for (var r = 0u; r < rows; r++) {
            own[r] += product(own_block(first + r, g), held);
        }
    }
    sums[thread] = own;
    squares[thread] = square;
    workgroupBarrier();
    var scale = 1.0;
    if (NORM) {
        scale = inverseSqrt(dot(squares, vec4<f32>(1.0)) / f32(params.width) + params.eps);
    }
    for (var r = thread * 4u; r < rows; r += THREADS * 4u) {
        finish(0u, first + r, scale * vec4<f32>(sum(r), sum(r + 1u), sum(r + 2u), sum(r + 3u)));
    }
}
