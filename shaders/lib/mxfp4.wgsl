// Layout mxfp4: 32 floats of four bits (e2m1) a group, a power of two each group (OCP Microscaling Formats, arXiv 2310.10537).
// The codes are doubled so that they are whole, the scale is halved; one below 2^-126, which devices may flush, is 0.
@group(0) @binding(2) var<storage, read> codes: array<vec4<u32>>; // [rows, groups]
@group(0) @binding(3) var<storage, read> scales: array<u32>;      // [rows, ceil(groups / 4)] four exponents

// Fifteen and twice the values of the low nibbles of four bytes: a sign above three bits that count 0, 1, 2, 3, 4, 6, 8, 12.
fn e2m1(w: vec4<u32>) -> vec4<u32> {
    let one = vec4<u32>(1u);
    let low = vec4<u32>(0x01010101u);
    let m = w & vec4<u32>(0x07070707u);
    let large = (w >> vec4<u32>(2u)) & low; // four and more
    let odd = large & w;
    let eight = large & (w >> one);
    let magnitude = m + odd + ((eight + (odd & eight)) << one);
    let sign = (w >> vec4<u32>(3u)) & low;
    let negative = (sign << vec4<u32>(4u)) - sign;
    return (magnitude ^ negative) + (vec4<u32>(0x0f0f0f0fu) ^ negative);
}

fn weight_block(row: u32, group: u32) -> Block {
    let c = codes[row * params.groups + group];
    let l = e2m1(c);
    let h = e2m1(c >> vec4<u32>(4u));
    let exponent = (scales[row * ((params.groups + 3u) / 4u) + group / 4u] >> (group % 4u * 8u)) & 255u;
    let scale = vec2<f32>(bitcast<f32>((max(exponent, 1u) - 1u) << 23u));
    return Block(l.x, l.y, l.z, l.w, h.x, h.y, h.z, h.w, scale, -15.0 * scale);
}
