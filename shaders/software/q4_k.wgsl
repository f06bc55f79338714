// Layout q4_k by lanes: lib/q4_k.wgsl has its planes.
const MINIMUM = true;
const LOW = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24); // nibbles stay where they are in their word
const HIGH = vec4<f32>(0x1p-4, 0x1p-12, 0x1p-20, 1.0);

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups, row * params.groups / 2u);
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let w = codes[start.x + group][lane];
    let s = k_scale(start.y + group / 8u * 4u, group % 8u);
    return Lane(low_in_place(w), high_in_place(w), s.x, s.y);
}
