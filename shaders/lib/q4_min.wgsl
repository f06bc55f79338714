// Layout q4_min: 32 nibbles a group, an f16 scale and an f16 minimum.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups] scale below, minimum above

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let d = unpack2x16float(scales[i]);
    return nibble_block(codes[i], d.x, d.y);
}
