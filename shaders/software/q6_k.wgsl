// Layout q6_k by lanes: lib/q6_k.wgsl has its planes.
const MINIMUM = false;
const LOW = vec4<f32>(1.0);
const HIGH = vec4<f32>(1.0);

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups, row * params.groups / 8u * 21u);
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let w = codes[start.x + group][lane];
    let at = start.y + group / 8u * 21u;
    let g = group % 8u;
    let pair = scales[at + 1u + g / 2u] >> (g % 2u * 16u);
    let low = six_bits(nibbles(w), scales[at + 5u + 2u * g], 8u * lane, f32(i32(pair << 24u) >> 24u));
    let high = six_bits(nibbles(w >> 4u), scales[at + 6u + 2u * g], 8u * lane, f32(i32(pair << 16u) >> 24u));
    return Lane(low, high, unpack2x16float(scales[at]).x, 0.0);
}
