// Layout q8_min: 32 unsigned bytes a group, an f16 scale and an f16 minimum.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups, 2]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups] scale below, minimum above

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let a = codes[i * 2u];
    let b = codes[i * 2u + 1u];
    let d = unpack2x16float(scales[i]);
    return Block(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, d.xx, d.yy);
}
