// Layout q4: 32 nibbles a group, of which 8 stands for 0, and an f16 scale.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, ceil(groups / 2)] pairs of f16

fn weight_block(row: u32, group: u32) -> Block {
    let c = codes[row * params.groups + group];
    let pair = unpack2x16float(scales[row * ((params.groups + 1u) / 2u) + group / 2u]);
    let scale = select(pair.x, pair.y, (group & 1u) == 1u);
    return nibble_block(c, scale, -8.0 * scale);
}
