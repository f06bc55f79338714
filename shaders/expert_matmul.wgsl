// The products of a mixture's MLP in prefill, grouped by expert: tiles of up to 16 entries of one expert (made by
// expert_sort) × 64 of its rows, so that a weight is read once per tile, and never for an expert that no token goes to.
//   GATED: h[entry] = gate(W_e · x[token] + bias_e), the first half; otherwise z[entry] = W_e · h[entry] + bias_e.
// WEIGHTED multiplies by the entry's weight: before bias and gate in the first half (Llama 4), at the end in the second.
const TILE: u32 = 16u;
override GATED: bool = false;
override BIAS: bool = false;
override WEIGHTED: bool = false;

struct Params {
    groups: u32,      // groups of 32 in a row
    rows: u32,        // rows of an expert
    first_slot: u32,  // slot of the first expert of this part
    slots: u32,       // experts in this part
    interleaved: u32, // see lib/expert_rows.wgsl
    x_stride: u32,    // vec4 elements from one row of x or h to the next
    y_stride: u32,    // f32 elements from one row of h or z to the next
    first_entry: u32, // the first entry of a token that lies in this matrix
    count: u32,       // entries of a token in this matrix: its rows in h
    entries: u32,     // of a token in all: rows of a token in z
    routing_at: u32,  // where they begin
    tiles: u32,       // at most
}
@group(0) @binding(0) var<uniform> params: Params;
// 2, 3: the weights, in the layout's file; 4: x, [T, x_stride], or [T · count, x_stride], in lib/tile.wgsl
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // [T · count, y_stride], or [T · entries, y_stride]
@group(0) @binding(7) var<storage, read> bias: array<f32>;           // [experts, rows], read with BIAS only
@group(0) @binding(8) var<storage, read> router: array<u32>;         // from routing_at on [T, entries] pairs of slot and weight
@group(0) @binding(9) var<storage, read> sorted: array<u32>;         // see expert_sort.wgsl

// The row of an entry among those of this matrix.
fn row_of(entry: u32) -> u32 {
    return entry / params.entries * params.count + entry % params.entries - params.first_entry;
}

fn tile_row(first: u32, count: u32, i: u32) -> u32 {
    let entry = sorted[first + min(i, count - 1u)];
    return select(row_of(entry), entry / params.entries, GATED) * params.x_stride;
}

fn tile_rows(first: u32, count: u32) -> u32 {
    return count;
}

fn bias_of(slot: u32, row: u32) -> f32 {
    if (!BIAS) {
        return 0.0;
    }
    return bias[slot * params.rows + min(row, params.rows - 1u)];
}

fn store(entry: u32, slot: u32, row: u32, sums: vec4<f32>) {
    let weight = select(1.0, bitcast<f32>(router[params.routing_at + 2u * entry + 1u]), WEIGHTED);
    let b = vec4<f32>(bias_of(slot, row), bias_of(slot, row + 1u), bias_of(slot, row + 2u), bias_of(slot, row + 3u));
    let left = params.rows - row;
    if (GATED) {
        let v = sums * weight + b;
        let out = row_of(entry) * params.y_stride + row / 2u;
        y[out] = gate_up(v.x, v.y);
        if (left > 2u) { y[out + 1u] = gate_up(v.z, v.w); }
    } else {
        let v = (sums + b) * weight;
        let out = entry * params.y_stride + row;
        y[out] = v.x;
        if (left > 1u) { y[out + 1u] = v.y; }
        if (left > 2u) { y[out + 2u] = v.z; }
        if (left > 3u) { y[out + 3u] = v.w; }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let slot = sorted[3u * workgroup.y];
    let first = 3u * params.tiles + sorted[3u * workgroup.y + 1u];
    let count = sorted[3u * workgroup.y + 2u];
    if (count == 0u || slot < params.first_slot || slot - params.first_slot >= params.slots) {
        return;
    }
    let first_row = workgroup.x * 64u;
    let r = (thread % 16u) * 4u;  // this thread's rows of the tile
    let t = (thread / 16u) * 4u;  // this thread's entries of the tile
    let load_row = expert_row(slot - params.first_slot, min(first_row + tile_load(thread), params.rows - 1u));
    let sums = tile_sums(load_row, first, count, thread);
    let row = first_row + r;
    if (row >= params.rows) {
        return;
    }
    if (t < count) { store(sorted[first + t], slot, row, sums.a0); }
    if (t + 1u < count) { store(sorted[first + t + 1u], slot, row, sums.a1); }
    if (t + 2u < count) { store(sorted[first + t + 2u], slot, row, sums.a2); }
    if (t + 3u < count) { store(sorted[first + t + 3u], slot, row, sums.a3); }
}
