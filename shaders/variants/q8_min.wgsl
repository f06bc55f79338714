// Layout q8_min (lib/q8_min.wgsl) as signed bytes, for products of bytes. Its bytes count from 0 and become signed, from -128.
fn packed_block(row: u32, group: u32) -> Packed {
    let i = row * params.groups + group;
    let d = unpack2x16float(scales[i]);
    let flip = vec4<u32>(0x80808080u);
    return Packed(codes[2u * i] ^ flip, codes[2u * i + 1u] ^ flip, d.x, d.y + 128.0 * d.x);
}
