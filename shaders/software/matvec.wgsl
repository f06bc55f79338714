// y = f(W · n(x) + bias) for one row of x, as matvec.wgsl says it, for adapters that are the CPU. A load costs as much as a dozen
// products there, so what is loaded of x serves twelve rows, and a thread has them alone; workgroup memory is cleared for each
// workgroup and four threads that a barrier can stop take a stack, so there is little of the one and there are few of the other.
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

const STRETCH = 16u; // groups of x held at once
var<workgroup> held: array<vec4<f32>, 128>; // [STRETCH, 8]
var<workgroup> squares: array<f32, 4>;

struct Inputs {
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    x4: vec4<f32>, x5: vec4<f32>, x6: vec4<f32>, x7: vec4<f32>,
    total: f32,
}

fn inputs(x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
          x4: vec4<f32>, x5: vec4<f32>, x6: vec4<f32>, x7: vec4<f32>) -> Inputs {
    return Inputs(x0 * LOW, x1 * LOW, x2 * LOW, x3 * LOW, x4 * HIGH, x5 * HIGH, x6 * HIGH, x7 * HIGH,
                  dot(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7, vec4<f32>(1.0)));
}

fn product(b: Block, i: Inputs) -> f32 {
    return b.scale * (dot(b.q0, i.x0) + dot(b.q1, i.x1) + dot(b.q2, i.x2) + dot(b.q3, i.x3)
                    + dot(b.q4, i.x4) + dot(b.q5, i.x5) + dot(b.q6, i.x6) + dot(b.q7, i.x7)) + b.minimum * i.total;
}

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let row = ((workgroup.x + workgroup.y * grid.x) * 4u + thread) * 12u;
    let base = (state.count - 1u) * params.x_stride + params.x_from;
    let last = params.rows - 1u;
    let row0 = min(row + 0u, last);
    var s0 = 0.0;
    let row1 = min(row + 1u, last);
    var s1 = 0.0;
    let row2 = min(row + 2u, last);
    var s2 = 0.0;
    let row3 = min(row + 3u, last);
    var s3 = 0.0;
    let row4 = min(row + 4u, last);
    var s4 = 0.0;
    let row5 = min(row + 5u, last);
    var s5 = 0.0;
    let row6 = min(row + 6u, last);
    var s6 = 0.0;
    let row7 = min(row + 7u, last);
    var s7 = 0.0;
    let row8 = min(row + 8u, last);
    var s8 = 0.0;
    let row9 = min(row + 9u, last);
    var s9 = 0.0;
    let row10 = min(row + 10u, last);
    var s10 = 0.0;
    let row11 = min(row + 11u, last);
    var s11 = 0.0;
    var square = 0.0;
    for (var first = 0u; first < params.groups; first += STRETCH) {
        let until = min(params.groups, first + STRETCH);
        workgroupBarrier();
        for (var i = thread; i < (until - first) * 8u; i += 4u) {
            var v = x[base + first * 8u + i];
            if (NORM) {
                square += dot(v, v);
                v *= gain[first * 8u + i];
            }
            held[i] = v;
        }
        workgroupBarrier();
        for (var g = first; g < until; g++) {
            let at = (g - first) * 8u;
            let i = inputs(held[at], held[at + 1u], held[at + 2u], held[at + 3u],
                           held[at + 4u], held[at + 5u], held[at + 6u], held[at + 7u]);
            s0 += product(own_block(row0, g), i);
            s1 += product(own_block(row1, g), i);
            s2 += product(own_block(row2, g), i);
            s3 += product(own_block(row3, g), i);
            s4 += product(own_block(row4, g), i);
            s5 += product(own_block(row5, g), i);
            s6 += product(own_block(row6, g), i);
            s7 += product(own_block(row7, g), i);
            s8 += product(own_block(row8, g), i);
            s9 += product(own_block(row9, g), i);
            s10 += product(own_block(row10, g), i);
            s11 += product(own_block(row11, g), i);
        }
    }
    var scale = 1.0;
    if (NORM) {
        squares[thread] = square;
        workgroupBarrier();
        var all = 0.0;
        for (var i = 0u; i < 4u; i++) {
            all += squares[i];
        }
        scale = inverseSqrt(all / f32(params.width) + params.eps);
    }
    finish(0u, row + 0u, vec4<f32>(s0, s1, s2, s3) * scale);
    finish(0u, row + 4u, vec4<f32>(s4, s5, s6, s7) * scale);
    finish(0u, row + 8u, vec4<f32>(s8, s9, s10, s11) * scale);
}
