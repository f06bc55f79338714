// Y[t] = f(W · X[t] + bias) for the step's tokens, as matmul.wgsl does it, for software adapters. Four threads, which such an
// adapter runs as one, make 64 rows for 32 tokens, eight each. A thread holds a group of its tokens' inputs while it goes through
// the rows, so that a weight is unpacked once for the 32 tokens. The loop over rows fits the CPU's cache of decoded instructions.
struct Params {
    groups: u32,     // groups of 32 in a row
    rows: u32,       // rows of W in this part
    row_offset: u32, // this part's first row in the whole matrix
    x_stride: u32,   // vec4 elements from one row of X to the next
    y_stride: u32,   // f32 elements from one row of Y to the next
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: State;
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;

const ROWS = 64u;
const THREADS = 4u;
const TOKENS = 8u; // a thread's

fn held(t: u32, g: u32) -> Held {
    let at = min(t, state.count - 1u) * params.x_stride + g * 8u;
    return in_units(array(x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = workgroup.y * THREADS * TOKENS + thread; // the thread's first; the next is THREADS on
    if (token - thread >= state.count) {
        return;
    }
    let first = workgroup.x * ROWS;
    let rows = min(ROWS, params.rows - first);
    var sums: array<f32, ROWS * TOKENS>;
    for (var g = 0u; g < params.groups; g++) {
        let x0 = held(token, g);
        let x1 = held(token + THREADS, g);
        let x2 = held(token + 2u * THREADS, g);
        let x3 = held(token + 3u * THREADS, g);
        let x4 = held(token + 4u * THREADS, g);
        let x5 = held(token + 5u * THREADS, g);
        let x6 = held(token + 6u * THREADS, g);
        let x7 = held(token + 7u * THREADS, g);
        for (var r = 0u; r < rows; r++) {
            let b = own_block(first + r, g);
            let i = r * TOKENS;
            sums[i] += product(b, x0);
            sums[i + 1u] += product(b, x1);
            sums[i + 2u] += product(b, x2);
            sums[i + 3u] += product(b, x3);
            sums[i + 4u] += product(b, x4);
            sums[i + 5u] += product(b, x5);
            sums[i + 6u] += product(b, x6);
            sums[i + 7u] += product(b, x7);
        }
    }
    for (var i = 0u; i < TOKENS && token + i * THREADS < state.count; i++) {
        for (var r = 0u; r < rows; r += 4u) {
            let four = vec4<f32>(sums[r * TOKENS + i], sums[(r + 1u) * TOKENS + i], sums[(r + 2u) * TOKENS + i], sums[(r + 3u) * TOKENS + i]);
            finish((token + i * THREADS) * params.y_stride, first + r, four);
        }
    }
}
