// Layout q8_min by lanes: lib/q8_min.wgsl has its planes.
const MINIMUM = true;
const LOW = vec4<f32>(1.0);
const HIGH = vec4<f32>(1.0);

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups);
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let i = start.x + group;
    let d = unpack2x16float(scales[i]);
    return Lane(unsigned_bytes(codes[2u * i][lane]), unsigned_bytes(codes[2u * i + 1u][lane]), d.x, d.y);
}
