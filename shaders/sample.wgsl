// Chooses the next token from the logits and writes it where the next step reads its input, so that steps can be queued.
// A constraint's mask leaves tokens out before anything else. What remains follows the order of transformers' logits
// processors: bias, repetition penalty (Keskar et al. 2019, arXiv 1909.05858), frequency and presence penalty (as OpenAI's
// API defines them), temperature, top-k, top-p (Holtzman et al. 2020, arXiv 1904.09751), min-p (arXiv 2407.01082), then one
// draw. At temperature 0 it takes the largest logit, and of equal ones the lowest id.
// Top-k and top-p are thresholds on the logit, found by radix selection, so equal logits are kept or dropped together.
// Probabilities are 31-bit integers, whose sums do not depend on the order of addition, so a seed gives the same tokens everywhere.
// Log-probabilities are computed from the model's own logits, before mask, bias and penalties.
@group(0) @binding(1) var<storage, read_write> state: State;
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>;        // [0] becomes the sampled id
// A slot: id, 1 if a logit was not finite, its log-probability, how many follow; then id and log-probability of each.
@group(0) @binding(5) var<storage, read_write> ring: array<u32>;

var<workgroup> histogram: array<atomic<u32>, THREADS>;
var<workgroup> chosen: u32;

// Maps floats to integers of the same order.
fn ordered(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// PCG-3D (Jarzynski & Olano 2020, jcgt.org/published/0009/03/02), first component.
fn random(seed_low: u32, seed_high: u32, counter: u32) -> u32 {
    var v = vec3<u32>(seed_low, seed_high, counter) * 1664525u + 1013904223u;
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v ^= v >> vec3<u32>(16u);
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    return v.x;
}

// The upper word of a · b.
fn multiply_high(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u);
    let middle2 = al * bh + (middle & 0xffffu);
    return ah * bh + (middle >> 16u) + (middle2 >> 16u);
}

// Where `goal` lies when the threads' numbers are counted one thread after the other: the thread, and the sum before it. What lies
// beyond all is the last thread's.
fn find(thread: u32, mine: u32, goal: u32) -> vec2<u32> {
    let until = sum_up_to(thread, mine);
    let below = until - mine;
    if (below <= goal && (goal < until || thread == THREADS - 1u)) {
        shared_u = vec2<u32>(thread, below);
    }
    return workgroupUniformLoad(&shared_u);
}

// Writes the chosen token's log-probability and the most probable tokens to the slot.
fn report(thread: u32, at: u32) {
    var part = Part();
    part.raw_id = NONE;
    if (thread * params.slice < params.vocabulary) {
        part = work.parts[thread];
    }
    var mine = vec2<u32>(bitcast<u32>(part.raw), part.raw_id); // the slice's first that is not reported
    var first = leader(thread, part.raw, part.raw_id);
    let maximum = bitcast<f32>(first.x);
    let log_sum = log(sum_of(thread, part.raw_sum * exp(part.raw - maximum)));
    let count = min(options.logprobs - 1u, (params.slot - 4u) / 2u);
    if (thread == 0u) {
        ring[at + 2u] = bitcast<u32>(logits[chosen] - maximum - log_sum);
        ring[at + 3u] = count;
    }
    for (var n = 0u; n < count; n++) {
        if (thread == 0u) {
            ring[at + 4u + 2u * n] = first.y;
            ring[at + 5u + 2u * n] = bitcast<u32>(bitcast<f32>(first.x) - maximum - log_sum);
        }
        let slice = min(first.y, params.vocabulary - 1u) / params.slice;
        let end = min((slice + 1u) * params.slice, params.vocabulary);
        var next = vec2<u32>(0u, NONE);
        for (var i = slice * params.slice + thread; i < end; i += THREADS) {
            let v = vec2<u32>(bitcast<u32>(logits[i]), i);
            if (ahead(first, v) && ahead(v, next)) {
                next = v;
            }
        }
        let follows = leader(thread, bitcast<f32>(next.x), next.y);
        if (thread == slice) {
            mine = follows;
        }
        first = leader(thread, bitcast<f32>(mine.x), mine.y);
    }
}

