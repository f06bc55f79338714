// Layout q4_k (lib/q4_k.wgsl) for software adapters, with unshifted codes (in_place.wgsl).
const LOW = BYTES;
const HIGH = BYTES * 0x1p-4;

fn own_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let s = k_scale(i / 8u * 4u, group % 8u);
    return block_of_nibbles(codes[i], s.x, s.y);
}
