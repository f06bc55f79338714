// Layouts of numbers of 16 bits: four are two words.
alias Quad = vec2<u32>;
const MINIMUM = false;
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups, 4]

fn weight_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 4u;
    let a = codes[i];
    let b = codes[i + 1u];
    let c = codes[i + 2u];
    let d = codes[i + 3u];
    return Block(a.xy, a.zw, b.xy, b.zw, c.xy, c.zw, d.xy, d.zw, vec2<f32>(1.0), vec2<f32>());
}
