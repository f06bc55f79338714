// A group of 32 inputs that a thread holds while it goes through rows of weights, divided by the units of the codes (in_place.wgsl).
struct Held {
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    x4: vec4<f32>, x5: vec4<f32>, x6: vec4<f32>, x7: vec4<f32>,
    total: f32, // of the inputs
}

fn in_units(x: array<vec4<f32>, 8>) -> Held {
    return Held(x[0] * LOW, x[1] * LOW, x[2] * LOW, x[3] * LOW, x[4] * HIGH, x[5] * HIGH, x[6] * HIGH, x[7] * HIGH,
                dot(x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7], vec4<f32>(1.0)));
}

fn product(b: Block, x: Held) -> f32 {
    return b.scale * (dot(b.q0, x.x0) + dot(b.q1, x.x1) + dot(b.q2, x.x2) + dot(b.q3, x.x3)
                    + dot(b.q4, x.x4) + dot(b.q5, x.x5) + dot(b.q6, x.x6) + dot(b.q7, x.x7)) + b.minimum * x.total;
}
