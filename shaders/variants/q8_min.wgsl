// Layout q8_min (lib/q8_min.wgsl): its bytes count from 0, those of a product of signed ones from -128.
fn packed_block(row: u32, group: u32) -> Packed {
    let i = row * params.groups + group;
    let d = unpack2x16float(scales[i]);
    let turn = vec4<u32>(0x80808080u);
    return Packed(codes[2u * i] ^ turn, codes[2u * i + 1u] ^ turn, d.x, d.y + 128.0 * d.x);
}
