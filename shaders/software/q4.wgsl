// Layout q4 (lib/q4.wgsl) for software adapters, with unshifted codes (in_place.wgsl). The offset 8 of the nibbles becomes a minimum.
const LOW = BYTES;
const HIGH = BYTES * 0x1p-4;

fn own_block(row: u32, group: u32) -> Block {
    let pair = unpack2x16float(scales[row * ((params.groups + 1u) / 2u) + group / 2u]);
    let scale = select(pair.x, pair.y, (group & 1u) == 1u);
    return block_of_nibbles(codes[row * params.groups + group], scale, -8.0 * scale);
}
