// Values of rows of the KV cache, in fours: `base` is the first word of a row of `dim` values.

// The values of four signed bytes: 127 stands for the f16 of `largest` that belongs to the 32 values around `four`.
fn of_bytes(word: u32, largest: u32, four: u32) -> vec4<f32> {
    let pair = unpack2x16float(largest);
    let bytes = (vec4<i32>(vec4<u32>(word << 24u, word << 16u, word << 8u, word))) >> vec4<u32>(24u);
    return vec4<f32>(bytes) * (select(pair.x, pair.y, (four & 8u) != 0u) / 127.0);
}

fn key_four(base: u32, dim: u32, four: u32) -> vec4<f32> {
    if (KV == 1u) {
        let at = base + 2u * four;
        return of_halves(k_cache[at], k_cache[at + 1u]);
    }
    if (KV == 2u) {
        return of_bytes(k_cache[base + four], k_cache[base + (dim + 3u) / 4u + four / 16u], four);
    }
    let at = base + 4u * four;
    return bitcast<vec4<f32>>(vec4<u32>(k_cache[at], k_cache[at + 1u], k_cache[at + 2u], k_cache[at + 3u]));
}

fn value_four(base: u32, dim: u32, four: u32) -> vec4<f32> {
    if (KV == 1u) {
        let at = base + 2u * four;
        return of_halves(v_cache[at], v_cache[at + 1u]);
    }
    if (KV == 2u) {
        return of_bytes(v_cache[base + four], v_cache[base + (dim + 3u) / 4u + four / 16u], four);
    }
    let at = base + 4u * four;
    return bitcast<vec4<f32>>(vec4<u32>(v_cache[at], v_cache[at + 1u], v_cache[at + 2u], v_cache[at + 3u]));
}
