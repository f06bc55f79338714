// Layout q5_k: as q4_k, with a fifth bit of every code among the scales.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups / 8, 12]

// The fifth bits of four weights, the lowest of `bits`, at their place in bytes.
fn fifths(bits: u32) -> u32 {
    let b = bits & 15u;
    let pairs = (b | (b << 14u)) & 0x00030003u;
    return ((pairs | (pairs << 7u)) & 0x01010101u) << 4u;
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let c = codes[i];
    let l = nibbles(c);
    let h = nibbles(c >> vec4<u32>(4u));
    let at = i / 8u * 12u;
    let s = k_scale(at, group % 8u);
    let b = scales[at + 4u + group % 8u];
    return Block(l.x | fifths(b), l.y | fifths(b >> 4u), l.z | fifths(b >> 8u), l.w | fifths(b >> 12u),
                 h.x | fifths(b >> 16u), h.y | fifths(b >> 20u), h.z | fifths(b >> 24u), h.w | fifths(b >> 28u),
                 vec2<f32>(s.x), vec2<f32>(s.y));
}
