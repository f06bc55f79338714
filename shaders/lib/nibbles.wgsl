// The low nibbles of four bytes. Byte j of a group holds weight j below and weight j + 16 above.
fn nibbles(w: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u) & vec4<u32>(15u)));
}
