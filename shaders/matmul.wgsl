// Y[t] = f(W · X[t] + bias) for the step's tokens: tiles of 16 tokens × 64 rows, so each weight is read once per 16
// tokens. A group of 32 inputs at a time is unpacked into workgroup memory; a thread makes 4 tokens × 4 rows.
// f: see lib/epilogue.wgsl.
struct Params {
    groups: u32,     // groups of 32 in a row
    rows: u32,       // rows of W in this part
    row_offset: u32, // this part's first row in the whole matrix
    x_stride: u32,   // vec4 elements from one row of X to the next
    y_stride: u32,   // f32 elements from one row of Y to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: the weights, in the layout's file
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;    // [T, x_stride]
// 5: Y, [T, y_stride]; 7: the bias, in lib/epilogue.wgsl

var<workgroup> tile_w: array<vec4<f32>, 512>; // [8, 64 rows]
var<workgroup> tile_x: array<vec4<f32>, 128>; // [8, 16 tokens]

fn store(t: u32, row: u32, sums: vec4<f32>) {
    if (t < state.count) {
        finish(t * params.y_stride, row, sums);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.x * 64u;
    let first_token = workgroup.y * 16u;
    if (first_token >= state.count) {
        return;
    }
    let r = (thread % 16u) * 4u;  // this thread's rows of the tile
    let t = (thread / 16u) * 4u;  // and its tokens
    let load_row = min(first_row + thread, params.rows - 1u);
    var a0 = vec4<f32>();
    var a1 = vec4<f32>();
    var a2 = vec4<f32>();
    var a3 = vec4<f32>();
    for (var g = 0u; g < params.groups; g++) {
        let b = weight_block(load_row, g);
        let m = vec4<f32>(b.minimum);
        tile_w[thread] = b.q0 * b.scale + m;
        tile_w[64u + thread] = b.q1 * b.scale + m;
        tile_w[128u + thread] = b.q2 * b.scale + m;
        tile_w[192u + thread] = b.q3 * b.scale + m;
        tile_w[256u + thread] = b.q4 * b.scale + m;
        tile_w[320u + thread] = b.q5 * b.scale + m;
        tile_w[384u + thread] = b.q6 * b.scale + m;
        tile_w[448u + thread] = b.q7 * b.scale + m;
        for (var i = thread; i < 128u; i += 64u) {
            let token = min(first_token + i / 8u, state.count - 1u);
            tile_x[(i % 8u) * 16u + i / 8u] = x[token * params.x_stride + g * 8u + i % 8u];
        }
        workgroupBarrier();
        for (var j = 0u; j < 8u; j++) {
            let w0 = tile_w[j * 64u + r];
            let w1 = tile_w[j * 64u + r + 1u];
            let w2 = tile_w[j * 64u + r + 2u];
            let w3 = tile_w[j * 64u + r + 3u];
            let x0 = tile_x[j * 16u + t];
            let x1 = tile_x[j * 16u + t + 1u];
            let x2 = tile_x[j * 16u + t + 2u];
            let x3 = tile_x[j * 16u + t + 3u];
            a0 += vec4<f32>(dot(w0, x0), dot(w1, x0), dot(w2, x0), dot(w3, x0));
            a1 += vec4<f32>(dot(w0, x1), dot(w1, x1), dot(w2, x1), dot(w3, x1));
            a2 += vec4<f32>(dot(w0, x2), dot(w1, x2), dot(w2, x2), dot(w3, x2));
            a3 += vec4<f32>(dot(w0, x3), dot(w1, x3), dot(w2, x3), dot(w3, x3));
        }
        workgroupBarrier();
    }
    store(first_token + t, first_row + r, a0);
    store(first_token + t + 1u, first_row + r, a1);
    store(first_token + t + 2u, first_row + r, a2);
    store(first_token + t + 3u, first_row + r, a3);
}
