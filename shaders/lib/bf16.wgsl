// Layout bf16: the upper half of an f32, 32 a group.
fn unpacked(q: Quad) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(q.x << 16u, q.x & 0xffff0000u, q.y << 16u, q.y & 0xffff0000u));
}
