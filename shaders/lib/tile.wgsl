// Tiles of 64 rows of the weights × TILE rows of x, 16 or 32, a workgroup of 64 threads each: a weight is read once for them. A group of
// 32 inputs at a time is unpacked into workgroup memory; a thread makes 4 × 4 sums, or 4 × 8, which take fewer reads of that memory each.
// `Stored` are the numbers that weights become meanwhile: lib/stored.wgsl. The kernel's file has TILE and says where x lies:
// `tile_row(first, count, i)` is the vec4 at which the tile's row i begins.
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

var<workgroup> tile_w: array<vec4<Stored>, 512>; // [8, 64 rows of the weights in the order of `tile_load`]
var<workgroup> tile_x: array<vec4<f32>, 8u * TILE>; // [8, TILE rows of x]

// Which of the tile's rows a thread unpacks. Neighbouring threads use rows that are four apart, and so read neighbours here: the memory's
// banks serve them together.
fn tile_load(thread: u32) -> u32 {
    return thread % 16u * 4u + thread / 16u;
}

// The thread `of_workgroup` unpacks row `load_row`; its sums are of four of the tile's rows from `4 * (thread % 16)` and inputs from
// `4 * (thread / 16)` and 16 more on. Places are computed here, where compilers see that they lie within the tile. Where x has no rows
// for the second inputs, their sums are 0.
fn tile_sums(load_row: u32, first: u32, count: u32, of_workgroup: u32) -> Sums {
    let thread = of_workgroup % 64u;
    let r = thread % 16u;
    let t = thread / 16u * 4u;
    let more = TILE > 16u && tile_rows(first, count) > 16u;
    var sums = Sums();
    // Eight neighbouring threads read neighbours in a row of x, and take rows along a diagonal, so that they write to different banks.
    let diagonal = (thread / 8u + thread) % 8u;
    let place_x = thread % 8u * TILE + diagonal;
    let x0 = tile_row(first, count, diagonal);
    let x1 = tile_row(first, count, diagonal + 8u);
    let x2 = tile_row(first, count, diagonal + TILE - 16u);
    let x3 = tile_row(first, count, diagonal + TILE - 8u);
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
        let at_x = g * 8u + thread % 8u;
        tile_x[place_x] = x[x0 + at_x];
        tile_x[place_x + 8u] = x[x1 + at_x];
        if (TILE > 16u) {
            tile_x[place_x + TILE - 16u] = x[x2 + at_x];
            tile_x[place_x + TILE - 8u] = x[x3 + at_x];
        }
        workgroupBarrier();
        for (var j = 0u; j < 8u; j++) {
            let w0 = vec4<f32>(tile_w[j * 64u + r]);
            let w1 = vec4<f32>(tile_w[j * 64u + r + 16u]);
            let w2 = vec4<f32>(tile_w[j * 64u + r + 32u]);
            let w3 = vec4<f32>(tile_w[j * 64u + r + 48u]);
            let at = j * TILE + t;
            sums.a0 = add_products(sums.a0, w0, w1, w2, w3, tile_x[at]);
            sums.a1 = add_products(sums.a1, w0, w1, w2, w3, tile_x[at + 1u]);
            sums.a2 = add_products(sums.a2, w0, w1, w2, w3, tile_x[at + 2u]);
            sums.a3 = add_products(sums.a3, w0, w1, w2, w3, tile_x[at + 3u]);
            if (more) {
                sums.a4 = add_products(sums.a4, w0, w1, w2, w3, tile_x[at + TILE - 16u]);
                sums.a5 = add_products(sums.a5, w0, w1, w2, w3, tile_x[at + TILE - 15u]);
                sums.a6 = add_products(sums.a6, w0, w1, w2, w3, tile_x[at + TILE - 14u]);
                sums.a7 = add_products(sums.a7, w0, w1, w2, w3, tile_x[at + TILE - 13u]);
            }
        }
        workgroupBarrier();
    }
    return sums;
}
