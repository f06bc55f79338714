// The nibbles of a word as numbers without being moved: n · 2^(their place).
fn low_in_place(w: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4<u32>(w) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u)));
}

fn high_in_place(w: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4<u32>(w & 0xf0u, w & 0xf000u, w & 0xf00000u, w >> 28u)));
}
