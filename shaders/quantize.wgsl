// Quantises published rows to layout q8 or q4; plan/quantize.rs describes how, and makes the same bits on the CPU.
// Nothing here depends on how a device rounds: scales are computed in integers, and the products that decide a code are
// exact. A thread makes two groups of 32, which share a word of scales.
override FOUR_BITS: bool = false;

@group(0) @binding(2) var<storage, read_write> codes: array<u32>;  // [rows, groups, 8] words, or 4
@group(0) @binding(3) var<storage, read_write> scales: array<u32>; // [rows, ceil(groups / 2)] pairs of f16

const NAN: u32 = 0x7e00u;

// f32 bits of weight i of a row, with subnormals as zeros.
fn normal_bits(row: u32, i: u32) -> u32 {
    let bits = bits_of(row, i);
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

// Makes the group of a row that begins with its weight 32 · group; returns its scale's bits.
fn quantize(row: u32, out: u32, group: u32) -> u32 {
    let first = group * 32u;
    var extreme = 0u; // bits of the value with the largest magnitude, the first among equals
    var finite = true;
    for (var i = 0u; i < 32u; i++) {
        let bits = normal_bits(row, first + i);
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
    let at = (out * params.groups + job.first_group + group) * select(8u, 4u, FOUR_BITS);
    if (FOUR_BITS) {
        let negative = extreme != 0u && (extreme >> 31u) == 0u && scale < NAN;
        for (var w = 0u; w < 4u; w++) {
            var word = 0u;
            for (var j = 0u; j < 4u; j++) {
                let i = first + w * 4u + j;
                let low = code4(normal_bits(row, i), step, negative);
                let high = code4(normal_bits(row, i + 16u), step, negative);
                word |= (low | (high << 4u)) << (8u * j);
            }
            codes[at + w] = word;
        }
        return scale | select(0u, 0x8000u, negative);
    }
    for (var w = 0u; w < 8u; w++) {
        var word = 0u;
        for (var j = 0u; j < 4u; j++) {
            word |= code8(normal_bits(row, first + w * 4u + j), step) << (8u * j);
        }
        codes[at + w] = word;
    }
    return scale;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let groups = (job.k + 31u) / 32u;
    let pairs = (groups + 1u) / 2u;
    for (var item = id.x; item < job.rows * pairs; item += grid.x * 64u) {
        let at = place(item, pairs);
        let out = job.first_row + at.x * job.row_step;
        var word = quantize(at.x, out, 2u * at.y);
        if (2u * at.y + 1u < groups) {
            word |= quantize(at.x, out, 2u * at.y + 1u) << 16u;
        }
        scales[out * ((params.groups + 1u) / 2u) + job.first_group / 2u + at.y] = word;
    }
}
