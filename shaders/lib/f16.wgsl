// Layout f16: 32 halves a group, read without `shader-f16`.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups, 4]

fn weight_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 4u;
    let a = codes[i];
    let b = codes[i + 1u];
    let c = codes[i + 2u];
    let d = codes[i + 3u];
    return Block(f16_low(a), f16_high(a), f16_low(b), f16_high(b),
                 f16_low(c), f16_high(c), f16_low(d), f16_high(d), 1.0, 0.0);
}
