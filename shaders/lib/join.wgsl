// Joins the shares of LANES neighbouring threads (lib/share.wgsl) by halves in the workgroup's memory: the first of them has
// the sum. All 64 threads of a workgroup call it together. shaders/variants/join.wgsl is the same by subgroups.
var<workgroup> joined_sums: array<vec4<f32>, 64>;
var<workgroup> joined_squares: array<f32, 64>;

fn joined(share: Share, thread: u32) -> Share {
    let lane = thread % LANES;
    joined_sums[thread] = share.sums;
    if (NORM) {
        joined_squares[thread] = share.square;
    }
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (lane < reach) {
            joined_sums[thread] += joined_sums[thread + reach];
            if (NORM) {
                joined_squares[thread] += joined_squares[thread + reach];
            }
        }
    }
    return Share(joined_sums[thread], joined_squares[thread]);
}
