// Pairs of neighbouring values of the KV cache, by their index in pairs.
override KV_F16: bool = true; // the cache holds pairs of f16 in a word; otherwise f32

fn key_pair(i: u32) -> vec2<f32> {
    if (KV_F16) {
        return unpack2x16float(k_cache[i]);
    }
    return bitcast<vec2<f32>>(vec2<u32>(k_cache[2u * i], k_cache[2u * i + 1u]));
}

fn value_pair(i: u32) -> vec2<f32> {
    if (KV_F16) {
        return unpack2x16float(v_cache[i]);
    }
    return bitcast<vec2<f32>>(vec2<u32>(v_cache[2u * i], v_cache[2u * i + 1u]));
}
