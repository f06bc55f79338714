// Layout q4_min (lib/q4_min.wgsl) for software adapters, with unshifted codes (in_place.wgsl).
const LOW = BYTES;
const HIGH = BYTES * 0x1p-4;

fn own_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let d = unpack2x16float(scales[i]);
    return block_of_nibbles(codes[i], d.x, d.y);
}
