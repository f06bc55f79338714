// Chooses each token's experts from the router's logits, a workgroup per token, and writes their slots and weights.
//   scores: softmax or sigmoid of the logits; the choice may add a correction (DeepSeek-V3, arXiv 2412.19437) and be limited
//   to the best groups of experts (DeepSeek-V2, arXiv 2405.04434); the weights are the scores, made to sum to one if
//   RENORMALIZE, times a factor. Of equal scores the lower expert is taken.
override SIGMOID: bool = false;
override RENORMALIZE: bool = false;
override CORRECTED: bool = false;
override TOP_TWO: bool = false;     // a group's score is the sum of its best two; otherwise its best
override SHARED: u32 = 0u;          // 1: an entry more, of weight 1; 2: of weight sigmoid(logit after the experts')
const MAX_EXPERTS: u32 = 512u;

struct Params {
    experts: u32,  // at most 512
    top_k: u32,
    stride: u32,   // f32 elements from one row of logits to the next
    groups: u32,   // 1: no groups
    kept: u32,     // groups that take part
    entries: u32,  // of a token: top_k and the shared one
    factor: f32,
}
struct Entry {
    slot: u32,
    weight: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(2) var<storage, read> logits: array<f32>;             // [T, stride]
@group(0) @binding(3) var<storage, read> correction: array<f32>;         // [experts], read with CORRECTED only
@group(0) @binding(4) var<storage, read> slots: array<u32>;              // [experts] where each lies
@group(0) @binding(5) var<storage, read_write> routing: array<Entry>;    // [T, entries]

var<workgroup> score: array<f32, MAX_EXPERTS>;
var<workgroup> choice: array<f32, MAX_EXPERTS>;
var<workgroup> best: array<f32, 64>;
var<workgroup> best_at: array<u32, 64>;

fn sigmoid(v: f32) -> f32 {
    return 1.0 / (1.0 + exp(-v));
}

// Joins the threads' best; the result is in best[0] and best_at[0].
fn reduce(thread: u32) {
    for (var reach = 32u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (thread < reach) {
            let v = best[thread + reach];
            let at = best_at[thread + reach];
            if (v > best[thread] || (v == best[thread] && at < best_at[thread])) {
                best[thread] = v;
                best_at[thread] = at;
            }
        }
    }
    workgroupBarrier();
}

// A group's score, from the choice.
fn group_score(group: u32) -> f32 {
    let size = params.experts / params.groups;
    var first = -3.0e38;
    var second = -3.0e38;
    for (var i = group * size; i < (group + 1u) * size; i++) {
        let v = choice[i];
        second = max(second, min(v, first));
        first = max(first, v);
    }
    return select(first, first + second, TOP_TWO);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.x;
    if (t >= state.count) {
        return;
    }
    let base = t * params.stride;
    var maximum = -3.0e38;
    for (var e = thread; e < params.experts; e += 64u) {
        maximum = max(maximum, logits[base + e]);
    }
    best[thread] = maximum;
    best_at[thread] = thread;
    reduce(thread);
    maximum = best[0];
    workgroupBarrier();
    var sum = 0.0;
    for (var e = thread; e < params.experts; e += 64u) {
        let v = logits[base + e];
        if (SIGMOID) {
            score[e] = sigmoid(v);
        } else {
            score[e] = exp(v - maximum);
            sum += score[e];
        }
    }
    if (!SIGMOID) {
        best[thread] = sum;
        for (var reach = 32u; reach > 0u; reach /= 2u) {
            workgroupBarrier();
            if (thread < reach) {
                best[thread] += best[thread + reach];
            }
        }
        workgroupBarrier();
        sum = best[0];
        workgroupBarrier();
    }
    for (var e = thread; e < params.experts; e += 64u) {
        if (!SIGMOID) {
            score[e] /= sum;
        }
        choice[e] = score[e];
        if (CORRECTED) {
            choice[e] += correction[e];
        }
    }
    workgroupBarrier();
    if (params.groups > 1u) {
        // At most 64 groups: a thread each.
        let mine = select(-3.0e38, group_score(min(thread, params.groups - 1u)), thread < params.groups);
        best[thread] = mine;
        workgroupBarrier();
        var before = 0u; // groups that are better
        for (var g = 0u; g < params.groups; g++) {
            if (best[g] > mine || (best[g] == mine && g < thread)) {
                before += 1u;
            }
        }
        if (thread < params.groups && before >= params.kept) {
            let size = params.experts / params.groups;
            for (var i = thread * size; i < (thread + 1u) * size; i++) {
                choice[i] = -3.1e38;
            }
        }
        workgroupBarrier();
    }
    let out = t * params.entries;
    var total = 0.0;
    for (var k = 0u; k < params.top_k; k++) {
        var v = -3.3e38;
        var at = 0xffffffffu;
        for (var e = thread; e < params.experts; e += 64u) {
            if (choice[e] > v) {
                v = choice[e];
                at = e;
            }
        }
        best[thread] = v;
        best_at[thread] = at;
        reduce(thread);
        let expert = min(best_at[0], params.experts - 1u);
        total += score[expert];
        if (thread == 0u) {
            routing[out + k] = Entry(slots[expert], score[expert]);
            choice[expert] = -3.2e38;
        }
        workgroupBarrier();
    }
    if (thread == 0u) {
        var factor = params.factor;
        if (RENORMALIZE) {
            factor /= total + 1e-20;
        }
        for (var k = 0u; k < params.top_k; k++) {
            routing[out + k].weight *= factor;
        }
        if (SHARED == 1u) {
            routing[out + params.top_k] = Entry(0u, 1.0);
        }
        if (SHARED == 2u) {
            routing[out + params.top_k] = Entry(0u, sigmoid(logits[base + params.experts]));
        }
    }
}
