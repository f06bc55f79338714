// Writes published rows as rows of numbers: f16 and bf16 as they are, everything else as f32. It can interleave rows and turn
// columns into rows, so that they need not pass through the host. A thread makes two groups of 32, padding included.
override HALVES: bool = false;

@group(0) @binding(2) var<storage, read_write> codes: array<u32>; // [rows, groups, 32] words, or 16

// The 16 bits of weight i of a row in `weights`; 0 past its end.
fn half_of(row: u32, i: u32) -> u32 {
    if (i >= job.k) {
        return 0u;
    }
    let at = job.base + row * job.row_stride + i * job.stride;
    return (weights[at / 2u] >> (16u * (at & 1u))) & 0xffffu;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let groups = (job.k + 31u) / 32u;
    let pairs = (groups + 1u) / 2u;
    for (var item = id.x; item < job.rows * pairs; item += grid.x * 64u) {
        let at = place(item, pairs);
        let first = 64u * at.y;
        let count = min(64u, 32u * groups - first);
        let out = ((job.first_row + at.x * job.row_step) * params.groups + job.first_group) * 32u + first;
        if (HALVES) {
            for (var i = 0u; i < count; i += 2u) {
                codes[(out + i) / 2u] = half_of(at.x, first + i) | (half_of(at.x, first + i + 1u) << 16u);
            }
        } else {
            for (var i = 0u; i < count; i++) {
                codes[out + i] = bits_of(at.x, first + i);
            }
        }
    }
}
