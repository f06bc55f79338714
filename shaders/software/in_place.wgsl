// Converts codes to numbers without shifting them: each number is the code times the unit of its place in the word, which is divided
// out elsewhere (LOW, HIGH, BYTES). A CPU has no vector shift by several amounts.
fn low_nibbles(w: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4<u32>(w) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u)));
}

fn high_nibbles(w: u32) -> vec4<f32> {
    return vec4<f32>(vec3<f32>(vec3<i32>(vec3<u32>(w) & vec3<u32>(0xf0u, 0xf000u, 0xf00000u))), f32(w & 0xf0000000u));
}

fn bytes(w: u32) -> vec4<f32> {
    return vec4<f32>(vec3<f32>(vec3<i32>(vec3<u32>(w) & vec3<u32>(0xffu, 0xff00u, 0xff0000u))), f32(w & 0xff000000u));
}

fn block_of_nibbles(c: vec4<u32>, scale: f32, minimum: f32) -> Block {
    return Block(low_nibbles(c.x), low_nibbles(c.y), low_nibbles(c.z), low_nibbles(c.w),
                 high_nibbles(c.x), high_nibbles(c.y), high_nibbles(c.z), high_nibbles(c.w), scale, minimum);
}

fn block_of_bytes(a: vec4<u32>, b: vec4<u32>, scale: f32, minimum: f32) -> Block {
    return Block(bytes(a.x), bytes(a.y), bytes(a.z), bytes(a.w), bytes(b.x), bytes(b.y), bytes(b.z), bytes(b.w), scale, minimum);
}

const BYTES = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
