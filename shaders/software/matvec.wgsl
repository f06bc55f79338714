// y = f(W · n(x) + bias) for one row of x, as matvec.wgsl says it, for adapters that are the CPU. They run four threads as the
// lanes of a vector and gather what does not lie side by side: four threads share rows, of a group each takes the words beside
// its neighbours' (lane.wgsl), and x goes through workgroup memory in the order in which it is read. What is loaded of x serves
// eight rows, because a load costs as much as a dozen products there.
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

const STRETCH = 64u; // groups of x held at once
var<workgroup> held: array<f32, 2048>; // [STRETCH, 8 values of a thread, 4 threads]
var<workgroup> sums: array<vec4<f32>, 64>; // [32 threads, 8 rows]
var<workgroup> squares: array<f32, 32>;

struct Inputs {
    low: vec4<f32>,
    high: vec4<f32>,
    total: f32,
}

fn held_four(at: u32) -> vec4<f32> {
    return vec4<f32>(held[at], held[at + 4u], held[at + 8u], held[at + 12u]);
}

fn product(w: Lane, x: Inputs) -> f32 {
    let v = w.scale * (dot(w.low, x.low) + dot(w.high, x.high));
    if (MINIMUM) {
        return v + w.minimum * x.total;
    }
    return v;
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let lane = thread % 4u;
    let row = ((workgroup.x + workgroup.y * grid.x) * 8u + thread / 4u) * 8u;
    let base = (state.count - 1u) * params.x_stride + params.x_from;
    let last = params.rows - 1u;
    let w0 = start_of(min(row + 0u, last));
    let w1 = start_of(min(row + 1u, last));
    let w2 = start_of(min(row + 2u, last));
    let w3 = start_of(min(row + 3u, last));
    let w4 = start_of(min(row + 4u, last));
    let w5 = start_of(min(row + 5u, last));
    let w6 = start_of(min(row + 6u, last));
    let w7 = start_of(min(row + 7u, last));
    var s0 = 0.0;
    var s1 = 0.0;
    var s2 = 0.0;
    var s3 = 0.0;
    var s4 = 0.0;
    var s5 = 0.0;
    var s6 = 0.0;
    var s7 = 0.0;
    var square = 0.0;
    for (var first = 0u; first < params.groups; first += STRETCH) {
        let until = min(params.groups, first + STRETCH);
        workgroupBarrier();
        for (var i = thread; i < (until - first) * 8u; i += 32u) {
            var v = x[base + first * 8u + i];
            if (NORM) {
                square += dot(v, v);
                v *= gain[first * 8u + i];
            }
            let at = i / 4u * 16u + i % 4u;
            held[at] = v.x;
            held[at + 4u] = v.y;
            held[at + 8u] = v.z;
            held[at + 12u] = v.w;
        }
        workgroupBarrier();
        for (var g = first; g < until; g++) {
            let at = (g - first) * 32u + lane;
            let low = held_four(at);
            let high = held_four(at + 16u);
            let inputs = Inputs(low * LOW, high * HIGH, dot(low + high, vec4<f32>(1.0)));
            s0 += product(lane_of(w0, g, lane), inputs);
            s1 += product(lane_of(w1, g, lane), inputs);
            s2 += product(lane_of(w2, g, lane), inputs);
            s3 += product(lane_of(w3, g, lane), inputs);
            s4 += product(lane_of(w4, g, lane), inputs);
            s5 += product(lane_of(w5, g, lane), inputs);
            s6 += product(lane_of(w6, g, lane), inputs);
            s7 += product(lane_of(w7, g, lane), inputs);
        }
    }
    sums[2u * thread] = vec4<f32>(s0, s1, s2, s3);
    sums[2u * thread + 1u] = vec4<f32>(s4, s5, s6, s7);
    squares[thread] = square;
    workgroupBarrier();
    if (lane > 1u) {
        return;
    }
    var scale = 1.0;
    if (NORM) {
        var all = 0.0;
        for (var i = 0u; i < 32u; i++) {
            all += squares[i];
        }
        scale = inverseSqrt(all / f32(params.width) + params.eps);
    }
    // The first two of four threads finish four rows each.
    let at = thread / 4u * 8u + lane;
    finish(0u, row + 4u * lane, (sums[at] + sums[at + 2u] + sums[at + 4u] + sums[at + 6u]) * scale);
}
