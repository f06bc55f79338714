// Tiles as in lib/tile.wgsl, in bytes, since some GPUs multiply and add four bytes in one instruction. Codes stay what they are.
// A group of 32 inputs becomes integers of two bytes and a scale, because the error of one byte shows in a model's logits. As many
// groups are unpacked at a time as threads can make the bytes of one group for one row of x.
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

const GROUPS: u32 = 64u / TILE;
var<workgroup> tile_w: array<vec4<u32>, GROUPS * 128u>;     // [GROUPS, 2, 64 rows of the weights]
var<workgroup> tile_scale: array<vec2<f32>, GROUPS * 64u>;  // [GROUPS, 64]: scale and minimum
var<workgroup> tile_x: array<vec4<u32>, 256>;               // [GROUPS, 2 bytes, 2, TILE rows of x]
var<workgroup> tile_unit: array<vec2<f32>, 64>;             // [GROUPS, TILE]: scale, and the sum of the inputs

const MOST = 127.0 * 256.0; // the largest magnitude of an input

// Codes of a group of four neighbouring rows, sixteen each, their scales and minimums.
struct Rows {
    low: array<vec4<u32>, 4>,
    high: array<vec4<u32>, 4>,
    scales: vec4<f32>,
    minimums: vec4<f32>,
}

fn dot16(w: vec4<u32>, v: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, v.x) + dot4I8Packed(w.y, v.y) + dot4I8Packed(w.z, v.z) + dot4I8Packed(w.w, v.w);
}

// The products of row t of x with the codes of group i; the inputs' high bytes count 256 times.
fn products(w: Rows, i: u32, t: u32) -> vec4<f32> {
    let at = 4u * TILE * i + t;
    let low = tile_x[at];
    let high = tile_x[at + TILE];
    let rest_low = tile_x[at + 2u * TILE];
    let rest_high = tile_x[at + 3u * TILE];
    let sums = vec4<i32>(dot16(w.low[0], low) + dot16(w.high[0], high), dot16(w.low[1], low) + dot16(w.high[1], high),
                         dot16(w.low[2], low) + dot16(w.high[2], high), dot16(w.low[3], low) + dot16(w.high[3], high));
    let rests = vec4<i32>(
        dot16(w.low[0], rest_low) + dot16(w.high[0], rest_high), dot16(w.low[1], rest_low) + dot16(w.high[1], rest_high),
        dot16(w.low[2], rest_low) + dot16(w.high[2], rest_high), dot16(w.low[3], rest_low) + dot16(w.high[3], rest_high));
    let unit = tile_unit[i * TILE + t];
    return vec4<f32>(sums * 256 + rests) * (w.scales * unit.x) + w.minimums * unit.y;
}

