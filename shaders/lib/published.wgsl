// Weights as they were published: f32, f16, bf16, or e4m3 with a factor for each block of 128 by 128 (DeepSeek-V3). A job
// says where they lie and where they go: the stored rows, or the stored columns.
struct Params {
    k: u32,      // weights in a row of the part
    groups: u32, // groups of 32 in a row
}
struct Job {
    numbers: u32,     // of the input: 0 f32, 1 f16, 2 bf16, 3 e4m3
    rows: u32,        // to be made
    first_row: u32,   // of the part, where the first goes
    row_step: u32,    // of the part, from one to the next
    k: u32,           // weights of a row that are here
    first_group: u32, // of the part's rows, where they go; even
    base: u32,        // where the first weight is, in weights
    row_stride: u32,  // from one row's weight to the next row's
    stride: u32,      // from one weight of a row to the next
    width: u32,       // e4m3: weights of a stored row
    origin: u32,      // e4m3: weights of the first block of rows before the input
    across: u32,      // e4m3: factors of a block of rows
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> job: Job;
@group(0) @binding(4) var<storage, read> weights: array<u32>; // without gaps
@group(0) @binding(5) var<storage, read> factors: array<u32>; // f32 bits, [blocks of rows, across]

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

// f32 bits of an e4m3 code times a factor, rounded to nearest, ties to even; subnormals are zeros. In integers, so that no
// device rounds otherwise.
fn e4m3_bits(code: u32, factor: u32) -> u32 {
    let sign = ((code << 24u) ^ factor) & 0x80000000u;
    let magnitude = code & 0x7fu;
    let exponent = i32((factor >> 23u) & 255u);
    if (magnitude == 0x7fu || (exponent == 255 && ((factor & 0x7fffffu) != 0u || magnitude == 0u))) {
        return 0x7fc00000u;
    }
    if (exponent == 255) {
        return sign | 0x7f800000u;
    }
    if (exponent == 0 || magnitude == 0u) {
        return sign;
    }
    let e = i32(magnitude >> 3u);
    let mantissa = select(magnitude & 7u, (magnitude & 7u) | 8u, e > 0);
    let product = mantissa * ((factor & 0x7fffffu) | 0x800000u);
    let top = firstLeadingBit(product);
    let shift = top - 23u;
    let rest = product & ((1u << shift) - 1u);
    let half = (1u << shift) >> 1u;
    var kept = product >> shift;
    if (shift > 0u && (rest > half || (rest == half && (kept & 1u) == 1u))) {
        kept += 1u;
    }
    let biased = max(e, 1) - 10 + exponent - 150 + i32(top) + 127;
    if (biased <= 0) {
        return sign;
    }
    let bits = (u32(biased) << 23u) + kept - 0x800000u;
    return sign | min(bits, 0x7f800000u);
}

// f32 bits of weight i of a row in `weights`; 0 past its end.
fn bits_of(row: u32, i: u32) -> u32 {
    if (i >= job.k) {
        return 0u;
    }
    let at = job.base + row * job.row_stride + i * job.stride;
    if (job.numbers == 0u) {
        return weights[at];
    }
    if (job.numbers == 3u) {
        let stored = job.origin + at;
        let factor = factors[stored / job.width / 128u * job.across + stored % job.width / 128u];
        return e4m3_bits((weights[at / 4u] >> (8u * (at & 3u))) & 0xffu, factor);
    }
    let half = (weights[at / 2u] >> (16u * (at & 1u))) & 0xffffu;
    if (job.numbers == 1u) {
        return f16_bits(half & 0x7fffu) | ((half & 0x8000u) << 16u);
    }
    return half << 16u;
}

// The row and the pair of groups of a work item. Neighbouring items read neighbouring weights.
fn place(item: u32, pairs: u32) -> vec2<u32> {
    if (job.stride > 1u) {
        return vec2(item % job.rows, item / job.rows);
    }
    return vec2(item / pairs, item % pairs);
}
