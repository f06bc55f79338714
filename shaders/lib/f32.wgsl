// Layout f32: 32 floats a group, read where they are used, since four rows of them take too many registers.
@group(0) @binding(2) var<storage, read> codes: array<vec4<f32>>; // [rows, groups, 8]

alias Quad = u32; // its place
const MINIMUM = false;

fn unpacked(q: Quad) -> vec4<f32> {
    return codes[q];
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 8u;
    return Block(i, i + 1u, i + 2u, i + 3u, i + 4u, i + 5u, i + 6u, i + 7u, vec2<f32>(1.0), vec2<f32>());
}