fn most_of(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

// The higher of a number's two bytes, rounded.
fn higher(v: vec4<i32>) -> vec4<i32> {
    return (v + 128) >> vec4<u32>(8u);
}

fn bytes(v0: vec4<i32>, v1: vec4<i32>, v2: vec4<i32>, v3: vec4<i32>) -> vec4<u32> {
    return vec4<u32>(pack4xI8(v0), pack4xI8(v1), pack4xI8(v2), pack4xI8(v3));
}

// Sixteen numbers into half of group i of the tile's row t: their sum.
fn put_half(v0: vec4<i32>, v1: vec4<i32>, v2: vec4<i32>, v3: vec4<i32>, at: u32) -> i32 {
    let h0 = higher(v0);
    let h1 = higher(v1);
    let h2 = higher(v2);
    let h3 = higher(v3);
    tile_x[at] = bytes(h0, h1, h2, h3);
    tile_x[at + 2u * TILE] = bytes(v0 - h0 * 256, v1 - h1 * 256, v2 - h2 * 256, v3 - h3 * 256);
    let sum = v0 + v1 + v2 + v3;
    return sum.x + sum.y + sum.z + sum.w;
}

fn whole(v: vec4<f32>, scale: f32) -> vec4<i32> {
    return vec4<i32>(round(v * scale));
}

// The group at vec4 `at` of x becomes group i of the tile's row t.
fn put_group(i: u32, t: u32, at: u32) {
    let v0 = x[at];
    let v1 = x[at + 1u];
    let v2 = x[at + 2u];
    let v3 = x[at + 3u];
    let v4 = x[at + 4u];
    let v5 = x[at + 5u];
    let v6 = x[at + 6u];
    let v7 = x[at + 7u];
    let most = most_of(max(max(max(abs(v0), abs(v1)), max(abs(v2), abs(v3))), max(max(abs(v4), abs(v5)), max(abs(v6), abs(v7)))));
    let s = MOST / max(most, 1e-30);
    let to = 4u * TILE * i + t;
    let sum = put_half(whole(v0, s), whole(v1, s), whole(v2, s), whole(v3, s), to)
            + put_half(whole(v4, s), whole(v5, s), whole(v6, s), whole(v7, s), to + TILE);
    let unit = most / MOST;
    tile_unit[i * TILE + t] = vec2<f32>(unit, unit * f32(sum));
}

// As in lib/tile.wgsl.
fn tile_load(thread: u32) -> u32 {
    return thread % 16u * 4u + thread / 16u;
}
fn tile_sums(load_row: u32, first: u32, count: u32, of_workgroup: u32) -> Sums {
    let thread = of_workgroup % 64u;
    let r = thread % 16u;
    let t = thread / 16u * 4u;
    let more = TILE > 16u && tile_rows(first, count) > 16u;
    var sums = Sums();
    // Neighbouring threads have neighbouring rows of x, and so write neighbours: the memory's banks serve them together.
    let own_row = thread % TILE;
    let own_group = thread / TILE;
    let begins = tile_row(first, count, own_row);
    for (var begin = 0u; begin < params.groups; begin += GROUPS) {
        // The last groups may be past the row's end, where no weights are: another group's count, times no input.
        for (var i = 0u; i < GROUPS; i++) {
            let codes = packed_block(load_row, min(begin + i, params.groups - 1u));
            tile_w[128u * i + thread] = codes.low;
            tile_w[128u * i + 64u + thread] = codes.high;
            tile_scale[64u * i + thread] = vec2<f32>(codes.scale, codes.minimum);
        }
        if (begin + own_group < params.groups) {
            put_group(own_group, own_row, begins + (begin + own_group) * 8u);
        } else {
            tile_unit[thread] = vec2<f32>();
        }
        workgroupBarrier();
        for (var i = 0u; i < GROUPS; i++) {
            let w = 128u * i + r;
            let s = 64u * i + r;
            let s0 = tile_scale[s];
            let s1 = tile_scale[s + 16u];
            let s2 = tile_scale[s + 32u];
            let s3 = tile_scale[s + 48u];
            let rows = Rows(array(tile_w[w], tile_w[w + 16u], tile_w[w + 32u], tile_w[w + 48u]),
                            array(tile_w[w + 64u], tile_w[w + 80u], tile_w[w + 96u], tile_w[w + 112u]),
                            vec4<f32>(s0.x, s1.x, s2.x, s3.x), vec4<f32>(s0.y, s1.y, s2.y, s3.y));
            sums.a0 += products(rows, i, t);
            sums.a1 += products(rows, i, t + 1u);
            sums.a2 += products(rows, i, t + 2u);
            sums.a3 += products(rows, i, t + 3u);
            if (more) {
                sums.a4 += products(rows, i, t + TILE - 16u);
                sums.a5 += products(rows, i, t + TILE - 15u);
                sums.a6 += products(rows, i, t + TILE - 14u);
                sums.a7 += products(rows, i, t + TILE - 13u);
            }
        }
        workgroupBarrier();
    }
    return sums;
}
