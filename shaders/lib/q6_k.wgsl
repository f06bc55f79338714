// Layout q6_k: six-bit codes around 32, an i8 scale for every 16 of them, one f16 scale for a super-block of 8 groups.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups], low nibbles
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, groups / 8, 21]

// The two high bits of four codes, the lowest of `bits`, at their place in bytes.
fn highs(bits: u32) -> u32 {
    let b = bits & 255u;
    let pairs = (b | (b << 12u)) & 0x000f000fu;
    return ((pairs | (pairs << 6u)) & 0x03030303u) << 4u;
}

fn weight_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let c = codes[i];
    let l = nibbles(c);
    let h = nibbles(c >> vec4<u32>(4u));
    let at = i / 8u * 21u;
    let g = group % 8u;
    // Two neighbouring bytes of the sixteen scales.
    let pair = scales[at + 1u + g / 2u] >> (16u * (g % 2u));
    let s = unpack2x16float(scales[at]).x * vec2<f32>(vec2<i32>(vec2<u32>(pair << 24u, pair << 16u)) >> vec2<u32>(24u));
    let b0 = scales[at + 5u + 2u * g];
    let b1 = scales[at + 6u + 2u * g];
    return Block(l.x | highs(b0), l.y | highs(b0 >> 8u), l.z | highs(b0 >> 16u), l.w | highs(b0 >> 24u),
                 h.x | highs(b1), h.y | highs(b1 >> 8u), h.z | highs(b1 >> 16u), h.w | highs(b1 >> 24u), s, -32.0 * s);
}
