// Tiles of 64 rows of the weights × 16 rows of x, a workgroup of 64 threads each: a weight is read once for the 16. A group of
// 32 inputs at a time is unpacked into workgroup memory; a thread makes 4 × 4 sums. `Stored` are the numbers that weights
// become meanwhile: lib/stored.wgsl. The kernel's file says where x lies: `tile_row(first, count, i)` is the vec4 at which the
// tile's row i begins.
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

var<workgroup> tile_w: array<vec4<Stored>, 512>; // [8, 64 rows of the weights]
var<workgroup> tile_x: array<vec4<f32>, 128>; // [8, 16 rows of x]

// Sums of four rows of x, each with four neighbouring rows of the weights.
struct Sums {
    a0: vec4<f32>,
    a1: vec4<f32>,
    a2: vec4<f32>,
    a3: vec4<f32>,
}

// The thread unpacks row `load_row`; its sums are of the tile's weights from `r` and inputs from `t` on.
fn tile_sums(load_row: u32, r: u32, t: u32, first: u32, count: u32, thread: u32) -> Sums {
    var a0 = vec4<f32>();
    var a1 = vec4<f32>();
    var a2 = vec4<f32>();
    var a3 = vec4<f32>();
    for (var g = 0u; g < params.groups; g++) {
        let b = weight_block(load_row, g);
        let m = vec4<f32>(b.minimum);
        tile_w[thread] = vec4<Stored>(b.q0 * b.scale + m);
        tile_w[64u + thread] = vec4<Stored>(b.q1 * b.scale + m);
        tile_w[128u + thread] = vec4<Stored>(b.q2 * b.scale + m);
        tile_w[192u + thread] = vec4<Stored>(b.q3 * b.scale + m);
        tile_w[256u + thread] = vec4<Stored>(b.q4 * b.scale + m);
        tile_w[320u + thread] = vec4<Stored>(b.q5 * b.scale + m);
        tile_w[384u + thread] = vec4<Stored>(b.q6 * b.scale + m);
        tile_w[448u + thread] = vec4<Stored>(b.q7 * b.scale + m);
        for (var i = thread; i < 128u; i += 64u) {
            tile_x[(i % 8u) * 16u + i / 8u] = x[tile_row(first, count, i / 8u) + g * 8u + i % 8u];
        }
        workgroupBarrier();
        for (var j = 0u; j < 8u; j++) {
            let w0 = vec4<f32>(tile_w[j * 64u + r]);
            let w1 = vec4<f32>(tile_w[j * 64u + r + 1u]);
            let w2 = vec4<f32>(tile_w[j * 64u + r + 2u]);
            let w3 = vec4<f32>(tile_w[j * 64u + r + 3u]);
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
    return Sums(a0, a1, a2, a3);
}
