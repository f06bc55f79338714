// Layout q4_k (lib/q4_k.wgsl) as signed bytes, for products of bytes.
fn packed_block(row: u32, group: u32) -> Packed {
    let i = row * params.groups + group;
    let s = k_scale(i / 8u * 4u, group % 8u);
    return packed_nibbles(codes[i], s.x, s.y);
}
