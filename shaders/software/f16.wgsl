// Layout f16 by lanes: lib/f16.wgsl has its planes.
const MINIMUM = false;
const LOW = vec4<f32>(1.0);
const HIGH = vec4<f32>(1.0);

fn four_of(i: u32, word: u32) -> vec4<f32> {
    let a = codes[i][word];
    let b = codes[i][word + 1u];
    return vec4<f32>(unpack2x16float(a), unpack2x16float(b));
}

fn start_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row * params.groups * 4u, 0u);
}

fn lane_of(start: vec2<u32>, group: u32, lane: u32) -> Lane {
    let i = start.x + group * 4u + lane / 2u;
    return Lane(four_of(i, lane % 2u * 2u), four_of(i + 2u, lane % 2u * 2u), 1.0, 0.0);
}
