// A group of 32 weights of one row as signed bytes: weight i is scale * code + minimum.
struct Packed {
    low: vec4<u32>,  // the first sixteen
    high: vec4<u32>, // the last sixteen
    scale: f32,
    minimum: f32,
}

// Four-bit codes as all layouts of nibbles have them (lib/nibbles.wgsl).
fn packed_nibbles(c: vec4<u32>, scale: f32, minimum: f32) -> Packed {
    let mask = vec4<u32>(0x0f0f0f0fu);
    return Packed(c & mask, (c >> vec4<u32>(4u)) & mask, scale, minimum);
}
