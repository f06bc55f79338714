// What DeepSeek's latent attention keeps of a token (arXiv 2405.04434): the latent, RMS-normalised, and the part of the key
// that turns with its position, which all heads share. A workgroup per token.
override KV_F16: bool = true; // the cache holds pairs of f16 in a word; otherwise f32

struct Params {
    rank: u32,     // values of the latent, even
    rotary: u32,   // values of the part that turns, even
    stride: u32,   // f32 elements from one row of x to the next
    eps: f32,      // of the norm
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> x: array<f32>;              // [T, stride]: latent, then the turning part
@group(0) @binding(3) var<storage, read> table: array<vec2<f32>>;    // [256 + context / 256, rotary / 2] cos, sin
@group(0) @binding(4) var<storage, read> gain: array<f32>;           // [rank]
@group(0) @binding(5) var<storage, read_write> cache: array<u32>;    // [context, rank + rotary]

var<workgroup> squares: array<f32, 64>;

fn rotated(base: u32, i: u32, position: u32) -> f32 {
    let pairs = params.rotary / 2u;
    let place = place_of(i, pairs);
    let turn = rotation(position, place.pair, pairs);
    return x[base + i] * turn.x + select(-1.0, 1.0, place.second) * x[base + place.partner] * turn.y;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.x;
    if (t >= state.count) {
        return;
    }
    let base = t * params.stride;
    var sum = 0.0;
    for (var i = thread; i < params.rank; i += 64u) {
        sum += x[base + i] * x[base + i];
    }
    squares[thread] = sum;
    for (var reach = 32u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            squares[thread] += squares[thread + reach];
        }
    }
    workgroupBarrier();
    let scale = inverseSqrt(squares[0] / f32(params.rank) + params.eps);
    let position = state.position + t;
    let width = params.rank + params.rotary;
    for (var i = 2u * thread; i < width; i += 128u) {
        var v: vec2<f32>;
        if (i < params.rank) {
            v = vec2<f32>(x[base + i] * gain[i], x[base + i + 1u] * gain[i + 1u]) * scale;
        } else {
            let j = i - params.rank;
            v = vec2<f32>(rotated(base + params.rank, j, position), rotated(base + params.rank, j + 1u, position));
        }
        let out = position * width + i;
        if (KV_F16) {
            cache[out / 2u] = pack2x16float(v);
        } else {
            cache[out] = bitcast<u32>(v.x);
            cache[out + 1u] = bitcast<u32>(v.y);
        }
    }
}
