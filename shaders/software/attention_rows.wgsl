// out = softmax(q · Kᵀ · scale) · V over the keys a token may see, as attention.wgsl does it for a prompt's tokens, on software
// adapters and for heads of 128 values at most. Four threads, which such an adapter runs as one, have 16 rows, four each. A thread
// holds 32 values of its queries, then of its results, while it goes through the keys and values of a tile, so that each loaded
// value is used for all rows. No thread waits for another.
const SPLITS = 1u;
const THREADS = 4u;
const TILE = 64u;
const FOURS = 32u; // of the longest row

struct Part {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}

// What lies past the row's end is read as its end: the queries are zero there, and results are not stored.
fn key_part(base: u32, part: u32) -> Part {
    let i = vec4<u32>(part * 8u) + vec4<u32>(0u, 1u, 2u, 3u);
    let last = vec4<u32>((params.key_dim - 1u) / 4u);
    let a = min(i, last);
    let b = min(i + 4u, last);
    let dim = params.key_dim;
    return Part(key_four(base, dim, a.x), key_four(base, dim, a.y), key_four(base, dim, a.z), key_four(base, dim, a.w),
                key_four(base, dim, b.x), key_four(base, dim, b.y), key_four(base, dim, b.z), key_four(base, dim, b.w));
}

fn value_part(base: u32, part: u32) -> Part {
    let i = vec4<u32>(part * 8u) + vec4<u32>(0u, 1u, 2u, 3u);
    let last = vec4<u32>((params.value_dim - 1u) / 4u);
    let a = min(i, last);
    let b = min(i + 4u, last);
    let dim = params.value_row;
    return Part(value_four(base, dim, a.x), value_four(base, dim, a.y), value_four(base, dim, a.z), value_four(base, dim, a.w),
                value_four(base, dim, b.x), value_four(base, dim, b.y), value_four(base, dim, b.z), value_four(base, dim, b.w));
}

fn product(a: Part, b: Part) -> f32 {
    return dot(a.v0, b.v0) + dot(a.v1, b.v1) + dot(a.v2, b.v2) + dot(a.v3, b.v3)
         + dot(a.v4, b.v4) + dot(a.v5, b.v5) + dot(a.v6, b.v6) + dot(a.v7, b.v7);
}

fn added(s: Part, v: Part, by: f32) -> Part {
    return Part(s.v0 + v.v0 * by, s.v1 + v.v1 * by, s.v2 + v.v2 * by, s.v3 + v.v3 * by,
                s.v4 + v.v4 * by, s.v5 + v.v5 * by, s.v6 + v.v6 * by, s.v7 + v.v7 * by);
}

// Four rows of fours, queries or results.
alias Rows = array<array<vec4<f32>, FOURS>, 4>;

fn part_of(rows: ptr<function, Rows>, row: u32, part: u32, by: f32) -> Part {
    let i = part * 8u;
    return Part((*rows)[row][i] * by, (*rows)[row][i + 1u] * by, (*rows)[row][i + 2u] * by, (*rows)[row][i + 3u] * by,
                (*rows)[row][i + 4u] * by, (*rows)[row][i + 5u] * by, (*rows)[row][i + 6u] * by, (*rows)[row][i + 7u] * by);
}

fn keep(rows: ptr<function, Rows>, row: u32, part: u32, p: Part) {
    let i = part * 8u;
    (*rows)[row][i] = p.v0;
    (*rows)[row][i + 1u] = p.v1;
    (*rows)[row][i + 2u] = p.v2;
    (*rows)[row][i + 3u] = p.v3;
    (*rows)[row][i + 4u] = p.v4;
    (*rows)[row][i + 5u] = p.v5;
    (*rows)[row][i + 6u] = p.v6;
    (*rows)[row][i + 7u] = p.v7;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let kv_head = workgroup.x;
    let first_row = workgroup.z * 4u * THREADS;
    let rows = min(state.count * (params.heads / params.kv_heads), first_row + 4u * THREADS); // where they end
    if (first_row >= rows) {
        return;
    }
    let its = keys_of(first_row, rows, 0u);
    let first = its.first;
    let skip = its.skip;
    let keys = its.count; // with those it skips
    let origin = its.origin;
    let key_words = kv_words(params.key_dim);
    let value_words = kv_words(params.value_row);

    // Row r of a thread is 4 r rows past its first.
    var q: Rows;
    var since: vec4<u32>;
    var until: vec4<u32>;
    for (var r = 0u; r < 4u; r++) {
        let row = first_row + r * THREADS + thread;
        if (row < rows) {
            until[r] = state.position + token_of(row) + 1u;
            since[r] = first_key(state.position + token_of(row) + 1u);
            for (var i = 0u; i * 4u < params.key_dim; i++) {
                q[r][i] = query_four(row, kv_head, i);
            }
        }
    }
    var sums: Rows;
    var maximum = vec4<f32>(NONE);
    var denominator = vec4<f32>();
    var scores: array<vec4<f32>, TILE>; // of a key for the thread's rows
    for (var tile = 0u; tile < keys; tile += TILE) {
        let begin = max(tile, skip);
        let count = min(tile + TILE, keys) - begin;
        for (var j = 0u; j < count; j++) {
            scores[j] = vec4<f32>(); // a variable declared here would keep what it held in SwiftShader's second round
        }
        for (var part = 0u; part * 32u < params.key_dim; part++) {
            let q0 = part_of(&q, 0u, part, 1.0);
            let q1 = part_of(&q, 1u, part, 1.0);
            let q2 = part_of(&q, 2u, part, 1.0);
            let q3 = part_of(&q, 3u, part, 1.0);
            for (var j = 0u; j < count; j++) {
                let k = key_part((place(origin, begin + j - skip) * params.kv_heads + kv_head) * key_words, part);
                scores[j] += vec4<f32>(product(q0, k), product(q1, k), product(q2, k), product(q3, k));
            }
        }
        let before = maximum;
        for (var j = 0u; j < count; j++) {
            scores[j] = seen(scores[j], first + begin + j, since, until);
            maximum = max(maximum, scores[j]);
        }
        let rescale = exp(before - maximum);
        denominator *= rescale;
        for (var j = 0u; j < count; j++) {
            let a = weights(scores[j], maximum);
            denominator += a;
            scores[j] = a;
        }
        for (var part = 0u; part * 32u < params.value_dim; part++) {
            var s0 = part_of(&sums, 0u, part, rescale.x);
            var s1 = part_of(&sums, 1u, part, rescale.y);
            var s2 = part_of(&sums, 2u, part, rescale.z);
            var s3 = part_of(&sums, 3u, part, rescale.w);
            for (var j = 0u; j < count; j++) {
                let v = value_part((place(origin, begin + j - skip) * params.kv_heads + kv_head) * value_words, part);
                let a = scores[j];
                s0 = added(s0, v, a.x);
                s1 = added(s1, v, a.y);
                s2 = added(s2, v, a.z);
                s3 = added(s3, v, a.w);
            }
            keep(&sums, 0u, part, s0);
            keep(&sums, 1u, part, s1);
            keep(&sums, 2u, part, s2);
            keep(&sums, 3u, part, s3);
        }
    }

    for (var r = 0u; r < 4u; r++) {
        let row = first_row + r * THREADS + thread;
        if (row < rows) {
            let by = normalization(row, kv_head, maximum[r], denominator[r]);
            for (var i = 0u; i * 4u < params.value_dim; i++) {
                put(row, rows, kv_head, 0u, i, sums[r][i] * by);
            }
        }
    }
}
