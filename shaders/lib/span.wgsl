// Which keys a token sees: all before it and itself; the last `window` of them where that is set; or those of its own
// `chunk` of the context.
fn first_key(end: u32) -> u32 {
    if (params.chunk > 0u) {
        return (end - 1u) / params.chunk * params.chunk;
    }
    return select(0u, end - min(end, params.window), params.window > 0u);
}

// Keys of each of SPLITS splits: whole tiles of 64.
fn keys_of_split(keys: u32) -> u32 {
    return ((keys + SPLITS - 1u) / SPLITS + 63u) / 64u * 64u;
}
