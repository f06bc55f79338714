// Layout f32 by lanes: lib/f32.wgsl has its planes.
const MINIMUM = false;
const LOW = vec4<f32>(1.0);
const HIGH = vec4<f32>(1.0);

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups * 8u, 0u);
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let i = start.x + group * 8u + lane;
    return Lane(codes[i], codes[i + 4u], 1.0, 0.0);
}
