// out = softmax(q · Kᵀ · scale) · V over the keys a token may see, as attention.wgsl does it and with its splits, for
// software adapters and heads of 128 values at most. A workgroup of 16 threads has four rows; each thread multiplies four keys
// of a tile with them, and then has four or eight values of the results. Such an adapter clears workgroup memory for each
// workgroup, and needs a stack for every four threads that can wait at a barrier, so the kernel uses little memory and few threads.
override SPLITS: u32 = 1u;

var<workgroup> query: array<vec4<f32>, 128>;  // [32 fours, 4 rows]
var<workgroup> weight: array<vec4<f32>, 64>;  // of a key, for four rows
var<workgroup> lanes: array<vec4<f32>, 16>;   // of each thread's four keys: maxima, then denominators

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let kv_head = workgroup.x;
    let split = workgroup.y;
    let first_row = workgroup.z * 4u;
    let rows = min(state.count * (params.heads / params.kv_heads), first_row + 4u); // where they end
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

    var since = vec4<u32>();
    var until = vec4<u32>();
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + i;
        if (row < rows) {
            until[i] = state.position + token_of(row) + 1u;
            since[i] = first_key(until[i]);
        }
    }
    for (var i = thread; i < 4u * fours; i += 16u) {
        query[i] = query_four(min(first_row + i % 4u, rows - 1u), kv_head, i / 4u);
    }
    let inside = 4u * thread < params.value_dim;
    let wide_inside = 4u * thread + 64u < params.value_dim;
    var sum = mat4x4<f32>();
    var wide_sum = mat4x4<f32>();
    var maximum = vec4<f32>(NONE);
    var denominator = vec4<f32>();
    for (var tile = 0u; tile < keys; tile += 64u) {
        workgroupBarrier();
        // Keys that are skipped or past the end are read as neighbours and not seen.
        let slots = min(max(vec4<u32>(skip), vec4<u32>(tile + thread) + vec4<u32>(0u, 16u, 32u, 48u)), vec4<u32>(keys - 1u));
        let base0 = (place(origin, slots.x - skip) * params.kv_heads + kv_head) * key_words;
        let base1 = (place(origin, slots.y - skip) * params.kv_heads + kv_head) * key_words;
        let base2 = (place(origin, slots.z - skip) * params.kv_heads + kv_head) * key_words;
        let base3 = (place(origin, slots.w - skip) * params.kv_heads + kv_head) * key_words;
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        for (var four = 0u; four < fours; four++) {
            let q0 = query[4u * four];
            let q1 = query[4u * four + 1u];
            let q2 = query[4u * four + 2u];
            let q3 = query[4u * four + 3u];
            s0 += products(q0, q1, q2, q3, key_four(base0, params.key_dim, four));
            s1 += products(q0, q1, q2, q3, key_four(base1, params.key_dim, four));
            s2 += products(q0, q1, q2, q3, key_four(base2, params.key_dim, four));
            s3 += products(q0, q1, q2, q3, key_four(base3, params.key_dim, four));
        }
        s0 = seen(s0, first + tile + thread, since, until);
        s1 = seen(s1, first + tile + thread + 16u, since, until);
        s2 = seen(s2, first + tile + thread + 32u, since, until);
        s3 = seen(s3, first + tile + thread + 48u, since, until);
        lanes[thread] = max(max(s0, s1), max(s2, s3));
        workgroupBarrier();
        var tile_maximum = maximum;
        for (var i = 0u; i < 16u; i++) {
            tile_maximum = max(tile_maximum, lanes[i]);
        }
        let rescale = exp(maximum - tile_maximum);
        maximum = tile_maximum;
        s0 = weights(s0, maximum);
        s1 = weights(s1, maximum);
        s2 = weights(s2, maximum);
        s3 = weights(s3, maximum);
        denominator = denominator * rescale + ((s0 + s1) + (s2 + s3));
        weight[thread] = s0;
        weight[thread + 16u] = s1;
        weight[thread + 32u] = s2;
        weight[thread + 48u] = s3;
        workgroupBarrier();
        sum = rescaled(sum, rescale);
        wide_sum = rescaled(wide_sum, rescale);
        for (var slot = max(tile, skip); slot < min(tile + 64u, keys); slot++) {
            let base = (place(origin, slot - skip) * params.kv_heads + kv_head) * value_words;
            let w = weight[slot - tile];
            if (inside) {
                sum += outer(value_four(base, params.value_row, thread), w);
            }
            if (wide_inside) {
                wide_sum += outer(value_four(base, params.value_row, thread + 16u), w);
            }
        }
    }

    workgroupBarrier();
    lanes[thread] = denominator;
    workgroupBarrier();
    var all = vec4<f32>();
    for (var i = 0u; i < 16u; i++) {
        all += lanes[i];
    }
    var by = vec4<f32>(1.0);
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + i;
        if (SPLITS > 1u) {
            if (row < rows && thread == 0u) {
                let at = result_at(row, kv_head, split) + params.value_dim;
                out[at] = maximum[i];
                out[at + 1u] = all[i];
            }
        } else {
            by[i] = normalization(min(row, rows - 1u), kv_head, maximum[i], all[i]);
        }
    }
    store(first_row, rows, kv_head, split, thread, rescaled(sum, by));
    store(first_row, rows, kv_head, split, thread + 16u, rescaled(wide_sum, by));
}
