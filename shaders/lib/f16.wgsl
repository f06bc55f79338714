// Layout f16: 32 halves a group, read without `shader-f16`.
fn unpacked(q: Quad) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
