// What the steps of the sampler have in common: sample_scan looks at every logit, a workgroup for each slice of the vocabulary;
// sample_keep, too, takes together those that a draw may give; sample, one workgroup, chooses. The rules are in sample.wgsl.
const THREADS: u32 = 256u;
const NONE: u32 = 0xffffffffu;

struct Params {
    vocabulary: u32, // logits
    slice: u32,      // logits of a workgroup, a multiple of THREADS; there are at most THREADS slices
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
// What sample_scan says of a slice.
struct Part {
    best: f32,    // the largest finite logit of those that take part, adjusted; the first of equal ones
    best_id: u32, // NONE where there is none
    sum: f32,     // Σ exp((v - best) / temperature) over them; not with greedy decoding
    bad: u32,     // 1 if a logit is not finite
    raw: f32,     // the largest of the model's own logits
    raw_id: u32,
    raw_sum: f32, // Σ exp(v - raw); with logprobs only
}
struct Work {
    totals: array<atomic<u32>, THREADS>, // masses of the tokens i with i % THREADS, where neither top-k nor top-p is on
    parts: array<Part, THREADS>,
    count: atomic<u32>,
    candidates: array<vec2<u32>>,        // [count] in any order: an id and its adjusted logit; with top-k or top-p only
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [vocabulary]
@group(0) @binding(3) var<storage, read> options: Options;
@group(0) @binding(6) var<storage, read_write> history: array<History>;   // [vocabulary]
@group(0) @binding(7) var<storage, read> mask: array<u32>;                // [vocabulary / 32]: a bit for each token
@group(0) @binding(8) var<storage, read_write> work: Work;

var<workgroup> best: array<vec2<u32>, THREADS>;
var<workgroup> sums: array<f32, THREADS>;
var<workgroup> prefix: array<u32, THREADS>;
var<workgroup> flag: atomic<u32>;
var<workgroup> shared_f: f32;
var<workgroup> shared_u: vec2<u32>;

// Not NaN and not infinite, without relying on NaN comparisons that compilers may fold.
fn is_finite(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u;
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

// Whether top-k or top-p is on.
fn filtered() -> bool {
    return (options.top_k > 0u && options.top_k < params.vocabulary) || options.top_p < 1.0;
}

// The integer probability of logit v, given the maximum, the temperature and 2^31 / Σ exp.
fn mass(v: f32, maximum: f32, unit: f32) -> u32 {
    return u32(exp((v - maximum) / options.temperature) * unit);
}

// The least logit that min-p keeps.
fn least_of(maximum: f32) -> f32 {
    if (options.min_p > 0.0) {
        return maximum + log(options.min_p) * options.temperature;
    }
    return -3.4e38;
}

// Whether the logit and id of a come before those of b: the largest first, of equal ones the lowest id.
fn ahead(a: vec2<u32>, b: vec2<u32>) -> bool {
    let v = bitcast<f32>(a.x);
    let other = bitcast<f32>(b.x);
    return a.y != NONE && (b.y == NONE || v > other || (v == other && a.y < b.y));
}

// Whether it is so in any thread.
fn any_of(thread: u32, is: bool) -> bool {
    if (thread == 0u) {
        atomicStore(&flag, 0u);
    }
    workgroupBarrier();
    if (is) {
        atomicStore(&flag, 1u);
    }
    workgroupBarrier();
    if (thread == 0u) {
        shared_u = vec2<u32>(atomicLoad(&flag));
    }
    return workgroupUniformLoad(&shared_u).x == 1u;
}

// The first of all threads' logits and ids.
fn leader(thread: u32, v: f32, id: u32) -> vec2<u32> {
    best[thread] = vec2<u32>(bitcast<u32>(v), id);
    for (var reach = THREADS / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            let other = best[thread + reach];
            if (ahead(other, best[thread])) {
                best[thread] = other;
            }
        }
    }
    if (thread == 0u) {
        shared_u = best[0];
    }
    return workgroupUniformLoad(&shared_u);
}

// The sum of all threads' numbers, in the same order everywhere.
fn sum_of(thread: u32, v: f32) -> f32 {
    sums[thread] = v;
    for (var reach = THREADS / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            sums[thread] += sums[thread + reach];
        }
    }
    if (thread == 0u) {
        shared_f = sums[0];
    }
    return workgroupUniformLoad(&shared_f);
}

// The sum of the numbers of the threads up to this one, which `prefix` then has of every thread.
fn sum_up_to(thread: u32, mine: u32) -> u32 {
    var sum = mine;
    prefix[thread] = sum;
    for (var reach = 1u; reach < THREADS; reach *= 2u) {
        workgroupBarrier();
        let before = select(0u, prefix[max(thread, reach) - reach], thread >= reach);
        workgroupBarrier();
        sum += before;
        prefix[thread] = sum;
    }
    workgroupBarrier();
    return sum;
}

// What all slices have: the largest logit, its id, whether a logit is not finite, and 2^31 / Σ exp.
struct Whole {
    maximum: f32,
    id: u32,
    bad: bool,
    unit: f32,
}
fn whole(thread: u32) -> Whole {
    var part = Part();
    part.best_id = NONE;
    if (thread * params.slice < params.vocabulary) {
        part = work.parts[thread];
    }
    let is_bad = any_of(thread, part.bad == 1u);
    let first = leader(thread, part.best, part.best_id);
    let maximum = bitcast<f32>(first.x);
    var unit = 1.0;
    if (options.temperature > 0.0) {
        var sum = 0.0;
        if (part.best_id != NONE) {
            sum = part.sum * exp((part.best - maximum) / options.temperature);
        }
        unit = 2147483648.0 / sum_of(thread, sum);
    }
    return Whole(maximum, first.y, is_bad, unit);
}
