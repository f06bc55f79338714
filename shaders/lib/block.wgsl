// A group of 32 weights of one row as every layout file presents it: weight i is scale * q[i] + minimum.
struct Block {
    q0: vec4<f32>, q1: vec4<f32>, q2: vec4<f32>, q3: vec4<f32>,
    q4: vec4<f32>, q5: vec4<f32>, q6: vec4<f32>, q7: vec4<f32>,
    scale: f32,
    minimum: f32,
}

// Four f32 of the words of `v`, taken as pairs of f16.
fn f16_low(v: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}
fn f16_high(v: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w));
}
