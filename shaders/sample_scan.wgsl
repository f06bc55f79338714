// The first step of the sampler: a workgroup looks at each slice of the logits, for the largest and the sum of the exponentials.
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = workgroup.x * params.slice;
    let end = min(first + params.slice, params.vocabulary);
    if (workgroup.x == 0u) {
        atomicStore(&work.totals[thread], 0u);
        atomicStore(&work.count, 0u);
    }
    var bad = false;
    var top = 0.0;
    var top_id = NONE;
    var raw = 0.0;
    var raw_id = NONE;
    for (var i = first + thread; i < end; i += THREADS) {
        let v = logits[i];
        if (!is_finite(v)) {
            bad = true;
            continue;
        }
        if (raw_id == NONE || v > raw) {
            raw = v;
            raw_id = i;
        }
        if (allowed(i)) {
            let a = adjusted(i);
            if (top_id == NONE || a > top) {
                top = a;
                top_id = i;
            }
        }
    }
    let ahead_of_all = leader(thread, top, top_id);
    let maximum = bitcast<f32>(ahead_of_all.x);
    var part = Part(maximum, ahead_of_all.y, 0.0, 0u, 0.0, NONE, 0.0);
    if (options.temperature > 0.0) {
        var sum = 0.0;
        for (var i = first + thread; i < end; i += THREADS) {
            if (allowed(i) && is_finite(logits[i])) {
                sum += exp((adjusted(i) - maximum) / options.temperature);
            }
        }
        part.sum = sum_of(thread, sum);
    }
    if (options.logprobs > 0u) {
        let first_raw = leader(thread, raw, raw_id);
        part.raw = bitcast<f32>(first_raw.x);
        part.raw_id = first_raw.y;
        var sum = 0.0;
        for (var i = first + thread; i < end; i += THREADS) {
            if (is_finite(logits[i])) {
                sum += exp(logits[i] - part.raw);
            }
        }
        part.raw_sum = sum_of(thread, sum);
    }
    part.bad = u32(any_of(thread, bad));
    if (thread == 0u) {
        work.parts[workgroup.x] = part;
    }
}
