// A group of 32 weights of one row as signed bytes: weight i is scale * code + minimum.
struct Packed {
    low: vec4<u32>,  // the first sixteen
    high: vec4<u32>, // the last sixteen
    scale: f32,
    minimum: f32,
}
