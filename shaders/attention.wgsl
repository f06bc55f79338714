// out = softmax(q · Kᵀ · scale) · V over the keys a token may see (lib/span.wgsl).
// Grouped heads (arXiv 2305.13245), online softmax over tiles of 64 keys (FlashAttention, arXiv 2205.14135).
// A workgroup takes ROWS rows (lib/queries.wgsl), for which keys and values are read once, and one of SPLITS splits of the
// context; with more than one, each leaves its unnormalised sums, maxima and denominators to attention_reduce (Flash-Decoding).
// A head of keys has 576 values at most, one of values 512. Values may be the leading part of what is compared as keys: the
// latent of DeepSeek-V2 (arXiv 2405.04434) is both.
override SPLITS: u32 = 1u;
override ROWS: u32 = 16u;    // 4, 8 or 16; at most 8 with WIDE
override COLUMNS: u32 = 16u; // neighbouring threads, a power of two: each has four values of a head
override WIDE: bool = false; // over 256 values in a head: each of 64 threads has four more, 256 on

var<workgroup> query: array<vec4<f32>, 128>;  // [8 fours, 16 rows]
var<workgroup> key: array<vec4<f32>, 520>;    // [8 fours, 64 keys and one of padding]; at the end [64 threads, 4 rows]
var<workgroup> weight: array<vec4<f32>, 256>; // [64 keys, ROWS / 4] of four rows each
var<workgroup> lanes: array<vec4<f32>, 64>;   // of each thread's four rows: maxima, then denominators
var<workgroup> factor: array<vec4<f32>, 4>;   // of each row, four in a vector: for rescaling, then normalization

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let kv_head = workgroup.x;
    let split = workgroup.y;
    let group = params.heads / params.kv_heads;
    let first_row = workgroup.z * ROWS;
    let rows = min(state.count * group, first_row + ROWS); // where they end
    if (first_row >= rows) {
        return;
    }
    let its = keys_of(first_row, rows, split);
    if (its.count == 0u) {
        return;
    }
    let first = its.first;
    let skip = its.skip;
    let keys = its.count; // of this split, and those it skips
    let origin = its.origin;
    let key_words = kv_words(params.key_dim);
    let value_words = kv_words(params.value_row);
    let fours = (params.key_dim + 3u) / 4u;

    // Scores: this thread has the four rows of its quad, and every `apart`-th key of a tile.
    let quads = ROWS / 4u;
    let quad = thread % quads;
    let lane = thread / quads;
    let apart = 64u / quads;
    var since = vec4<u32>();
    var until = vec4<u32>();
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + 4u * quad + i;
        if (row < rows) {
            until[i] = state.position + token_of(row) + 1u;
            since[i] = first_key(until[i]);
        }
    }
    // Sums: four columns of the rows of `each` quads, and every `phases`-th key.
    let abreast = min(quads, 64u / COLUMNS);
    let each = quads / abreast;
    let column = thread % COLUMNS;
    let own = thread / COLUMNS % abreast;
    let phase = thread / (COLUMNS * abreast);
    let phases = 64u / (COLUMNS * abreast);
    let inside = 4u * column < params.value_dim;
    let wide_inside = 4u * column + 256u < params.value_dim;
    var sum0 = mat4x4<f32>();
    var sum1 = mat4x4<f32>();
    var sum2 = mat4x4<f32>();
    var sum3 = mat4x4<f32>();

    var maximum = vec4<f32>(NONE);
    var denominator = vec4<f32>();
    for (var tile = 0u; tile < keys; tile += 64u) {
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        for (var at = 0u; at < fours; at += 8u) {
            for (var i = thread; i < 8u * ROWS; i += 64u) {
                let four = at + i % 8u;
                var v = vec4<f32>();
                if (four < fours) {
                    v = query_four(min(first_row + i / 8u, rows - 1u), kv_head, four);
                }
                query[i % 8u * 16u + i / 8u] = v;
            }
            for (var n = 0u; n < 8u; n++) {
                let slot = n * 8u + thread / 8u;
                let four = at + thread % 8u;
                var v = vec4<f32>();
                if (four < fours && tile + slot >= skip && tile + slot < keys) {
                    let row = place(origin, tile + slot - skip) * params.kv_heads + kv_head;
                    v = key_four(row * key_words, params.key_dim, four);
                }
                key[thread % 8u * 65u + slot] = v;
            }
            workgroupBarrier();
            for (var j = 0u; j < 8u; j++) {
                let r = j * 16u + 4u * quad;
                let q0 = query[r];
                let q1 = query[r + 1u];
                let q2 = query[r + 2u];
                let q3 = query[r + 3u];
                let k = j * 65u + lane;
                s0 += products(q0, q1, q2, q3, key[k]);
                if (ROWS > 4u) {
                    s1 += products(q0, q1, q2, q3, key[k + apart]);
                }
                if (ROWS > 8u) {
                    s2 += products(q0, q1, q2, q3, key[k + 2u * apart]);
                    s3 += products(q0, q1, q2, q3, key[k + 3u * apart]);
                }
            }
            workgroupBarrier();
        }
        let none = vec4<f32>(NONE);
        let k = first + tile + lane;
        s0 = seen(s0, k, since, until);
        s1 = select(none, seen(s1, k + apart, since, until), ROWS > 4u);
        s2 = select(none, seen(s2, k + 2u * apart, since, until), ROWS > 8u);
        s3 = select(none, seen(s3, k + 3u * apart, since, until), ROWS > 8u);
        lanes[thread] = max(max(s0, s1), max(s2, s3));
        workgroupBarrier();
        var tile_maximum = maximum;
        for (var j = 0u; j < apart; j++) {
            tile_maximum = max(tile_maximum, lanes[j * quads + quad]);
        }
        let rescale = exp(maximum - tile_maximum);
        maximum = tile_maximum;
        s0 = weights(s0, maximum);
        s1 = weights(s1, maximum);
        s2 = weights(s2, maximum);
        s3 = weights(s3, maximum);
        denominator = denominator * rescale + ((s0 + s1) + (s2 + s3));
        weight[lane * quads + quad] = s0;
        if (ROWS > 4u) {
            weight[(lane + apart) * quads + quad] = s1;
        }
        if (ROWS > 8u) {
            weight[(lane + 2u * apart) * quads + quad] = s2;
            weight[(lane + 3u * apart) * quads + quad] = s3;
        }
        if (lane == 0u) {
            factor[quad] = rescale;
        }
        workgroupBarrier();
        sum0 = rescaled(sum0, factor[own]);
        if (each > 1u) {
            sum1 = rescaled(sum1, factor[own + abreast]);
        }
        if (WIDE) {
            sum2 = rescaled(sum2, factor[0]);
            sum3 = rescaled(sum3, factor[quads - 1u]);
        } else if (each > 2u) {
            sum2 = rescaled(sum2, factor[own + 2u * abreast]);
            sum3 = rescaled(sum3, factor[own + 3u * abreast]);
        }
        for (var j = phase; j < min(64u, keys - tile); j += phases) {
            if (tile + j < skip) {
                continue;
            }
            let base = (place(origin, tile + j - skip) * params.kv_heads + kv_head) * value_words;
            let w = j * quads + own;
            if (inside) {
                let v = value_four(base, params.value_row, column);
                sum0 += outer(v, weight[w]);
                if (each > 1u) {
                    sum1 += outer(v, weight[w + abreast]);
                }
                if (each > 2u) {
                    sum2 += outer(v, weight[w + 2u * abreast]);
                    sum3 += outer(v, weight[w + 3u * abreast]);
                }
            }
            if (WIDE && wide_inside) {
                let v = value_four(base, params.value_row, column + 64u);
                sum2 += outer(v, weight[w]);
                sum3 += outer(v, weight[j * quads + quads - 1u]);
            }
        }
    }

    lanes[thread] = denominator;
    workgroupBarrier();
    if (lane == 0u) {
        var all = vec4<f32>();
        for (var j = 0u; j < apart; j++) {
            all += lanes[j * quads + quad];
        }
        var by = vec4<f32>(1.0);
        for (var i = 0u; i < 4u; i++) {
            let row = first_row + 4u * quad + i;
            if (SPLITS > 1u) {
                if (row < rows) {
                    let at = result_at(row, kv_head, split) + params.value_dim;
                    out[at] = maximum[i];
                    out[at + 1u] = all[i];
                }
            } else {
                by[i] = normalization(row, kv_head, maximum[i], all[i]);
            }
        }
        factor[quad] = by;
    }
    if (phases > 1u) {
        key[4u * thread] = sum0[0];
        key[4u * thread + 1u] = sum0[1];
        key[4u * thread + 2u] = sum0[2];
        key[4u * thread + 3u] = sum0[3];
    }
    workgroupBarrier();
    if (phase > 0u) {
        return;
    }
    for (var i = 1u; i < phases; i++) {
        let at = 4u * (thread + i * COLUMNS * abreast);
        sum0 += mat4x4<f32>(key[at], key[at + 1u], key[at + 2u], key[at + 3u]);
    }
    store(first_row + 4u * own, rows, kv_head, split, column, rescaled(sum0, factor[own]));
    if (each > 1u) {
        let quad1 = own + abreast;
        store(first_row + 4u * quad1, rows, kv_head, split, column, rescaled(sum1, factor[quad1]));
    }
    if (WIDE) {
        store(first_row, rows, kv_head, split, column + 64u, rescaled(sum2, factor[0]));
        if (quads > 1u) {
            store(first_row + 4u, rows, kv_head, split, column + 64u, rescaled(sum3, factor[1]));
        }
    } else if (each > 2u) {
        let quad2 = own + 2u * abreast;
        store(first_row + 4u * quad2, rows, kv_head, split, column, rescaled(sum2, factor[quad2]));
        let quad3 = own + 3u * abreast;
        store(first_row + 4u * quad3, rows, kv_head, split, column, rescaled(sum3, factor[quad3]));
    }
}
