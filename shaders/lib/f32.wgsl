// Layout f32: 32 floats a group.
@group(0) @binding(2) var<storage, read> codes: array<vec4<f32>>; // [rows, groups, 8]

fn weight_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 8u;
    return Block(codes[i], codes[i + 1u], codes[i + 2u], codes[i + 3u],
                 codes[i + 4u], codes[i + 5u], codes[i + 6u], codes[i + 7u], 1.0, 0.0);
}
