// Layout q8: 32 signed bytes a group, an f16 scale.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups, 2]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, ceil(groups / 2)] pairs of f16

fn signed_bytes(w: u32) -> vec4<f32> {
    return vec4<f32>((vec4<i32>(vec4<u32>(w << 24u, w << 16u, w << 8u, w))) >> vec4<u32>(24u));
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 2u;
    let a = codes[i];
    let b = codes[i + 1u];
    let pair = unpack2x16float(scales[row * ((params.groups + 1u) / 2u) + group / 2u]);
    return Block(signed_bytes(a.x), signed_bytes(a.y), signed_bytes(a.z), signed_bytes(a.w),
                 signed_bytes(b.x), signed_bytes(b.y), signed_bytes(b.z), signed_bytes(b.w),
                 select(pair.x, pair.y, (group & 1u) == 1u), 0.0);
}
