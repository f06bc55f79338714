// Layout bf16: the upper half of an f32, 32 a group.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups, 4]

fn bf16_pair(a: u32, b: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 4u;
    let a = codes[i];
    let b = codes[i + 1u];
    let c = codes[i + 2u];
    let d = codes[i + 3u];
    return Block(bf16_pair(a.x, a.y), bf16_pair(a.z, a.w), bf16_pair(b.x, b.y), bf16_pair(b.z, b.w),
                 bf16_pair(c.x, c.y), bf16_pair(c.z, c.w), bf16_pair(d.x, d.y), bf16_pair(d.z, d.w), 1.0, 0.0);
}
