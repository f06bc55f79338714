// Layout q4_k: 32 nibbles a group, six-bit scales and minimums in super-blocks of 8 groups.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups / 8, 4]

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let s = k_scale(i / 8u * 4u, group % 8u);
    return nibble_block(codes[i], s.x, s.y);
}
