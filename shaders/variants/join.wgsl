// As lib/join.wgsl, by subgroups of any size: each joins its own threads, by halves, and what several of them share goes through the
// workgroup's memory, one barrier in place of log2(LANES). It takes the threads of a subgroup to be neighbours in the
// workgroup, which WGSL does not promise: where they are not, the start-up self-test finds wrong sums.
var<workgroup> joined_sums: array<vec4<f32>, 64>;
var<workgroup> joined_squares: array<f32, 64>;

fn joined(share: Share, thread: u32) -> Share {
    let size = max(subgroupAdd(1u), 1u); // of the 64 threads, those of this one's subgroup
    var sums = share.sums;
    var square = share.square;
    for (var reach = min(LANES, size) / 2u; reach > 0u; reach /= 2u) {
        sums += subgroupShuffleXor(sums, reach);
        if (NORM) {
            square += subgroupShuffleXor(square, reach);
        }
    }
    joined_sums[thread] = sums;
    if (NORM) {
        joined_squares[thread] = square;
    }
    workgroupBarrier();
    if (thread % LANES == 0u) {
        for (var i = size; i < LANES; i += size) {
            sums += joined_sums[thread + i];
            if (NORM) {
                square += joined_squares[thread + i];
            }
        }
    }
    return Share(sums, square);
}
