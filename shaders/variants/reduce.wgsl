// Reduces the shares of LANES neighbouring threads as lib/reduce.wgsl does, by subgroups of any size: each reduces its own
// threads, and what several subgroups share goes through the workgroup's memory, with one barrier in place of log2(LANES). It
// takes the threads of a subgroup to be neighbours in the workgroup, which WGSL does not promise: where they are not, the
// start-up self-test finds wrong sums.
var<workgroup> reduced_sums: array<vec4<f32>, 64>;
var<workgroup> reduced_squares: array<f32, 64>;

fn reduced(share: Share, thread: u32) -> Share {
    let size = max(subgroupAdd(1u), 1u); // of the 64 threads, those of this one's subgroup
    var sums = share.sums;
    var square = share.square;
    for (var reach = min(LANES, size) / 2u; reach > 0u; reach /= 2u) {
        sums += subgroupShuffleXor(sums, reach);
        if (NORM) {
            square += subgroupShuffleXor(square, reach);
        }
    }
    reduced_sums[thread] = sums;
    if (NORM) {
        reduced_squares[thread] = square;
    }
    workgroupBarrier();
    if (thread % LANES == 0u) {
        for (var i = size; i < LANES; i += size) {
            sums += reduced_sums[thread + i];
            if (NORM) {
                square += reduced_squares[thread + i];
            }
        }
    }
    return Share(sums, square);
}
