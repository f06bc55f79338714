// Layout mxfp4 by lanes: lib/mxfp4.wgsl has its planes.
const MINIMUM = false;
const LOW = vec4<f32>(1.0);
const HIGH = vec4<f32>(1.0);

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups, row * ((params.groups + 3u) / 4u));
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let w = codes[start.x + group][lane];
    let exponent = (scales[start.y + group / 4u] >> (group % 4u * 8u)) & 255u;
    return Lane(e2m1(w), e2m1(w >> 4u), bitcast<f32>((max(exponent, 1u) - 1u) << 23u), 0.0);
}