// The largest key K such that the candidates with keys >= K have masses of at least `wanted` in all; with `counting`, their number
// counts. Only candidates with key >= `floor_key` take part.
fn select_key(thread: u32, wanted: u32, counting: bool, floor_key: u32, all: Whole) -> u32 {
    let count = atomicLoad(&work.count);
    var prefix_key = 0u;
    var remaining = wanted;
    for (var shift = 32u; shift > 0u; shift -= 8u) {
        let s = shift - 8u;
        atomicStore(&histogram[thread], 0u);
        workgroupBarrier();
        for (var i = thread; i < count; i += THREADS) {
            let v = bitcast<f32>(work.candidates[i].y);
            let key = ordered(v);
            let matches = s == 24u || (key >> (s + 8u)) == (prefix_key >> (s + 8u));
            if (matches && key >= floor_key) {
                atomicAdd(&histogram[(key >> s) & 255u], select(mass(v, all.maximum, all.unit), 1u, counting));
            }
        }
        workgroupBarrier();
        let bin = 255u - thread; // from the highest
        let found = find(thread, atomicLoad(&histogram[bin]), remaining - 1u);
        prefix_key |= (255u - found.x) << s;
        remaining -= found.y;
    }
    return prefix_key;
}

// Masses of the candidates with key >= floor_key and logits of at least `least`, by their ids' remainders, as `Work.totals` has them.
fn total_of(thread: u32, floor_key: u32, least: f32, all: Whole) -> u32 {
    let count = atomicLoad(&work.count);
    atomicStore(&histogram[thread], 0u);
    workgroupBarrier();
    for (var i = thread; i < count; i += THREADS) {
        let candidate = work.candidates[i];
        let v = bitcast<f32>(candidate.y);
        if (ordered(v) >= floor_key && v >= least) {
            atomicAdd(&histogram[candidate.x % THREADS], mass(v, all.maximum, all.unit));
        }
    }
    workgroupBarrier();
    return atomicLoad(&histogram[thread]);
}

// Draws from what is left.
fn draw(thread: u32, all: Whole) {
    var floor_key = 0u;
    let least = least_of(all.maximum);
    var total = 0u;
    if (filtered()) {
        if (options.top_k > 0u && options.top_k < params.vocabulary) {
            floor_key = select_key(thread, options.top_k, true, 0u, all);
        }
        if (options.top_p < 1.0) {
            sum_up_to(thread, total_of(thread, floor_key, -3.4e38, all));
            let kept = workgroupUniformLoad(&prefix[THREADS - 1u]);
            let wanted = max(1u, u32(options.top_p * f32(kept)));
            floor_key = max(floor_key, select_key(thread, wanted, false, floor_key, all));
        }
        total = total_of(thread, floor_key, least, all);
    } else {
        total = atomicLoad(&work.totals[thread]);
    }
    sum_up_to(thread, total);
    let kept = workgroupUniformLoad(&prefix[THREADS - 1u]);
    let goal = multiply_high(random(options.seed_low, options.seed_high, state.draws), kept);
    // Tokens are counted by remainders of their ids, then in order; the threads share those of the remainder that is met.
    let owner = find(thread, total, goal);
    let share = (params.vocabulary + THREADS * THREADS - 1u) / (THREADS * THREADS) * THREADS;
    let first = owner.x + thread * share;
    let end = min(first + share, params.vocabulary);
    var mine = 0u;
    for (var i = first; i < end; i += THREADS) {
        mine += kept_mass(i, floor_key, least, all);
    }
    let found = find(thread, mine, goal - owner.y);
    if (thread == found.x) {
        var below = owner.y + found.y;
        for (var i = first; i < end; i += THREADS) {
            below += kept_mass(i, floor_key, least, all);
            if (below > goal) {
                chosen = i;
                break;
            }
        }
    }
    workgroupBarrier();
}

// The mass of token i, 0 where it is left out.
fn kept_mass(i: u32, floor_key: u32, least: f32, all: Whole) -> u32 {
    let v = adjusted(i);
    if (ordered(v) >= floor_key && v >= least && allowed(i)) {
        return mass(v, all.maximum, all.unit);
    }
    return 0u;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32) {
    let all = whole(thread);
    if (thread == 0u) {
        chosen = min(all.id, params.vocabulary - 1u);
    }
    workgroupBarrier();
    if (options.temperature > 0.0 && !all.bad) {
        draw(thread, all);
    }
    let at = (state.ring % params.ring) * params.slot;
    if (options.logprobs > 0u && !all.bad) {
        report(thread, at);
    }
    workgroupBarrier(); // every thread has read the state
    if (thread == 0u) {
        tokens[0] = chosen;
        ring[at] = chosen;
        ring[at + 1u] = u32(all.bad);
        if (options.adjust != 0u) {
            history[chosen].times += 1u;
        }
        state.position += state.count;
        state.count = 1u;
        state.draws += 1u;
        state.ring += 1u;
    }
}
