// out = softmax(q · Kᵀ · scale) · V over the keys a token may see (lib/span.wgsl).
// Grouped heads (arXiv 2305.13245), online softmax over tiles of keys (FlashAttention, arXiv 2205.14135).
// A workgroup takes ROWS rows (lib/queries.wgsl), for which keys and values are read once, and one of SPLITS splits of the
// context; with more than one, each leaves its unnormalised sums, maxima and denominators to attention_reduce (Flash-Decoding).
// A head of keys has 576 values at most, one of values 512. Values may be the leading part of what is compared as keys: the
// latent of DeepSeek-V2 (arXiv 2405.04434) is both.
// Reads of the caches are in no branch and several are under way at once: where there is no key, another is read and has no weight.
override SPLITS: u32 = 1u;
override ROWS: u32 = 16u;    // 4, 8, 16 or 32; at most 16 with over 64 values in a head, 8 with over 128
override COLUMNS: u32 = 16u; // neighbouring threads, a power of two: each has four values of a head
override WIDE: bool = false; // over 256 values in a head: each of 64 threads has four more, 256 on

// Keys of a tile, of which some fours at a time; then the weights of their values: [keys, ROWS / 4] of four rows each. From REST on
// queries, then what threads tell each other: maxima or denominators of each thread's four rows, and from FACTOR on a factor of each row.
var<workgroup> staged: array<vec4<f32>, 512>;
const REST = 256u;
const FACTOR = 320u;

// The place of a key or query among `all` of the row j of fours, so that those that are written together, and those that are read, lie in
// different banks of the memory.
fn placed(j: u32, apart: u32, all: u32) -> u32 {
    return (j * apart) & (all - 1u);
}

// The largest of the threads' numbers for the four rows of this one's quad, or with `add` their sum.
fn gathered(v: vec4<f32>, thread: u32, add: bool) -> vec4<f32> {
    let quads = ROWS / 4u;
    staged[REST + thread] = v;
    workgroupBarrier();
    var all = v;
    if (ROWS < 16u) {
        // Eight threads' first, then those of all eights.
        let eight = thread / (8u * quads) * (8u * quads) + thread % quads;
        for (var j = 0u; j < 8u; j++) {
            let other = staged[REST + eight + j * quads];
            all = select(max(all, other), select(all + other, other, j == 0u), add);
        }
        workgroupBarrier();
        staged[REST + thread] = all;
        workgroupBarrier();
        let first = thread % quads;
        for (var j = 0u; j < 8u / quads; j++) {
            let other = staged[REST + first + j * 8u * quads];
            all = select(max(all, other), select(all + other, other, j == 0u), add);
        }
        return all;
    }
    for (var j = 0u; j < 64u / quads; j++) {
        let other = staged[REST + thread % quads + j * quads];
        all = select(max(all, other), select(all + other, other, j == 0u), add);
    }
    return all;
}

