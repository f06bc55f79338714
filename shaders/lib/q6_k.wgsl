// Layout q6_k: six-bit codes around 32, an i8 scale for every 16 of them, one f16 scale for a super-block of 8 groups.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups], low nibbles
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups / 8, 21]

// Four codes: their low nibbles, and two high bits each from bit `first`; around 32 and times `s`.
fn six_bits(low: vec4<f32>, bits: u32, first: u32, s: f32) -> vec4<f32> {
    let high = (vec4<u32>(bits >> first) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
    return (low + vec4<f32>(high) * 16.0 - 32.0) * s;
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let c = codes[i];
    let h = c >> vec4<u32>(4u);
    let at = i / 8u * 21u;
    let g = group % 8u;
    // Two neighbouring bytes of the sixteen scales.
    let pair = scales[at + 1u + g / 2u] >> (16u * (g % 2u));
    let s0 = f32(i32(pair << 24u) >> 24u);
    let s1 = f32(i32(pair << 16u) >> 24u);
    let b0 = scales[at + 5u + 2u * g];
    let b1 = scales[at + 6u + 2u * g];
    return Block(six_bits(nibbles(c.x), b0, 0u, s0), six_bits(nibbles(c.y), b0, 8u, s0),
                 six_bits(nibbles(c.z), b0, 16u, s0), six_bits(nibbles(c.w), b0, 24u, s0),
                 six_bits(nibbles(h.x), b1, 0u, s1), six_bits(nibbles(h.y), b1, 8u, s1),
                 six_bits(nibbles(h.z), b1, 16u, s1), six_bits(nibbles(h.w), b1, 24u, s1),
                 unpack2x16float(scales[at]).x, 0.0);
}
