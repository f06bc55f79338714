// Layout q8 by lanes: lib/q8.wgsl has its planes.
const MINIMUM = false;
const LOW = vec4<f32>(0x1p-24); // bytes go to the top of a word
const HIGH = vec4<f32>(0x1p-24);

fn top_bytes(w: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4<u32>(w << 24u, w << 16u, w << 8u, w) & vec4<u32>(0xff000000u)));
}

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups * 2u, row * ((params.groups + 1u) / 2u));
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let i = start.x + group * 2u;
    let d = unpack2x16float(scales[start.y + group / 2u] >> (group % 2u * 16u)).x;
    return Lane(top_bytes(codes[i][lane]), top_bytes(codes[i + 1u][lane]), d, 0.0);
}
