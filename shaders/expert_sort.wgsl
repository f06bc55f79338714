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

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    let n = state.count * params.entries;
    for (var s = thread; s < params.slots; s += 256u) {
        var count = 0u;
        for (var i = 0u; i < n; i++) {
            count += u32(router[params.routing_at + 2u * i] == s);
        }
        counts[s] = count;
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
        var at = order + first;
        for (var i = 0u; i < n; i++) {
            if (router[params.routing_at + 2u * i] == s) {
                sorted[at] = i;
                at++;
            }
        }
        for (var left = counts[s]; left > 0u; left -= min(left, 16u)) {
            sorted[3u * tile] = s;
            sorted[3u * tile + 1u] = first + counts[s] - left;
            sorted[3u * tile + 2u] = min(left, 16u);
            tile++;
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
