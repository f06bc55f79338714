// Reduces the partial results of the SPLITS splits of attention for one token: each is rescaled to the common maximum.
override SPLITS: u32 = 16u;   // at most 64
override SINKS: bool = false; // as in attention
const THREADS = 256u;         // of a workgroup

struct Params {
    value_dim: u32, // even, at most 512
    window: u32,
    chunk: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> parts: array<vec2<f32>>;     // [heads, SPLITS, value_dim / 2 + 1]: the last are maximum and denominator
@group(0) @binding(3) var<storage, read_write> out: array<vec2<f32>>; // [heads, value_dim / 2]
@group(0) @binding(6) var<storage, read> sinks: array<f32>;           // [heads], read with SINKS only

var<workgroup> shares: array<f32, 64>; // of the splits
var<workgroup> lanes: array<f32, 64>;
var<workgroup> sums: array<vec2<f32>, THREADS>;

// The largest of the splits' numbers, or with `add` their sum.
fn of_splits(v: f32, thread: u32, add: bool) -> f32 {
    if (thread < 64u) {
        lanes[thread] = v;
    }
    for (var reach = 32u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            let other = lanes[thread + reach];
            lanes[thread] = select(max(lanes[thread], other), lanes[thread] + other, add);
        }
    }
    workgroupBarrier();
    let all = lanes[0];
    workgroupBarrier();
    return all;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let head = workgroup.x;
    let end = state.position + 1u;
    let keys = end - first_key(end);
    let split_keys = keys_of_split(keys);
    let splits = (keys + split_keys - 1u) / split_keys;
    let columns = params.value_dim / 2u;
    let base = head * SPLITS * (columns + 1u);
    // A thread has the split of its number; then a column of every `phases`-th split.
    var own = vec2<f32>(-3.0e38, 0.0);
    if (thread < splits) {
        own = parts[base + thread * (columns + 1u) + columns];
    }
    var maximum = of_splits(own.x, thread, false);
    if (SINKS) {
        maximum = max(maximum, sinks[head]);
    }
    let share = exp(own.x - maximum);
    var denominator = of_splits(own.y * share, thread, true);
    if (SINKS) {
        denominator += exp(sinks[head] - maximum);
    }
    if (thread < 64u) {
        shares[thread] = select(0.0, share / denominator, thread < splits);
    }
    workgroupBarrier();
    let phases = max(THREADS / columns, 1u);
    let column = thread % columns;
    let phase = thread / columns;
    let last = splits - 1u;
    var sum = vec2<f32>();
    for (var s = phase; s < select(splits, 0u, phase >= phases); s += 4u * phases) {
        // Four at a time, so that their reads are under way together.
        let s1 = s + phases;
        let s2 = s1 + phases;
        let s3 = s2 + phases;
        let v0 = parts[base + s * (columns + 1u) + column];
        let v1 = parts[base + min(s1, last) * (columns + 1u) + column];
        let v2 = parts[base + min(s2, last) * (columns + 1u) + column];
        let v3 = parts[base + min(s3, last) * (columns + 1u) + column];
        sum += v0 * shares[s];
        sum += v1 * select(0.0, shares[min(s1, last)], s1 < splits);
        sum += v2 * select(0.0, shares[min(s2, last)], s2 < splits);
        sum += v3 * select(0.0, shares[min(s3, last)], s3 < splits);
    }
    sums[thread] = sum;
    workgroupBarrier();
    if (thread < columns) {
        for (var i = 1u; i < phases; i++) {
            sum += sums[thread + i * columns];
        }
        out[head * columns + thread] = sum;
    }
}
