// Layout q8_min: 32 unsigned bytes a group, an f16 scale and an f16 minimum.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups, 2]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups] scale below, minimum above

fn unsigned_bytes(w: u32) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u) & vec4<u32>(255u));
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let a = codes[i * 2u];
    let b = codes[i * 2u + 1u];
    let d = unpack2x16float(scales[i]);
    return Block(unsigned_bytes(a.x), unsigned_bytes(a.y), unsigned_bytes(a.z), unsigned_bytes(a.w),
                 unsigned_bytes(b.x), unsigned_bytes(b.y), unsigned_bytes(b.z), unsigned_bytes(b.w), d.x, d.y);
}
