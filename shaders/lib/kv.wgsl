// Rows of the KV cache: the values of one head of one token, in whole words.
override KV: u32 = 1u; // 0: f32; 1: pairs of f16; 2: signed bytes, then for every 32 of them the f16 that 127 stands for

// Words of a row of `dim` values.
fn kv_words(dim: u32) -> u32 {
    let fours = (dim + 3u) / 4u;
    switch (KV) {
        case 0u: { return 4u * fours; }
        case 1u: { return 2u * fours; }
        default: { return fours + (dim + 63u) / 64u; }
    }
}
