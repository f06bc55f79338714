// Values of rows of the KV cache in fours, as they are stored and as numbers. A cell is what a place in a row is counted in: two words,
// which are one read of f16, or one word of bytes.
@group(0) @binding(3) var<storage, read> k_cache: array<vec2<u32>>; // [capacity, kv_heads] rows of key_dim
@group(0) @binding(4) var<storage, read> v_cache: array<vec2<u32>>; // [capacity, kv_heads] rows of value_row

// Cells of a row of `dim` values.
fn kv_cells(dim: u32) -> u32 {
    return select(kv_words(dim) / 2u, kv_words(dim), KV == 2u);
}

// Four values of the row that begins at `cell`.
fn key_stored(cell: u32, dim: u32, four: u32) -> vec4<u32> {
    if (KV == 1u) {
        return vec4<u32>(k_cache[cell + four], 0u, 0u);
    }
    if (KV == 2u) {
        let at = cell + four;
        let scale = cell + (dim + 3u) / 4u + four / 16u;
        return vec4<u32>(k_cache[at / 2u][at % 2u], k_cache[scale / 2u][scale % 2u], 0u, 0u);
    }
    return vec4<u32>(k_cache[cell + 2u * four], k_cache[cell + 2u * four + 1u]);
}

fn value_stored(cell: u32, dim: u32, four: u32) -> vec4<u32> {
    if (KV == 1u) {
        return vec4<u32>(v_cache[cell + four], 0u, 0u);
    }
    if (KV == 2u) {
        let at = cell + four;
        let scale = cell + (dim + 3u) / 4u + four / 16u;
        return vec4<u32>(v_cache[at / 2u][at % 2u], v_cache[scale / 2u][scale % 2u], 0u, 0u);
    }
    return vec4<u32>(v_cache[cell + 2u * four], v_cache[cell + 2u * four + 1u]);
}

// The numbers. Of bytes, 127 stands for the f16 that belongs to the 32 values around `four`.
fn of_stored(stored: vec4<u32>, four: u32) -> vec4<f32> {
    if (KV == 1u) {
        return of_halves(stored.x, stored.y);
    }
    if (KV == 2u) {
        let word = stored.x;
        let largest = unpack2x16float(stored.y);
        let bytes = (vec4<i32>(vec4<u32>(word << 24u, word << 16u, word << 8u, word))) >> vec4<u32>(24u);
        return vec4<f32>(bytes) * (select(largest.x, largest.y, (four & 8u) != 0u) / 127.0);
    }
    return bitcast<vec4<f32>>(stored);
}
