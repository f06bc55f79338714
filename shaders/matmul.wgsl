// Y[t] = f(W · X[t] + bias) for the step's tokens, in tiles of 32 tokens × 64 rows (lib/tile.wgsl).
// f: see lib/epilogue.wgsl.
const TILE: u32 = 32u;

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
// 4: X, [T, x_stride], in lib/tile.wgsl; 5: Y, [T, y_stride]; 7: the bias, in lib/epilogue.wgsl

fn tile_row(first: u32, count: u32, i: u32) -> u32 {
    return min(first + i, count - 1u) * params.x_stride;
}

// The tokens of a tile.
fn tile_rows(first: u32, count: u32) -> u32 {
    return count - first;
}

fn store(t: u32, row: u32, sums: vec4<f32>) {
    if (t < state.count) {
        finish(t * params.y_stride, row, sums);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.x * 64u;
    let first_token = workgroup.y * TILE;
    if (first_token >= state.count) {
        return;
    }
    let r = (thread % 16u) * 4u;  // this thread's rows of the tile
    let t = (thread / 16u) * 4u;  // this thread's tokens of the tile
    let load_row = min(first_row + tile_load(thread), params.rows - 1u);
    let sums = tile_sums(load_row, first_token, state.count, thread);
    store(first_token + t, first_row + r, sums.a0);
    store(first_token + t + 1u, first_row + r, sums.a1);
    store(first_token + t + 2u, first_row + r, sums.a2);
    store(first_token + t + 3u, first_row + r, sums.a3);
    store(first_token + t + 16u, first_row + r, sums.a4);
    store(first_token + t + 17u, first_row + r, sums.a5);
    store(first_token + t + 18u, first_row + r, sums.a6);
    store(first_token + t + 19u, first_row + r, sums.a7);
}
