// A head's values from the latents it attended to: W_uv · latent, a matrix for each head (arXiv 2405.04434).
struct Params {
    groups: u32,      // groups of 32 in a row of W: of the latent
    rank: u32,        // values of the latent, a multiple of 4
    value_dim: u32,   // values of a head
    nope: u32,        // rows of a head in W before those of W_uv
    head_rows: u32,   // rows of W for each head
    first_head: u32,  // heads before this part of W
    x_stride: u32,    // f32 elements from one row of x to the next
    y_stride: u32,    // the same of y
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
// 2, 3: W, in the layout's file; 4: x, [T, x_stride]: heads of `rank` values
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // [T, y_stride]: heads of value_dim

var<workgroup> sums: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let t = workgroup.z;
    if (t >= state.count) {
        return;
    }
    let head = params.first_head + workgroup.y;
    let lane = thread % LANES;
    let row = (workgroup.x * (64u / LANES) + thread / LANES) * 4u;
    let inside = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.value_dim - 1u));
    let rows = workgroup.y * params.head_rows + params.nope + inside;
    sums[thread] = share_of(rows, (t * params.x_stride + head * params.rank) / 4u, lane).sums;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (lane < reach) {
            sums[thread] += sums[thread + reach];
        }
    }
    if (lane != 0u || row >= params.value_dim) {
        return;
    }
    let v = sums[thread];
    let out = t * params.y_stride + head * params.value_dim + row;
    let left = params.value_dim - row;
    y[out] = v.x;
    if (left > 1u) { y[out + 1u] = v.y; }
    if (left > 2u) { y[out + 2u] = v.z; }
    if (left > 3u) { y[out + 3u] = v.w; }
}
