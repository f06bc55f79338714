// A thread's share of the products of four rows of the weights with a row of x, an RMS norm of x folded in if NORM:
// Σx² is summed in the same loop and scales the output afterwards (Zhang & Sennrich 2019, arXiv 1910.07467).
// LANES neighbouring threads share the rows; each takes every LANES-th group of 32 weights. The kernel's file says where
// x lies: `input(i)` is its vec4 i.
override LANES: u32 = 16u;
override NORM: bool = false;

@group(0) @binding(6) var<storage, read> gain: array<vec4<f32>>;    // norm weight, as long as a row of x; read with NORM only

struct Share {
    sums: vec4<f32>,
    square: f32,
}

// `rows` of this part; the row of x begins at vec4 `base`.
fn share_of(rows: vec4<u32>, base: u32, lane: u32) -> Share {
    var sums = vec4<f32>();
    var square = 0.0;
    for (var g = lane; g < params.groups; g += LANES) {
        let i = base + g * 8u;
        let j = g * 8u;
        let b0 = weight_block(rows.x, g);
        let b1 = weight_block(rows.y, g);
        let b2 = weight_block(rows.z, g);
        let b3 = weight_block(rows.w, g);
        var low = vec4<f32>();
        var high = vec4<f32>();
        var x0 = input(i);
        if (NORM) {
            square = add_product(square, x0, x0);
            x0 *= gain[j];
        }
        low = add_products(low, unpacked(b0.q0), unpacked(b1.q0), unpacked(b2.q0), unpacked(b3.q0), x0);
        var x1 = input(i + 1u);
        if (NORM) {
            square = add_product(square, x1, x1);
            x1 *= gain[j + 1u];
        }
        low = add_products(low, unpacked(b0.q1), unpacked(b1.q1), unpacked(b2.q1), unpacked(b3.q1), x1);
        var x2 = input(i + 2u);
        if (NORM) {
            square = add_product(square, x2, x2);
            x2 *= gain[j + 2u];
        }
        low = add_products(low, unpacked(b0.q2), unpacked(b1.q2), unpacked(b2.q2), unpacked(b3.q2), x2);
        var x3 = input(i + 3u);
        if (NORM) {
            square = add_product(square, x3, x3);
            x3 *= gain[j + 3u];
        }
        low = add_products(low, unpacked(b0.q3), unpacked(b1.q3), unpacked(b2.q3), unpacked(b3.q3), x3);
        var x4 = input(i + 4u);
        if (NORM) {
            square = add_product(square, x4, x4);
            x4 *= gain[j + 4u];
        }
        high = add_products(high, unpacked(b0.q4), unpacked(b1.q4), unpacked(b2.q4), unpacked(b3.q4), x4);
        var x5 = input(i + 5u);
        if (NORM) {
            square = add_product(square, x5, x5);
            x5 *= gain[j + 5u];
        }
        high = add_products(high, unpacked(b0.q5), unpacked(b1.q5), unpacked(b2.q5), unpacked(b3.q5), x5);
        var x6 = input(i + 6u);
        if (NORM) {
            square = add_product(square, x6, x6);
            x6 *= gain[j + 6u];
        }
        high = add_products(high, unpacked(b0.q6), unpacked(b1.q6), unpacked(b2.q6), unpacked(b3.q6), x6);
        var x7 = input(i + 7u);
        if (NORM) {
            square = add_product(square, x7, x7);
            x7 *= gain[j + 7u];
        }
        high = add_products(high, unpacked(b0.q7), unpacked(b1.q7), unpacked(b2.q7), unpacked(b3.q7), x7);
        sums += vec4<f32>(b0.scales.x, b1.scales.x, b2.scales.x, b3.scales.x) * low
              + vec4<f32>(b0.scales.y, b1.scales.y, b2.scales.y, b3.scales.y) * high;
        if (MINIMUM) {
            let one = vec4<f32>(1.0);
            sums += vec4<f32>(b0.minimums.x, b1.minimums.x, b2.minimums.x, b3.minimums.x) * dot(x0 + x1 + x2 + x3, one)
                  + vec4<f32>(b0.minimums.y, b1.minimums.y, b2.minimums.y, b3.minimums.y) * dot(x4 + x5 + x6 + x7, one);
        }
    }
    return Share(sums, square);
}
