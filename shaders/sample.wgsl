// Chooses the next token from the logits and writes it where the next step reads its input, so that steps can be queued.
// A constraint's mask leaves tokens out before anything else. What remains follows the order of transformers' logits
// processors: bias, repetition penalty (Keskar et al. 2019, arXiv 1909.05858), frequency and presence penalty (as OpenAI's
// API defines them), temperature, top-k, top-p (Holtzman et al. 2020, arXiv 1904.09751), min-p (arXiv 2407.01082), then one
// draw. At temperature 0 it takes the largest logit, and of equal ones the lowest id.
// Top-k and top-p are thresholds on the logit, found by radix selection, so equal logits are kept or dropped together.
// Probabilities are 31-bit integers, whose sums do not depend on the order of addition, so a seed gives the same tokens everywhere.
// Log-probabilities are computed from the model's own logits, before mask, bias and penalties.
const THREADS: u32 = 256u;
const NONE: u32 = 0xffffffffu;

struct Params {
    vocabulary: u32, // logits
    ring: u32,       // slots of the ring
    slot: u32,       // words of a slot
}
struct Options {
    temperature: f32,        // 0: greedy
    top_p: f32,              // 1: off
    min_p: f32,              // 0: off
    top_k: u32,              // 0: off
    seed_low: u32,
    seed_high: u32,
    adjust: u32,             // 1: the history is used and updated, since bias or a penalty is on
    logprobs: u32,           // 0: none; 1 + n: of the chosen token and the n most probable
    repetition: f32,         // multiplies negative logits of tokens that occurred, prompt included; 1: off
    repetition_inverse: f32, // 1 / repetition: multiplies positive logits of these tokens
    presence: f32,           // subtracted from logits of generated tokens once; 0: off
    frequency: f32,          // subtracted for each time that a token was generated; 0: off
    masked: u32,             // 1: only tokens whose bit in the mask is set take part; at least one is
}
// What is known about a token.
struct History {
    times: u32, // how often it was generated; the top bit: it is in the prompt
    bias: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: State;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [vocabulary]
@group(0) @binding(3) var<storage, read> options: Options;
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>;        // [0] becomes the sampled id
// A slot: id, 1 if a logit was not finite, its log-probability, how many follow; then id and log-probability of each.
@group(0) @binding(5) var<storage, read_write> ring: array<u32>;
@group(0) @binding(6) var<storage, read_write> history: array<History>;   // [vocabulary]
@group(0) @binding(7) var<storage, read> mask: array<u32>;                // [vocabulary / 32]: a bit for each token

var<workgroup> best: array<f32, THREADS>;
var<workgroup> best_id: array<u32, THREADS>;
var<workgroup> bad: atomic<u32>;
var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> totals: array<u32, THREADS>;
var<workgroup> shared_f: f32;
var<workgroup> shared_u: vec2<u32>;
var<workgroup> chosen: u32;

// Maps floats to integers of the same order.
fn ordered(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// Not NaN and not infinite, without relying on NaN comparisons that compilers may fold.
fn is_finite(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u;
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

// Whether token i takes part.
fn allowed(i: u32) -> bool {
    return options.masked == 0u || extractBits(mask[i / 32u], i % 32u, 1u) == 1u;
}

// The logit of token i after bias and penalties.
fn adjusted(i: u32) -> f32 {
    var v = logits[i];
    if (options.adjust == 0u) {
        return v;
    }
    let known = history[i];
    v += known.bias;
    if (known.times != 0u) {
        v *= select(options.repetition, options.repetition_inverse, v > 0.0);
        let generated = known.times & 0x7fffffffu;
        v -= f32(generated) * options.frequency + select(0.0, options.presence, generated > 0u);
    }
    return clamp(v, -3.4e38, 3.4e38);
}

// Leaves the largest finite logit and the lowest id that has it in best[0] and best_id[0]; NONE where there is none.
// With `raw` it looks at the model's own logits, and only at those after (`last`, `last_id`) in that order.
fn largest(thread: u32, raw: bool, last: f32, last_id: u32) {
    var top = 0.0;
    var top_id = NONE;
    for (var i = thread; i < params.vocabulary; i += THREADS) {
        if (!is_finite(logits[i])) {
            atomicStore(&bad, 1u);
            continue;
        }
        var v = 0.0;
        if (raw) {
            v = logits[i];
            if (last_id != NONE && (v > last || (v == last && i <= last_id))) {
                continue;
            }
        } else if (allowed(i)) {
            v = adjusted(i);
        } else {
            continue;
        }
        if (top_id == NONE || v > top) {
            top = v;
            top_id = i;
        }
    }
    workgroupBarrier();
    best[thread] = top;
    best_id[thread] = top_id;
    for (var reach = THREADS / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            let v = best[thread + reach];
            let i = best_id[thread + reach];
            let mine = best_id[thread];
            if (i != NONE && (mine == NONE || v > best[thread] || (v == best[thread] && i < mine))) {
                best[thread] = v;
                best_id[thread] = i;
            }
        }
    }
    workgroupBarrier();
}

// Σ exp((v - maximum) / temperature), in the same order everywhere.
fn sum_exp(thread: u32, raw: bool, maximum: f32, temperature: f32) -> f32 {
    var sum = 0.0;
    for (var i = thread; i < params.vocabulary; i += THREADS) {
        var v = logits[i];
        if (!raw) {
            if (!allowed(i)) {
                continue;
            }
            v = adjusted(i);
        }
        sum += exp((v - maximum) / temperature);
    }
    workgroupBarrier();
    best[thread] = sum;
    for (var reach = THREADS / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            best[thread] += best[thread + reach];
        }
    }
    workgroupBarrier();
    if (thread == 0u) {
        shared_f = best[0];
    }
    return workgroupUniformLoad(&shared_f);
}

// Writes the chosen token's log-probability and the most probable tokens to the slot.
fn report(thread: u32, at: u32) {
    largest(thread, true, 0.0, NONE);
    if (thread == 0u) {
        shared_f = best[0];
    }
    let maximum = workgroupUniformLoad(&shared_f);
    let log_sum = log(sum_exp(thread, true, maximum, 1.0));
    let count = min(options.logprobs - 1u, (params.slot - 4u) / 2u);
    if (thread == 0u) {
        ring[at + 2u] = bitcast<u32>(logits[chosen] - maximum - log_sum);
        ring[at + 3u] = count;
        shared_u = vec2<u32>(0u, NONE);
    }
    for (var n = 0u; n < count; n++) {
        let last = workgroupUniformLoad(&shared_u);
        largest(thread, true, bitcast<f32>(last.x), last.y);
        if (thread == 0u) {
            ring[at + 4u + 2u * n] = best_id[0];
            ring[at + 5u + 2u * n] = bitcast<u32>(best[0] - maximum - log_sum);
            shared_u = vec2<u32>(bitcast<u32>(best[0]), best_id[0]);
        }
    }
}

// The integer probability of logit v, given the maximum, the temperature and 2^31 / Σ exp.
fn mass(v: f32, maximum: f32, unit: f32) -> u32 {
    return u32(exp((v - maximum) / options.temperature) * unit);
}

// The largest key K such that the logits with keys >= K have masses of at least `target` in all; with `counting`, their number counts.
// Only logits with key >= `floor_key` take part.
fn select_key(thread: u32, wanted: u32, counting: bool, floor_key: u32, maximum: f32, unit: f32) -> u32 {
    var prefix = 0u;
    var remaining = wanted;
    for (var shift = 24i; shift >= 0i; shift -= 8i) {
        let s = u32(shift);
        atomicStore(&histogram[thread], 0u);
        workgroupBarrier();
        for (var i = thread; i < params.vocabulary; i += THREADS) {
            let v = adjusted(i);
            let key = ordered(v);
            let matches = s == 24u || (key >> (s + 8u)) == (prefix >> (s + 8u));
            if (matches && key >= floor_key && allowed(i)) {
                atomicAdd(&histogram[(key >> s) & 255u], select(mass(v, maximum, unit), 1u, counting));
            }
        }
        workgroupBarrier();
        if (thread == 0u) {
            var left = remaining;
            var bin = 255i;
            for (; bin > 0i; bin--) {
                let n = atomicLoad(&histogram[bin]);
                if (n >= left) {
                    break;
                }
                left -= n;
            }
            shared_u = vec2<u32>(prefix | (u32(bin) << s), left);
        }
        let found = workgroupUniformLoad(&shared_u);
        prefix = found.x;
        remaining = found.y;
    }
    return prefix;
}

// Σ of the masses of logits with key >= floor_key and probability >= min_p of the largest; per thread in `totals`.
fn sum_masses(thread: u32, floor_key: u32, least: f32, maximum: f32, unit: f32) -> u32 {
    var sum = 0u;
    for (var i = thread; i < params.vocabulary; i += THREADS) {
        let v = adjusted(i);
        if (ordered(v) >= floor_key && v >= least && allowed(i)) {
            sum += mass(v, maximum, unit);
        }
    }
    totals[thread] = sum;
    workgroupBarrier();
    if (thread == 0u) {
        var all = 0u;
        for (var i = 0u; i < THREADS; i++) {
            all += totals[i];
        }
        shared_u = vec2<u32>(all, 0u);
    }
    return workgroupUniformLoad(&shared_u).x;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    if (thread == 0u) {
        atomicStore(&bad, 0u);
    }
    workgroupBarrier();
    largest(thread, false, 0.0, NONE);
    if (thread == 0u) {
        shared_f = best[0];
        chosen = min(best_id[0], params.vocabulary - 1u);
        shared_u = vec2<u32>(atomicLoad(&bad), 0u);
    }
    let maximum = workgroupUniformLoad(&shared_f);
    let not_finite = workgroupUniformLoad(&shared_u).x == 1u;

    if (options.temperature > 0.0 && !not_finite) {
        let sum = sum_exp(thread, false, maximum, options.temperature);
        let unit = 2147483648.0 / sum;

        var floor_key = 0u;
        if (options.top_k > 0u && options.top_k < params.vocabulary) {
            floor_key = select_key(thread, options.top_k, true, 0u, maximum, unit);
        }
        if (options.top_p < 1.0) {
            let kept = sum_masses(thread, floor_key, -3.4e38, maximum, unit);
            let wanted = max(1u, u32(options.top_p * f32(kept)));
            floor_key = max(floor_key, select_key(thread, wanted, false, floor_key, maximum, unit));
        }
        var least = -3.4e38;
        if (options.min_p > 0.0) {
            least = maximum + log(options.min_p) * options.temperature;
        }
        let kept = sum_masses(thread, floor_key, least, maximum, unit);
        if (thread == 0u) {
            let draw = multiply_high(random(options.seed_low, options.seed_high, state.draws), kept);
            var below = 0u;
            var owner = 0u;
            for (; owner < THREADS - 1u; owner++) {
                if (below + totals[owner] > draw) {
                    break;
                }
                below += totals[owner];
            }
            for (var i = owner; i < params.vocabulary; i += THREADS) {
                let v = adjusted(i);
                if (ordered(v) >= floor_key && v >= least && allowed(i)) {
                    let m = mass(v, maximum, unit);
                    if (m > 0u) {
                        below += m;
                        if (below > draw) {
                            chosen = i;
                            break;
                        }
                    }
                }
            }
        }
    }
    let at = (state.ring % params.ring) * params.slot;
    if (options.logprobs > 0u && !not_finite) {
        report(thread, at);
    }
    workgroupBarrier(); // every thread has read the state
    if (thread == 0u) {
        tokens[0] = chosen;
        ring[at] = chosen;
        ring[at + 1u] = u32(not_finite);
        if (options.adjust != 0u) {
            history[chosen].times += 1u;
        }
        state.position += state.count;
        state.count = 1u;
        state.draws += 1u;
        state.ring += 1u;
    }
}
