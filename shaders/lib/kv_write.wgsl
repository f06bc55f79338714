// Two neighbouring values as words of a row of the KV cache. Bytes need their neighbours: 32 threads have the values of a
// run of 64 of a row, zeros past its end, and all 64 threads call `packed` together.
var<workgroup> kept: array<vec2<f32>, 64>;

const NOWHERE = 0xffffffffu;

// At most two words and where in the row they go.
struct Packed {
    values: vec2<u32>,
    first: u32,
    second: u32,
}

fn group_largest(first: u32) -> f32 {
    var largest = vec2<f32>();
    for (var i = 0u; i < 16u; i++) {
        largest = max(largest, abs(kept[first + i]));
    }
    return min(max(largest.x, largest.y), 65504.0);
}

// Pair `pair` of a row of `dim` values.
fn packed(v: vec2<f32>, pair: u32, dim: u32, thread: u32) -> Packed {
    if (KV == 0u) {
        return Packed(bitcast<vec2<u32>>(v), 2u * pair, 2u * pair + 1u);
    }
    if (KV == 1u) {
        return Packed(vec2<u32>(pack2x16float(v), 0u), pair, NOWHERE);
    }
    workgroupBarrier(); // other threads may still read the previous values
    kept[thread] = v;
    workgroupBarrier();
    let run = thread / 32u * 32u;
    let largest = pack2x16float(vec2<f32>(group_largest(run), group_largest(run + 16u)));
    let both = unpack2x16float(largest);
    let unit = select(both.x, both.y, pair % 32u >= 16u);
    let four = vec4<f32>(v, kept[(thread + 1u) % 64u]) * select(127.0 / unit, 0.0, unit == 0.0);
    let bytes = vec4<u32>(vec4<i32>(clamp(round(four), vec4<f32>(-127.0), vec4<f32>(127.0)))) & vec4<u32>(255u);
    let word = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
    // An even thread has the word of its two values and the next thread's two; the first of a run has the values that 127 stands for.
    return Packed(vec2<u32>(word, largest),
                  select(NOWHERE, pair / 2u, pair % 2u == 0u),
                  select(NOWHERE, (dim + 3u) / 4u + pair / 32u, pair % 32u == 0u));
}
