// Q4_K's and Q5_K's six-bit scales: a super-block of 8 groups begins with four words (see src/plan/layout.rs).
// The scale d · s and the minimum -m · t of group `g` of the super-block at word `at`.
fn k_scale(at: u32, g: u32) -> vec2<f32> {
    let d = unpack2x16float(scales[at]);
    let low = vec2<u32>(scales[at + 1u], scales[at + 2u]) >> vec2<u32>(4u * g);
    let high = vec2<u32>(scales[at + 3u], scales[at + 3u] >> 16u) >> vec2<u32>(2u * g);
    let s = vec2<f32>((low & vec2<u32>(15u)) | ((high & vec2<u32>(3u)) << vec2<u32>(4u)));
    return vec2<f32>(d.x * s.x, -d.y * s.y);
}
