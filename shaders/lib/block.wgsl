// A group of 32 weights of one row as every layout file presents it: weight i is scale * q[i] + minimum, with the first of two scales
// and minimums for the first sixteen. Four weights are a `Quad` until `unpacked`, so that few registers hold them meanwhile.
struct Block {
    q0: Quad, q1: Quad, q2: Quad, q3: Quad,
    q4: Quad, q5: Quad, q6: Quad, q7: Quad,
    scales: vec2<f32>,
    minimums: vec2<f32>,  // zeros unless MINIMUM
}

// Four weights that are unpacked, of the first sixteen and of the last.
fn weights_low(b: Block, q: Quad) -> vec4<f32> {
    return unpacked(q) * b.scales.x + b.minimums.x;
}
fn weights_high(b: Block, q: Quad) -> vec4<f32> {
    return unpacked(q) * b.scales.y + b.minimums.y;
}

// One chain of fused products: `dot` and a sum are an instruction more.
fn add_product(sum: f32, w: vec4<f32>, x: vec4<f32>) -> f32 {
    return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, sum))));
}
fn add_products(sums: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(add_product(sums.x, w0, x), add_product(sums.y, w1, x),
                     add_product(sums.z, w2, x), add_product(sums.w, w3, x));
}
