// Layout q8: 32 signed bytes a group, an f16 scale.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups, 2]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, ceil(groups / 2)] pairs of f16

alias Quad = u32;
const MINIMUM = false;

fn unpacked(q: Quad) -> vec4<f32> {
    return vec4<f32>((vec4<i32>(vec4<u32>(q << 24u, q << 16u, q << 8u, q))) >> vec4<u32>(24u));
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 2u;
    let a = codes[i];
    let b = codes[i + 1u];
    let pair = unpack2x16float(scales[row * ((params.groups + 1u) / 2u) + group / 2u]);
    return Block(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w,
                 vec2<f32>(select(pair.x, pair.y, (group & 1u) == 1u)), vec2<f32>());
}
