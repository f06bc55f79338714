// Layouts whose codes become unsigned bytes. What a code counts from is part of the minimum, so that it costs nothing for a weight.
alias Quad = u32;
const MINIMUM = true;

fn unpacked(q: Quad) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(q, q >> 8u, q >> 16u, q >> 24u) & vec4<u32>(255u));
}
