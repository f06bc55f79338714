// Sorts a chunk's entries by expert and cuts them into tiles of at most 16 that share one: the first step of a grouped
// product, in one workgroup. A thread counts and places the entries of its slots, so the order is always the same.
struct Params {
    slots: u32,       // at most 1024
    entries: u32,     // of a token
    routing_at: u32,  // where they begin
    tiles: u32,       // at most
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(8) var<storage, read> router: array<u32>;         // from routing_at on [T, entries] pairs of slot and weight
@group(0) @binding(9) var<storage, read_write> sorted: array<u32>;   // [tiles] slot, first, count; [T · entries] the order

var<workgroup> counts: array<u32, 1024>;
var<workgroup> places: array<u32, 1024>;       // where a slot's next entry goes
var<workgroup> slots: array<vec4<u32>, 256>;   // of 1,024 entries, which every thread looks through

fn slot_of(entry: u32, n: u32) -> u32 {
    return select(0xffffffffu, router[params.routing_at + 2u * min(entry, n - 1u)], entry < n);
}

// The slots of the entries from `first` on. In uniform control flow.
fn look_at(first: u32, n: u32, thread: u32) {
    let i = first + 4u * thread;
    workgroupBarrier();
    slots[thread] = vec4<u32>(slot_of(i, n), slot_of(i + 1u, n), slot_of(i + 2u, n), slot_of(i + 3u, n));
    workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    let n = state.count * params.entries;
    for (var s = thread; s < params.slots; s += 256u) {
        counts[s] = 0u;
    }
    for (var first = 0u; first < n; first += 1024u) {
        look_at(first, n, thread);
        for (var s = thread; s < params.slots; s += 256u) {
            var found = vec4<u32>();
            for (var i = 0u; i < min(256u, (n - first + 3u) / 4u); i++) {
                found += vec4<u32>(slots[i] == vec4<u32>(s));
            }
            counts[s] += found.x + found.y + found.z + found.w;
        }
    }
    workgroupBarrier();
    let order = 3u * params.tiles;
    for (var s = thread; s < params.slots; s += 256u) {
        var first = 0u;
        var tile = 0u;
        for (var r = 0u; r < s; r++) {
            first += counts[r];
            tile += (counts[r] + 15u) / 16u;
        }
        places[s] = order + first;
        for (var left = counts[s]; left > 0u; left -= min(left, 16u)) {
            sorted[3u * tile] = s;
            sorted[3u * tile + 1u] = first + counts[s] - left;
            sorted[3u * tile + 2u] = min(left, 16u);
            tile++;
        }
    }
    for (var first = 0u; first < n; first += 1024u) {
        look_at(first, n, thread);
        for (var s = thread; s < params.slots; s += 256u) {
            var at = places[s];
            for (var i = 0u; i < min(256u, (n - first + 3u) / 4u); i++) {
                let is = slots[i] == vec4<u32>(s);
                if (any(is)) {
                    let entry = first + 4u * i;
                    if (is.x) { sorted[at] = entry; at++; }
                    if (is.y) { sorted[at] = entry + 1u; at++; }
                    if (is.z) { sorted[at] = entry + 2u; at++; }
                    if (is.w) { sorted[at] = entry + 3u; at++; }
                }
            }
            places[s] = at;
        }
    }
    // The remaining tiles are empty.
    var all = 0u;
    for (var s = 0u; s < params.slots; s++) {
        all += (counts[s] + 15u) / 16u;
    }
    for (var tile = all + thread; tile < params.tiles; tile += 256u) {
        sorted[3u * tile + 2u] = 0u;
    }
}
