// Rows of x in a buffer, for lib/share.wgsl.
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

fn input(i: u32) -> vec4<f32> {
    return x[i];
}
