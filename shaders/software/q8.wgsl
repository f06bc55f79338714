// Layout q8 (lib/q8.wgsl) for software adapters, with unshifted codes (in_place.wgsl). The bytes become unsigned,
// larger by 128, which the minimum takes back.
const LOW = BYTES;
const HIGH = BYTES;

fn own_block(row: u32, group: u32) -> Block {
    let i = (row * params.groups + group) * 2u;
    let pair = unpack2x16float(scales[row * ((params.groups + 1u) / 2u) + group / 2u]);
    let scale = select(pair.x, pair.y, (group & 1u) == 1u);
    let flip = vec4<u32>(0x80808080u);
    return block_of_bytes(codes[i] ^ flip, codes[i + 1u] ^ flip, scale, -128.0 * scale);
}
