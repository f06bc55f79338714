// Nibbles in bytes: byte j of a group holds weight j below and weight j + 16 above.
fn nibbles(c: vec4<u32>) -> vec4<u32> {
    return c & vec4<u32>(0x0f0f0f0fu);
}

fn nibble_block(c: vec4<u32>, scale: f32, minimum: f32) -> Block {
    let l = nibbles(c);
    let h = nibbles(c >> vec4<u32>(4u));
    return Block(l.x, l.y, l.z, l.w, h.x, h.y, h.z, h.w, vec2<f32>(scale), vec2<f32>(minimum));
}
