// Layout q5_k by lanes: lib/q5_k.wgsl has its planes.
const MINIMUM = true;
const LOW = vec4<f32>(1.0);
const HIGH = vec4<f32>(1.0);

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups, row * params.groups / 8u * 12u);
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let w = codes[start.x + group][lane];
    let at = start.y + group / 8u * 12u;
    let s = k_scale(at, group % 8u);
    let b = scales[at + 4u + group % 8u];
    return Lane(nibbles(w) + fifths(b, 4u * lane), nibbles(w >> 4u) + fifths(b, 16u + 4u * lane), s.x, s.y);
}
