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
    var s0 = 0.0;
    var s1 = 0.0;
    var s2 = 0.0;
    var s3 = 0.0;
    var square = 0.0;
    for (var g = lane; g < params.groups; g += LANES) {
        let i = base + g * 8u;
        var x0 = input(i);
        var x1 = input(i + 1u);
        var x2 = input(i + 2u);
        var x3 = input(i + 3u);
        var x4 = input(i + 4u);
        var x5 = input(i + 5u);
        var x6 = input(i + 6u);
        var x7 = input(i + 7u);
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
        let b0 = weight_block(rows.x, g);
        s0 += b0.scale * (dot(b0.q0, x0) + dot(b0.q1, x1) + dot(b0.q2, x2) + dot(b0.q3, x3)
                        + dot(b0.q4, x4) + dot(b0.q5, x5) + dot(b0.q6, x6) + dot(b0.q7, x7)) + b0.minimum * total;
        let b1 = weight_block(rows.y, g);
        s1 += b1.scale * (dot(b1.q0, x0) + dot(b1.q1, x1) + dot(b1.q2, x2) + dot(b1.q3, x3)
                        + dot(b1.q4, x4) + dot(b1.q5, x5) + dot(b1.q6, x6) + dot(b1.q7, x7)) + b1.minimum * total;
        let b2 = weight_block(rows.z, g);
        s2 += b2.scale * (dot(b2.q0, x0) + dot(b2.q1, x1) + dot(b2.q2, x2) + dot(b2.q3, x3)
                        + dot(b2.q4, x4) + dot(b2.q5, x5) + dot(b2.q6, x6) + dot(b2.q7, x7)) + b2.minimum * total;
        let b3 = weight_block(rows.w, g);
        s3 += b3.scale * (dot(b3.q0, x0) + dot(b3.q1, x1) + dot(b3.q2, x2) + dot(b3.q3, x3)
                        + dot(b3.q4, x4) + dot(b3.q5, x5) + dot(b3.q6, x6) + dot(b3.q7, x7)) + b3.minimum * total;
    }
    return Share(vec4<f32>(s0, s1, s2, s3), square);
}
