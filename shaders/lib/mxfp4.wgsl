// Layout mxfp4: 32 floats of four bits (e2m1) a group, a power of two each group (OCP Microscaling Formats, arXiv 2310.10537).
// The codes are doubled so that they are whole, the scale is halved; one below 2^-126, which devices may flush, is 0.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, ceil(groups / 4)] four exponents

// Twice the values of the low nibbles of four bytes: a sign above three bits that count 0, 1, 2, 3, 4, 6, 8, 12.
fn e2m1(w: u32) -> vec4<f32> {
    let c = vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u);
    let magnitude = vec4<f32>((vec4<u32>(0xc8643210u) >> ((c & vec4<u32>(7u)) * 4u)) & vec4<u32>(15u));
    return select(magnitude, -magnitude, (c & vec4<u32>(8u)) != vec4<u32>());
}

fn weight_block(row: u32, group: u32) -> Block {
    let c = codes[row * params.groups + group];
    let h = c >> vec4<u32>(4u);
    let exponent = (scales[row * ((params.groups + 3u) / 4u) + group / 4u] >> (group % 4u * 8u)) & 255u;
    return Block(e2m1(c.x), e2m1(c.y), e2m1(c.z), e2m1(c.w), e2m1(h.x), e2m1(h.y), e2m1(h.z), e2m1(h.w),
                 bitcast<f32>((max(exponent, 1u) - 1u) << 23u), 0.0);
}
