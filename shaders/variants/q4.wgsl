// Layout q4 (lib/q4.wgsl) as signed bytes, for products of bytes. The offset 8 of the nibbles becomes a minimum.
fn packed_block(row: u32, group: u32) -> Packed {
    let pair = unpack2x16float(scales[row * ((params.groups + 1u) / 2u) + group / 2u]);
    let scale = select(pair.x, pair.y, (group & 1u) == 1u);
    return packed_nibbles(codes[row * params.groups + group], scale, -8.0 * scale);
}
