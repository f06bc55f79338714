// Rotations by position (RoFormer, arXiv 2104.09864). cos and sin come from two short tables combined by the angle sum, exact
// to f32 at any position: table[0..256] position mod 256 (scaled by the attention factor of YaRN), table[256..] position / 256.
override INTERLEAVED: bool = false;  // rotate (2i, 2i+1) as in the paper; otherwise (i, i + rotary/2)

// cos and sin for a pair of `pairs`.
fn rotation(position: u32, pair: u32, pairs: u32) -> vec2<f32> {
    let a = table[(position % 256u) * pairs + pair];
    let b = table[(256u + position / 256u) * pairs + pair];
    return vec2<f32>(a.x * b.x - a.y * b.y, a.y * b.x + a.x * b.y);
}

// The pair of value i of 2 `pairs`, its partner, and whether it is the second of the two.
struct Place {
    pair: u32,
    partner: u32,
    second: bool,
}
fn place_of(i: u32, pairs: u32) -> Place {
    if (INTERLEAVED) {
        return Place(i / 2u, i ^ 1u, (i & 1u) == 1u);
    }
    let second = i >= pairs;
    return Place(select(i, i - pairs, second), select(i + pairs, i - pairs, second), second);
}
