// Four f32 of two words of f16 pairs, as lib/halves.wgsl gives them: they are taken for f32 whose exponent is too small by 112,
// which saves a CPU a dozen operations for each. Below 2⁻¹⁴ they may be zero.
fn of_halves(low: u32, high: u32) -> vec4<f32> {
    let words = bitcast<vec4<i32>>(vec4<u32>(low << 16u, low, high << 16u, high));
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(words >> vec4<u32>(3u)) & vec4<u32>(0x8fffe000u)) * 0x1p112;
}
