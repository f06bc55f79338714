// Rows of f32, f16 or bf16 as they were published become rows of layout q8 or q4; gpu/quantize.rs says how, and makes the
// same bits on the CPU. Nothing here depends on how a device rounds: scales are worked out in integers, and the products
// that settle a code are exact. A thread makes two groups of 32, which share a word of scales.
override FOUR_BITS: bool = false;

struct Params {
    k: u32,      // weights in a row
    groups: u32, // groups of 32 in a row
}
struct Job {
    numbers: u32,   // of the input: 0 f32, 1 f16, 2 bf16
    rows: u32,      // of the input
    first_row: u32, // of the part, where the first goes
    row_step: u32,  // of the part, from one to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> job: Job;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;   // [rows, groups, 8] words, or 4
@group(0) @binding(3) var<storage, read_write> scales: array<u32>;  // [rows, ceil(groups / 2)] pairs of f16
@group(0) @binding(4) var<storage, read> weights: array<u32>;       // [job.rows, k] numbers without gaps

const NAN: u32 = 0x7e00u;

// f32 bits of a finite f16's, without its sign.
fn f16_bits(h: u32) -> u32 {
    if ((h & 0x7c00u) == 0x7c00u) {
        return 0x7f800000u | ((h & 0x3ffu) << 13u);
    }
    if (h >= 0x400u) {
        return (h << 13u) + 0x38000000u;
    }
    return bitcast<u32>(f32(h) * 5.9604644775390625e-8); // 2^-24: exact
}

// f32 bits of number i of a row of the input; 0 past its end and for subnormals.
fn bits_of(row: u32, i: u32) -> u32 {
    if (i >= params.k) {
        return 0u;
    }
    let at = row * params.k + i;
    var bits: u32;
    if (job.numbers == 0u) {
        bits = weights[at];
    } else {
        let half = (weights[at / 2u] >> (16u * (at & 1u))) & 0xffffu;
        if (job.numbers == 1u) {
            bits = f16_bits(half & 0x7fffu) | ((half & 0x8000u) << 16u);
        } else {
            bits = half << 16u;
        }
    }
    return select(bits, 0u, (bits & 0x7f800000u) == 0u);
}

// f16 bits of the number of these bits / divisor, rounded to nearest, ties to even, or up to a subnormal.
fn scale_bits(bits: u32, divisor: u32) -> u32 {
    let exponent = i32(bits >> 23u);
    if (exponent == 0) {
        return 0u;
    }
    let mantissa = ((bits & 0x7fffffu) | 0x800000u) << 8u;
    let quotient = mantissa / divisor;
    let inexact = quotient * divisor != mantissa;
    let top = i32(firstLeadingBit(quotient));
    let biased = top + exponent - 143;
    if (biased >= 31) {
        return NAN;
    }
    let shift = u32(top - 10 + max(1 - biased, 0));
    if (shift > 31u) {
        return 1u;
    }
    let kept = quotient >> shift;
    let rest = quotient & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    let nearest = rest > half || (rest == half && (inexact || (kept & 1u) == 1u));
    let up = select(nearest, rest > 0u || inexact, biased <= 0);
    let rounded = kept + u32(up) + select(0u, u32(max(biased - 1, 0)) << 10u, biased > 0);
    return select(rounded, NAN, rounded >= 0x7c00u);
}

// The multiple of `step` nearest to v, the smaller one where two are as near; at most `most`.
fn level(v: f32, step: f32, most: u32) -> u32 {
    if (step == 0.0) {
        return 0u;
    }
    var n = min(u32(v / step + 0.5), most);
    if ((f32(n) + 0.5) * step < v) {
        n += 1u;
    }
    if (n > 0u && (f32(n) - 0.5) * step >= v) {
        n -= 1u;
    }
    return min(n, most);
}

fn code8(bits: u32, step: f32) -> u32 {
    let n = level(bitcast<f32>(bits & 0x7fffffffu), step, 127u);
    return select(n, 256u - n, (bits >> 31u) == 1u && n > 0u);
}

fn code4(bits: u32, step: f32, negative: bool) -> u32 {
    let v = bitcast<f32>(bits & 0x7fffffffu);
    if (((bits >> 31u) == 1u && bits != 0x80000000u) != negative) {
        return 8u - level(v, step, 8u);
    }
    return 8u + level(v, step, 7u);
}

// Makes a group; returns its scale's bits.
fn quantize(row: u32, out: u32, group: u32) -> u32 {
    let first = group * 32u;
    var extreme = 0u; // bits of the value of largest magnitude, the first of equals
    var finite = true;
    for (var i = 0u; i < 32u; i++) {
        let bits = bits_of(row, first + i);
        finite = finite && (bits & 0x7f800000u) != 0x7f800000u;
        if ((bits & 0x7fffffffu) > (extreme & 0x7fffffffu)) {
            extreme = bits;
        }
    }
    var scale = NAN;
    if (finite) {
        scale = scale_bits(extreme & 0x7fffffffu, select(127u, 8u, FOUR_BITS));
    }
    let step = select(0.0, bitcast<f32>(f16_bits(scale)), scale < 0x7c00u);
    let at = (out * params.groups + group) * select(8u, 4u, FOUR_BITS);
    if (FOUR_BITS) {
        let negative = extreme != 0u && (extreme >> 31u) == 0u && scale < NAN;
        for (var w = 0u; w < 4u; w++) {
            var word = 0u;
            for (var j = 0u; j < 4u; j++) {
                let i = first + w * 4u + j;
                let low = code4(bits_of(row, i), step, negative);
                let high = code4(bits_of(row, i + 16u), step, negative);
                word |= (low | (high << 4u)) << (8u * j);
            }
            codes[at + w] = word;
        }
        return scale | select(0u, 0x8000u, negative);
    }
    for (var w = 0u; w < 8u; w++) {
        var word = 0u;
        for (var j = 0u; j < 4u; j++) {
            word |= code8(bits_of(row, first + w * 4u + j), step) << (8u * j);
        }
        codes[at + w] = word;
    }
    return scale;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let pairs = (params.groups + 1u) / 2u;
    for (var item = id.x; item < job.rows * pairs; item += grid.x * 64u) {
        let row = item / pairs;
        let pair = item % pairs;
        let out = job.first_row + row * job.row_step;
        var word = quantize(row, out, 2u * pair);
        if (2u * pair + 1u < params.groups) {
            word |= quantize(row, out, 2u * pair + 1u) << 16u;
        }
        scales[out * pairs + pair] = word;
    }
}
