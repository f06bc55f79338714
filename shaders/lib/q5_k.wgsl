// Layout q5_k: as q4_k, with a fifth bit of every code among the scales.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups / 8, 12]

// The fifth bits of four weights, from bit `first` of a group's word, at their value.
fn fifths(bits: u32, first: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(bits >> first) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) * 16.0;
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let c = codes[i];
    let h = c >> vec4<u32>(4u);
    let at = i / 8u * 12u;
    let s = k_scale(at, group % 8u);
    let b = scales[at + 4u + group % 8u];
    return Block(nibbles(c.x) + fifths(b, 0u), nibbles(c.y) + fifths(b, 4u),
                 nibbles(c.z) + fifths(b, 8u), nibbles(c.w) + fifths(b, 12u),
                 nibbles(h.x) + fifths(b, 16u), nibbles(h.y) + fifths(b, 20u),
                 nibbles(h.z) + fifths(b, 24u), nibbles(h.w) + fifths(b, 28u), s.x, s.y);
}
