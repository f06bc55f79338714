// y[t] = x[t] · g / sqrt(mean(x[t]²) + eps), a workgroup per token (RMSNorm, arXiv 1910.07467); with ADD it is added to
// what y holds: the norm after a block of Gemma 2 and 3.
override ADD: bool = false;
const THREADS = 64u; // of a workgroup, a power of two

struct Params {
    x_stride: u32, // f32 elements from one row of x to the next
    x_from: u32,   // f32 elements of a row of x before those used
    y_stride: u32, // f32 elements from one row of y to the next
    width: u32,    // values used
    eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(4) var<storage, read> x: array<f32>;        // [T, x_stride]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;  // [T, y_stride]
@group(0) @binding(6) var<storage, read> gain: array<f32>;     // [width]

var<workgroup> squares: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.x;
    if (t >= state.count) {
        return;
    }
    let base = t * params.x_stride + params.x_from;
    let out = t * params.y_stride;
    var sum = 0.0;
    for (var i = thread; i < params.width; i += THREADS) {
        let v = x[base + i];
        sum += v * v;
    }
    squares[thread] = sum;
    for (var reach = THREADS / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            squares[thread] += squares[thread + reach];
        }
    }
    workgroupBarrier();
    let scale = inverseSqrt(squares[0] / f32(params.width) + params.eps);
    for (var i = thread; i < params.width; i += THREADS) {
        let held = select(0.0, y[out + i], ADD);
        y[out + i] = held + x[base + i] * scale * gain[i];
    }
}
