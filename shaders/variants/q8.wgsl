// Layout q8 (lib/q8.wgsl) as signed bytes, for products of bytes.
fn packed_block(row: u32, group: u32) -> Packed {
    let i = (row * params.groups + group) * 2u;
    let pair = unpack2x16float(scales[row * ((params.groups + 1u) / 2u) + group / 2u]);
    return Packed(codes[i], codes[i + 1u], select(pair.x, pair.y, (group & 1u) == 1u), 0.0);
}
