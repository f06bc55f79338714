// Chooses each token's experts, a workgroup per token, and writes their slots and weights, from the router's logits.
//   scores: softmax or sigmoid of the logits; the choice may add a correction (DeepSeek-V3, arXiv 2412.19437) and be limited
//   to the best groups of experts (DeepSeek-V2, arXiv 2405.04434); the weights are the scores, made to sum to one if
//   RENORMALIZE, times a factor. Between equal scores the lower expert is taken.
override SIGMOID: bool = false;
override RENORMALIZE: bool = false;
override CORRECTED: bool = false;
override TOP_TWO: bool = false;     // a group's score is the sum of its best two; otherwise its best
override SHARED_GATE: bool = false; // the shared expert's weight is sigmoid(logit after the experts'), otherwise 1
const MAX_EXPERTS: u32 = 512u;
const MAX_TOP_K: u32 = 64u;

struct Entry {
    slot: u32,
    weight: f32,
}
struct Params {
    experts: u32,       // at most 512
    top_k: u32,         // at most 64
    expert_groups: u32, // 1: no groups
    kept_groups: u32,   // groups that take part
    shared_slot: u32,   // of the first part of the shared expert
    routing_at: u32,    // where the entries begin
    entries: u32,       // of a token: top_k and the shared ones
    factor: f32,
    stride: u32,        // f32 elements from one row of logits to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// Logits [T, …] as f32; from routing_at on [T, entries] pairs of slot and weight.
@group(0) @binding(8) var<storage, read_write> router: array<u32>;
@group(0) @binding(9) var<storage, read> table: array<u32>;  // [experts] corrections as f32, [experts] slots

var<workgroup> score: array<f32, MAX_EXPERTS>;
var<workgroup> choice: array<f32, MAX_EXPERTS>;
var<workgroup> chosen: array<u32, MAX_TOP_K>;
var<workgroup> lane_value: array<f32, 64>;

fn logit(i: u32) -> f32 {
    return bitcast<f32>(router[i]);
}

fn sigmoid(v: f32) -> f32 {
    return 1.0 / (1.0 + exp(-v));
}

// A group's score, from the choice.
fn group_score(group: u32) -> f32 {
    let size = params.experts / params.expert_groups;
    var first = -3.0e38;
    var second = -3.0e38;
    for (var i = group * size; i < (group + 1u) * size; i++) {
        let v = choice[i];
        second = max(second, min(v, first));
        first = max(first, v);
    }
    return select(first, first + second, TOP_TWO);
}

// Fills `score` and `chosen` from the logits that begin at `base`. In uniform control flow.
fn choose(base: u32, thread: u32) {
    if (!SIGMOID) {
        var maximum = -3.0e38;
        for (var e = thread; e < params.experts; e += 64u) {
            maximum = max(maximum, logit(base + e));
        }
        lane_value[thread] = maximum;
        for (var reach = 32u; reach > 0u; reach /= 2u) {
            workgroupBarrier();
            if (thread < reach) {
                lane_value[thread] = max(lane_value[thread], lane_value[thread + reach]);
            }
        }
        workgroupBarrier();
        maximum = lane_value[0];
        workgroupBarrier();
        var sum = 0.0;
        for (var e = thread; e < params.experts; e += 64u) {
            score[e] = exp(logit(base + e) - maximum);
            sum += score[e];
        }
        lane_value[thread] = sum;
        for (var reach = 32u; reach > 0u; reach /= 2u) {
            workgroupBarrier();
            if (thread < reach) {
                lane_value[thread] += lane_value[thread + reach];
            }
        }
        workgroupBarrier();
        sum = lane_value[0];
        for (var e = thread; e < params.experts; e += 64u) {
            score[e] /= sum;
        }
    } else {
        for (var e = thread; e < params.experts; e += 64u) {
            score[e] = sigmoid(logit(base + e));
        }
    }
    for (var e = thread; e < params.experts; e += 64u) {
        choice[e] = score[e];
        if (CORRECTED) {
            choice[e] += bitcast<f32>(table[e]);
        }
    }
    workgroupBarrier();
    if (params.expert_groups > 1u) {
        // There are at most 64 groups, a thread for each.
        let mine = select(-3.0e38, group_score(min(thread, params.expert_groups - 1u)), thread < params.expert_groups);
        lane_value[thread] = mine;
        workgroupBarrier();
        var better = 0u;
        for (var g = 0u; g < params.expert_groups; g++) {
            better += u32(lane_value[g] > mine || (lane_value[g] == mine && g < thread));
        }
        if (thread < params.expert_groups && better >= params.kept_groups) {
            let size = params.experts / params.expert_groups;
            for (var i = thread * size; i < (thread + 1u) * size; i++) {
                choice[i] = -3.1e38;
            }
        }
        workgroupBarrier();
    }
    // The place of an expert is the number of better ones, which needs no rounds with barriers between them.
    for (var e = thread; e < params.experts; e += 64u) {
        let mine = choice[e];
        var better = 0u;
        for (var i = 0u; i < params.experts; i++) {
            better += u32(choice[i] > mine || (choice[i] == mine && i < e));
        }
        if (better < params.top_k) {
            chosen[better] = e;
        }
    }
    workgroupBarrier();
}

// Entry j of the token whose logits begin at `base`: the chosen experts, then the parts of the shared expert.
fn entry_of(base: u32, j: u32) -> Entry {
    if (j >= params.top_k) {
        let weight = select(1.0, sigmoid(logit(base + params.experts)), SHARED_GATE);
        return Entry(params.shared_slot + j - params.top_k, weight);
    }
    let expert = min(chosen[j], params.experts - 1u);
    var factor = params.factor;
    if (RENORMALIZE) {
        var total = 0.0;
        for (var k = 0u; k < params.top_k; k++) {
            total += score[min(chosen[k], params.experts - 1u)];
        }
        factor /= total + 1e-20;
    }
    return Entry(table[params.experts + expert], score[expert] * factor);
}

fn put_entry(token: u32, j: u32, entry: Entry) {
    let at = params.routing_at + (token * params.entries + j) * 2u;
    router[at] = entry.slot;
    router[at + 1u] = bitcast<u32>(entry.weight);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.x;
    if (t >= state.count) {
        return;
    }
    choose(t * params.stride, thread);
    for (var j = thread; j < params.entries; j += 64u) {
        put_entry(t, j, entry_of(t * params.stride, j));
    }
}
