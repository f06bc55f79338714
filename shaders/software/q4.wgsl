// Layout q4 by lanes: lib/q4.wgsl has its planes.
const MINIMUM = true;
const LOW = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24); // nibbles stay where they are in their word
const HIGH = vec4<f32>(0x1p-4, 0x1p-12, 0x1p-20, 1.0);

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups, row * ((params.groups + 1u) / 2u));
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let w = codes[start.x + group][lane];
    let d = unpack2x16float(scales[start.y + group / 2u] >> (group % 2u * 16u)).x;
    return Lane(low_in_place(w), high_in_place(w), d, -8.0 * d);
}
