// Tiles of 64 rows of the weights × 16 rows of x, a workgroup of 64 threads each: a weight is read once for the 16. A group of
// 32 inputs at a time is unpacked into workgroup memory; a thread makes 4 × 4 sums. `Stored` are the numbers that weights
// become meanwhile: lib/stored.wgsl. The kernel's file says where x lies: `tile_row(first, count, i)` is the vec4 at which the
// tile's row i begins.
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

var<workgroup> tile_w: array<vec4<Stored>, 512>; // [8, 64 rows of the weights in the order of `tile_load`]
var<workgroup> tile_x: array<vec4<f32>, 128>; // [8, 16 rows of x]

// Sums of four rows of x, each with four neighbouring rows of the weights.
struct Sums {
    a0: vec4<f32>,
    a1: vec4<f32>,
    a2: vec4<f32>,
    a3: vec4<f32>,
}

// Which of the tile's rows a thread unpacks. Neighbouring threads use rows that are four apart, and so read neighbours here: the memory's
// banks serve them together.
fn tile_load(thread: u32) -> u32 {
    return thread % 16u * 4u + thread / 16u;
}

// The thread `of_workgroup` unpacks row `load_row`; its sums are of four of the tile's rows from `4 * (thread % 16)` and inputs from
// `4 * (thread / 16)` on. Places are computed here, where compilers see that they lie within the tile.
fn tile_sums(load_row: u32, first: u32, count: u32, of_workgroup: u32) -> Sums {
    let thread = of_workgroup % 64u;
    let r = thread % 16u;
    let t = thread / 16u * 4u;
    var a0 = vec4<f32>();
    var a1 = vec4<f32>();
    var a2 = vec4<f32>();
    var a3 = vec4<f32>();
    for (var g = 0u; g < params.groups; g++) {
        let b = weight_block(load_row, g);
        tile_w[thread] = vec4<Stored>(weights_low(b, b.q0));
        tile_w[64u + thread] = vec4<Stored>(weights_low(b, b.q1));
        tile_w[128u + thread] = vec4<Stored>(weights_low(b, b.q2));
        tile_w[192u + thread] = vec4<Stored>(weights_low(b, b.q3));
        tile_w[256u + thread] = vec4<Stored>(weights_high(b, b.q4));
        tile_w[320u + thread] = vec4<Stored>(weights_high(b, b.q5));
        tile_w[384u + thread] = vec4<Stored>(weights_high(b, b.q6));
        tile_w[448u + thread] = vec4<Stored>(weights_high(b, b.q7));
        for (var i = thread; i < 128u; i += 64u) {
            // Neighbouring threads take neighbours along a diagonal, so that they write to different banks.
            let row = (i / 64u * 8u + (i / 8u + i) % 8u) % 16u;
            tile_x[i % 8u * 16u + row] = x[tile_row(first, count, row) + g * 8u + i % 8u];
        }
        workgroupBarrier();
        for (var j = 0u; j < 8u; j++) {
            let w0 = vec4<f32>(tile_w[j * 64u + r]);
            let w1 = vec4<f32>(tile_w[j * 64u + r + 16u]);
            let w2 = vec4<f32>(tile_w[j * 64u + r + 32u]);
            let w3 = vec4<f32>(tile_w[j * 64u + r + 48u]);
            let x0 = tile_x[j * 16u + t];
            let x1 = tile_x[j * 16u + t + 1u];
            let x2 = tile_x[j * 16u + t + 2u];
            let x3 = tile_x[j * 16u + t + 3u];
            a0 = add_products(a0, w0, w1, w2, w3, x0);
            a1 = add_products(a1, w0, w1, w2, w3, x1);
            a2 = add_products(a2, w0, w1, w2, w3, x2);
            a3 = add_products(a3, w0, w1, w2, w3, x3);
        }
        workgroupBarrier();
    }
    return Sums(a0, a1, a2, a3);
}
