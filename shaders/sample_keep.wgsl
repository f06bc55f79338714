// The second step of the sampler, a workgroup for each slice: with top-k or top-p it takes together the tokens that have a mass, which
// are few beside the vocabulary; without, it sums the masses in the order in which a draw walks them.
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    if (options.temperature <= 0.0) {
        return;
    }
    let all = whole(thread);
    let first = workgroup.x * params.slice + thread;
    let end = min(workgroup.x * params.slice + params.slice, params.vocabulary);
    if (!filtered()) {
        let least = least_of(all.maximum);
        var sum = 0u;
        for (var i = first; i < end; i += THREADS) {
            let v = adjusted(i);
            if (v >= least && allowed(i)) {
                sum += mass(v, all.maximum, all.unit);
            }
        }
        atomicAdd(&work.totals[thread], sum);
        return;
    }
    // Masses are below 2^31 = exp(21.5) in all.
    let least = all.maximum - 22.0 * options.temperature;
    var mine = 0u;
    for (var i = first; i < end; i += THREADS) {
        mine += u32(adjusted(i) >= least && allowed(i));
    }
    let until = sum_up_to(thread, mine);
    if (thread == THREADS - 1u) {
        shared_u = vec2<u32>(atomicAdd(&work.count, until));
    }
    var at = workgroupUniformLoad(&shared_u).x + until - mine;
    for (var i = first; i < end; i += THREADS) {
        let v = adjusted(i);
        if (v >= least && allowed(i)) {
            work.candidates[at] = vec2<u32>(i, bitcast<u32>(v));
            at++;
        }
    }
}
