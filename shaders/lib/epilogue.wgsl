// What a matrix product does with four finished sums of neighbouring rows: bias; then the identity or, over interleaved
// gate and up rows, what lib/gate.wgsl says; a factor; then it is written, or added to what y holds.
override BIAS: bool = false;
override GATED: bool = false;     // rows 2i and 2i + 1 make y[i]
override RESIDUAL: bool = false;
override FACTOR: f32 = 1.0;

@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read> bias: array<f32>; // [rows of the matrix]

fn put(i: u32, v: f32) {
    if (RESIDUAL) {
        y[i] += FACTOR * v;
    } else {
        y[i] = FACTOR * v;
    }
}

// `sums` of the part's rows from `row`, a multiple of 4, to the row of y that begins at `start`.
fn finish(start: u32, row: u32, sums: vec4<f32>) {
    if (row >= params.rows) {
        return;
    }
    var v = sums;
    let out = params.row_offset + row;
    let left = params.rows - row;
    if (BIAS) {
        v.x += bias[out];
        if (left > 1u) { v.y += bias[out + 1u]; }
        if (left > 2u) { v.z += bias[out + 2u]; }
        if (left > 3u) { v.w += bias[out + 3u]; }
    }
    if (GATED) {
        let i = start + out / 2u;
        put(i, gate_up(v.x, v.y));
        if (left > 2u) { put(i + 1u, gate_up(v.z, v.w)); }
    } else {
        let i = start + out;
        put(i, v.x);
        if (left > 1u) { put(i + 1u, v.y); }
        if (left > 2u) { put(i + 2u, v.z); }
        if (left > 3u) { put(i + 3u, v.w); }
    }
}