// In the threads of phase 0: the sums of all phases. FACTOR is left alone.
fn over_phases(m: mat4x4<f32>, thread: u32, phase: u32, phases: u32, apart: u32) -> mat4x4<f32> {
    staged[4u * thread] = m[0];
    staged[4u * thread + 1u] = m[1];
    staged[4u * thread + 2u] = m[2];
    staged[4u * thread + 3u] = m[3];
    workgroupBarrier();
    var all = m;
    if (phase == 0u) {
        for (var i = 1u; i < phases; i++) {
            let at = 4u * (thread + i * apart);
            all += mat4x4<f32>(staged[at], staged[at + 1u], staged[at + 2u], staged[at + 3u]);
        }
    }
    return all;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) of_workgroup: u32) {
    let thread = of_workgroup % 64u; // compilers see that places lie within `staged`
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
    let tile_keys = select(64u, 32u, ROWS > 16u);
    let part = 256u / tile_keys; // fours of the keys that are staged at a time
    let spread = 8u / part;
    let fours = (params.key_dim + 3u) / 4u;

    // Scores: this thread has the four rows of its quad, and every `apart`-th key of a tile, up to four.
    let quads = ROWS / 4u;
    let quad = thread % quads;
    let lane = thread / quads;
    let apart = 64u / quads;
    var until = vec4<u32>();
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + 4u * quad + i;
        if (row < rows) {
            until[i] = state.position + token_of(row) + 1u;
        }
    }
    // It stages one four of each of four keys.
    let own_four = thread % part;
    let own_slot = thread / part;
    let slots = 64u / part;
    let key_at = placed(own_four, spread, 8u);
    let keys = run_of(its, kv_head, kv_cells(params.key_dim));
    let own_key = own_slot * keys.stride;
    let key_step = slots * keys.stride;
    var cell0 = cell_of(keys, own_key);
    var cell1 = cell_of(keys, own_key + key_step);
    var cell2 = cell_of(keys, own_key + 2u * key_step);
    var cell3 = cell_of(keys, own_key + 3u * key_step);
    let first_four = min(own_four, fours - 1u);
    var k0 = key_stored(cell0, params.key_dim, first_four);
    var k1 = key_stored(cell1, params.key_dim, first_four);
    var k2 = key_stored(cell2, params.key_dim, first_four);
    var k3 = key_stored(cell3, params.key_dim, first_four);
    // And of a query, with 32 rows of four.
    let query_place = REST + own_four * ROWS + (own_slot ^ placed(own_four, spread, ROWS));
    let query0 = query_at(min(first_row + own_slot, rows - 1u), kv_head);
    let query1 = query_at(min(first_row + own_slot + 8u, rows - 1u), kv_head);
    let query2 = query_at(min(first_row + own_slot + 16u, rows - 1u), kv_head);
    let query3 = query_at(min(first_row + own_slot + 24u, rows - 1u), kv_head);

    // Sums: four columns of the rows of `each` quads, one or two, and every `phases`-th key; where a head is narrow, some threads have none.
    let abreast = min(max(quads / 2u, 1u), 64u / COLUMNS);
    let each = quads / abreast;
    let column = thread % COLUMNS;
    let own = select(thread / COLUMNS % abreast, 0u, WIDE);
    let phase = select(thread / (COLUMNS * abreast), 0u, WIDE);
    let phases = min(64u / (COLUMNS * abreast), tile_keys / 4u);
    let values = run_of(its, kv_head, kv_cells(params.value_row));
    let value_step = phases * values.stride;
    let value_fours = (params.value_dim + 3u) / 4u;
    let value_four = select(min(column, value_fours - 1u), column, WIDE);
    let wide_four = min(column + 64u, value_fours - 1u);
    var sum0 = mat4x4<f32>();
    var sum1 = mat4x4<f32>();
    var sum2 = mat4x4<f32>();
    var sum3 = mat4x4<f32>();

    var maximum = vec4<f32>(NONE);
    var denominator = vec4<f32>();
    for (var tile = 0u; tile < its.count; tile += tile_keys) {
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        for (var at = 0u; at < fours; at += part) {
            let four = at + own_four;
            if (WIDE) { // there are no registers left to read ahead
                k0 = key_stored(cell0, params.key_dim, min(four, fours - 1u));
                k1 = key_stored(cell1, params.key_dim, min(four, fours - 1u));
                k2 = key_stored(cell2, params.key_dim, min(four, fours - 1u));
                k3 = key_stored(cell3, params.key_dim, min(four, fours - 1u));
            }
            staged[own_four * tile_keys + (own_slot ^ key_at)] = of_stored(k0, four);
            staged[own_four * tile_keys + ((own_slot + slots) ^ key_at)] = of_stored(k1, four);
            staged[own_four * tile_keys + ((own_slot + 2u * slots) ^ key_at)] = of_stored(k2, four);
            staged[own_four * tile_keys + ((own_slot + 3u * slots) ^ key_at)] = of_stored(k3, four);
            if (own_slot < ROWS) {
                staged[query_place] = query_four(query0, four);
            }
            if (ROWS > 16u) {
                staged[query_place + 8u] = query_four(query1, four);
                staged[query_place + 16u] = query_four(query2, four);
                staged[query_place + 24u] = query_four(query3, four);
            }
            workgroupBarrier();
            // What is staged next is on its way meanwhile.
            var next_four = min(four + part, fours - 1u);
            if (at + part >= fours) {
                next_four = first_four;
                let next_key = (tile + tile_keys) * keys.stride + own_key;
                cell0 = cell_of(keys, next_key);
                cell1 = cell_of(keys, next_key + key_step);
                cell2 = cell_of(keys, next_key + 2u * key_step);
                cell3 = cell_of(keys, next_key + 3u * key_step);
            }
            if (!WIDE) {
                k0 = key_stored(cell0, params.key_dim, next_four);
                k1 = key_stored(cell1, params.key_dim, next_four);
                k2 = key_stored(cell2, params.key_dim, next_four);
                k3 = key_stored(cell3, params.key_dim, next_four);
            }
            for (var j = 0u; j < part; j++) {
                let swapped = placed(j, spread, ROWS);
                let r = REST + j * ROWS + ((4u * quad) ^ (swapped & 28u));
                let q0 = staged[r + (swapped & 3u)];
                let q1 = staged[r + (1u ^ (swapped & 3u))];
                let q2 = staged[r + (2u ^ (swapped & 3u))];
                let q3 = staged[r + (3u ^ (swapped & 3u))];
                let k = j * tile_keys + (lane ^ placed(j, spread, 8u));
                s0 = add_products(s0, q0, q1, q2, q3, staged[k]);
                if (ROWS > 4u) {
                    s1 = add_products(s1, q0, q1, q2, q3, staged[k + apart]);
                }
                if (ROWS > 8u) {
                    s2 = add_products(s2, q0, q1, q2, q3, staged[k + 2u * apart]);
                    s3 = add_products(s3, q0, q1, q2, q3, staged[k + 3u * apart]);
                }
            }
            workgroupBarrier();
        }
        var since = vec4<u32>();
        for (var i = 0u; i < 4u; i++) {
            since[i] = first_key(until[i]);
        }
        let none = vec4<f32>(NONE);
        let k = its.first + tile + lane;
        s0 = seen(s0, k, since, until);
        s1 = select(none, seen(s1, k + apart, since, until), ROWS > 4u);
        s2 = select(none, seen(s2, k + 2u * apart, since, until), ROWS > 8u);
        s3 = select(none, seen(s3, k + 3u * apart, since, until), ROWS > 8u);
        let tile_maximum = max(maximum, gathered(max(max(s0, s1), max(s2, s3)), thread, false));
        let rescale = exp(maximum - tile_maximum);
        maximum = tile_maximum;
        s0 = weights(s0, maximum);
        s1 = weights(s1, maximum);
        s2 = weights(s2, maximum);
        s3 = weights(s3, maximum);
        denominator = denominator * rescale + ((s0 + s1) + (s2 + s3));
        staged[thread] = s0;
        if (ROWS > 4u) {
            staged[64u + thread] = s1;
        }
        if (ROWS > 8u) {
            staged[128u + thread] = s2;
            staged[192u + thread] = s3;
        }
        if (lane == 0u) {
            staged[FACTOR + quad] = rescale;
        }
        workgroupBarrier();
        sum0 = rescaled(sum0, staged[FACTOR + own]);
        if (each > 1u) {
            sum1 = rescaled(sum1, staged[FACTOR + own + abreast]);
        }
        if (WIDE) {
            sum2 = rescaled(sum2, staged[FACTOR]);
            sum3 = rescaled(sum3, staged[FACTOR + quads - 1u]);
        }
        // Four keys at a time; past the split's last their weights are 0.
        let end = select(min(tile_keys, its.count - tile), 0u, phase >= phases);
        var at_value = (tile + phase) * values.stride;
        for (var j = phase; j < end; j += 4u * phases) {
            let from0 = cell_of(values, at_value);
            let from1 = cell_of(values, at_value + value_step);
            let from2 = cell_of(values, at_value + 2u * value_step);
            let from3 = cell_of(values, at_value + 3u * value_step);
            at_value += 4u * value_step;
            let stored0 = value_stored(from0, params.value_row, value_four);
            let stored1 = value_stored(from1, params.value_row, value_four);
            let stored2 = value_stored(from2, params.value_row, value_four);
            let stored3 = value_stored(from3, params.value_row, value_four);
            let v0 = of_stored(stored0, value_four);
            let w0 = j * quads + own;
            sum0 = add_outer(sum0, v0, staged[w0]);
            if (each > 1u) {
                sum1 = add_outer(sum1, v0, staged[w0 + abreast]);
            }
            let v1 = of_stored(stored1, value_four);
            let w1 = j * quads + own + phases * quads;
            sum0 = add_outer(sum0, v1, staged[w1]);
            if (each > 1u) {
                sum1 = add_outer(sum1, v1, staged[w1 + abreast]);
            }
            let v2 = of_stored(stored2, value_four);
            let w2 = j * quads + own + 2u * phases * quads;
            sum0 = add_outer(sum0, v2, staged[w2]);
            if (each > 1u) {
                sum1 = add_outer(sum1, v2, staged[w2 + abreast]);
            }
            let v3 = of_stored(stored3, value_four);
            let w3 = j * quads + own + 3u * phases * quads;
            sum0 = add_outer(sum0, v3, staged[w3]);
            if (each > 1u) {
                sum1 = add_outer(sum1, v3, staged[w3 + abreast]);
            }
        }
        if (WIDE) {
            for (var j = 0u; j < min(64u, its.count - tile); j += 2u) {
                let from0 = cell_of(values, (tile + j) * values.stride);
                let from1 = cell_of(values, (tile + j + 1u) * values.stride);
                let stored0 = value_stored(from0, params.value_row, wide_four);
                let stored1 = value_stored(from1, params.value_row, wide_four);
                let v0 = of_stored(stored0, wide_four);
                let v1 = of_stored(stored1, wide_four);
                sum2 = add_outer(sum2, v0, staged[j * quads]);
                sum2 = add_outer(sum2, v1, staged[(j + 1u) * quads]);
                sum3 = add_outer(sum3, v0, staged[(j + 1u) * quads - 1u]);
                sum3 = add_outer(sum3, v1, staged[(j + 2u) * quads - 1u]);
            }
        }
        workgroupBarrier();
    }

    let all = gathered(denominator, thread, true);
    if (lane == 0u) {
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
        staged[FACTOR + quad] = by;
    }
    if (phases > 1u) {
        sum0 = over_phases(sum0, thread, phase, phases, COLUMNS * abreast);
        if (each > 1u) {
            workgroupBarrier();
            sum1 = over_phases(sum1, thread, phase, phases, COLUMNS * abreast);
        }
    } else {
        workgroupBarrier();
    }
    if (phase > 0u) {
        return;
    }
    store(first_row + 4u * own, rows, kv_head, split, column, rescaled(sum0, staged[FACTOR + own]));
    if (each > 1u) {
        let quad1 = own + abreast;
        store(first_row + 4u * quad1, rows, kv_head, split, column, rescaled(sum1, staged[FACTOR + quad1]));
    }
    if (WIDE) {
        store(first_row, rows, kv_head, split, column + 64u, rescaled(sum2, staged[FACTOR]));
        if (quads > 1u) {
            store(first_row + 4u, rows, kv_head, split, column + 64u, rescaled(sum3, staged[FACTOR + 1u]));
        }
    }
}
