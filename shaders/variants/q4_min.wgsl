// Layout q4_min (lib/q4_min.wgsl) as signed bytes, for products of bytes.
fn packed_block(row: u32, group: u32) -> Packed {
    let i = row * params.groups + group;
    let d = unpack2x16float(scales[i]);
    return packed_nibbles(codes[i], d.x, d.y);
}
