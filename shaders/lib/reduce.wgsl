// Reduces the shares of LANES neighbouring threads (lib/share.wgsl) in the workgroup's memory, halving the threads each round: the
// first of them has the sum. All 64 threads of a workgroup call `reduced` together. shaders/variants/reduce.wgsl does it by subgroups.
var<workgroup> reduced_sums: array<vec4<f32>, 64>;
var<workgroup> reduced_squares: array<f32, 64>;

fn reduced(share: Share, thread: u32) -> Share {
    let lane = thread % LANES;
    reduced_sums[thread] = share.sums;
    if (NORM) {
        reduced_squares[thread] = share.square;
    }
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (lane < reach) {
            reduced_sums[thread] += reduced_sums[thread + reach];
            if (NORM) {
                reduced_squares[thread] += reduced_squares[thread + reach];
            }
        }
    }
    return Share(reduced_sums[thread], reduced_squares[thread]);
}
