// Layout q8_min (lib/q8_min.wgsl) for software adapters, with unshifted codes (in_place.wgsl).
const LOW = BYTES;
const HIGH = BYTES;

fn own_block(row: u32, group: u32) -> Block {
    let i = row * params.groups + group;
    let d = unpack2x16float(scales[i]);
    return block_of_bytes(codes[2u * i], codes[2u * i + 1u], d.x, d.y);
}
