// Y[t] = f(W · X[t] + bias) for the step's tokens, as matmul.wgsl says it and in its tiles, for adapters that are the CPU: a thread
// unpacks four rows for itself and multiplies them with 16 tokens, which all threads read at the same places of workgroup memory.
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

var<workgroup> held: array<vec4<f32>, 128>; // [8, 16 tokens]

// Of four rows each.
struct Sums {
    t0: vec4<f32>, t1: vec4<f32>, t2: vec4<f32>, t3: vec4<f32>, t4: vec4<f32>, t5: vec4<f32>, t6: vec4<f32>, t7: vec4<f32>,
    t8: vec4<f32>, t9: vec4<f32>, t10: vec4<f32>, t11: vec4<f32>, t12: vec4<f32>, t13: vec4<f32>, t14: vec4<f32>, t15: vec4<f32>,
}

// Four weights of four rows.
struct Four {
    r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32>,
}

fn products(x: vec4<f32>, w: Four) -> vec4<f32> {
    return vec4<f32>(dot(x, w.r0), dot(x, w.r1), dot(x, w.r2), dot(x, w.r3));
}

fn numbers(b: Block) -> Block {
    let m = vec4<f32>(b.minimum);
    let low = LOW * b.scale;
    let high = HIGH * b.scale;
    return Block(b.q0 * low + m, b.q1 * low + m, b.q2 * low + m, b.q3 * low + m,
                 b.q4 * high + m, b.q5 * high + m, b.q6 * high + m, b.q7 * high + m, 1.0, 0.0);
}

fn store(t: u32, row: u32, sums: vec4<f32>) {
    if (t < state.count) {
        finish(t * params.y_stride, row, sums);
    }
}

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = workgroup.y * 16u;
    if (first >= state.count) {
        return;
    }
    let row = (workgroup.x * 16u + thread) * 4u;
    let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.rows - 1u));
    var s = Sums();
    for (var g = 0u; g < params.groups; g++) {
        workgroupBarrier();
        for (var i = thread; i < 128u; i += 16u) {
            held[i] = x[min(first + thread, state.count - 1u) * params.x_stride + g * 8u + i / 16u];
        }
        workgroupBarrier();
        let b0 = numbers(own_block(rows.x, g));
        let b1 = numbers(own_block(rows.y, g));
        let b2 = numbers(own_block(rows.z, g));
        let b3 = numbers(own_block(rows.w, g));
        s = more0(s, Four(b0.q0, b1.q0, b2.q0, b3.q0));
        s = more1(s, Four(b0.q1, b1.q1, b2.q1, b3.q1));
        s = more2(s, Four(b0.q2, b1.q2, b2.q2, b3.q2));
        s = more3(s, Four(b0.q3, b1.q3, b2.q3, b3.q3));
        s = more4(s, Four(b0.q4, b1.q4, b2.q4, b3.q4));
        s = more5(s, Four(b0.q5, b1.q5, b2.q5, b3.q5));
        s = more6(s, Four(b0.q6, b1.q6, b2.q6, b3.q6));
        s = more7(s, Four(b0.q7, b1.q7, b2.q7, b3.q7));
    }
    store(first + 0u, row, s.t0);
    store(first + 1u, row, s.t1);
    store(first + 2u, row, s.t2);
    store(first + 3u, row, s.t3);
    store(first + 4u, row, s.t4);
    store(first + 5u, row, s.t5);
    store(first + 6u, row, s.t6);
    store(first + 7u, row, s.t7);
    store(first + 8u, row, s.t8);
    store(first + 9u, row, s.t9);
    store(first + 10u, row, s.t10);
    store(first + 11u, row, s.t11);
    store(first + 12u, row, s.t12);
    store(first + 13u, row, s.t13);
    store(first + 14u, row, s.t14);
    store(first + 15u, row, s.t15);
}

// A constant place is the cheapest to read: one function for each of the eight.
fn more0(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[0], w), s.t1 + products(held[1], w), s.t2 + products(held[2], w),
                s.t3 + products(held[3], w), s.t4 + products(held[4], w), s.t5 + products(held[5], w),
                s.t6 + products(held[6], w), s.t7 + products(held[7], w), s.t8 + products(held[8], w),
                s.t9 + products(held[9], w), s.t10 + products(held[10], w), s.t11 + products(held[11], w),
                s.t12 + products(held[12], w), s.t13 + products(held[13], w), s.t14 + products(held[14], w),
                s.t15 + products(held[15], w));
}
fn more1(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[16], w), s.t1 + products(held[17], w), s.t2 + products(held[18], w),
                s.t3 + products(held[19], w), s.t4 + products(held[20], w), s.t5 + products(held[21], w),
                s.t6 + products(held[22], w), s.t7 + products(held[23], w), s.t8 + products(held[24], w),
                s.t9 + products(held[25], w), s.t10 + products(held[26], w), s.t11 + products(held[27], w),
                s.t12 + products(held[28], w), s.t13 + products(held[29], w), s.t14 + products(held[30], w),
                s.t15 + products(held[31], w));
}
fn more2(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[32], w), s.t1 + products(held[33], w), s.t2 + products(held[34], w),
                s.t3 + products(held[35], w), s.t4 + products(held[36], w), s.t5 + products(held[37], w),
                s.t6 + products(held[38], w), s.t7 + products(held[39], w), s.t8 + products(held[40], w),
                s.t9 + products(held[41], w), s.t10 + products(held[42], w), s.t11 + products(held[43], w),
                s.t12 + products(held[44], w), s.t13 + products(held[45], w), s.t14 + products(held[46], w),
                s.t15 + products(held[47], w));
}
fn more3(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[48], w), s.t1 + products(held[49], w), s.t2 + products(held[50], w),
                s.t3 + products(held[51], w), s.t4 + products(held[52], w), s.t5 + products(held[53], w),
                s.t6 + products(held[54], w), s.t7 + products(held[55], w), s.t8 + products(held[56], w),
                s.t9 + products(held[57], w), s.t10 + products(held[58], w), s.t11 + products(held[59], w),
                s.t12 + products(held[60], w), s.t13 + products(held[61], w), s.t14 + products(held[62], w),
                s.t15 + products(held[63], w));
}
fn more4(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[64], w), s.t1 + products(held[65], w), s.t2 + products(held[66], w),
                s.t3 + products(held[67], w), s.t4 + products(held[68], w), s.t5 + products(held[69], w),
                s.t6 + products(held[70], w), s.t7 + products(held[71], w), s.t8 + products(held[72], w),
                s.t9 + products(held[73], w), s.t10 + products(held[74], w), s.t11 + products(held[75], w),
                s.t12 + products(held[76], w), s.t13 + products(held[77], w), s.t14 + products(held[78], w),
                s.t15 + products(held[79], w));
}
fn more5(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[80], w), s.t1 + products(held[81], w), s.t2 + products(held[82], w),
                s.t3 + products(held[83], w), s.t4 + products(held[84], w), s.t5 + products(held[85], w),
                s.t6 + products(held[86], w), s.t7 + products(held[87], w), s.t8 + products(held[88], w),
                s.t9 + products(held[89], w), s.t10 + products(held[90], w), s.t11 + products(held[91], w),
                s.t12 + products(held[92], w), s.t13 + products(held[93], w), s.t14 + products(held[94], w),
                s.t15 + products(held[95], w));
}
fn more6(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[96], w), s.t1 + products(held[97], w), s.t2 + products(held[98], w),
                s.t3 + products(held[99], w), s.t4 + products(held[100], w), s.t5 + products(held[101], w),
                s.t6 + products(held[102], w), s.t7 + products(held[103], w), s.t8 + products(held[104], w),
                s.t9 + products(held[105], w), s.t10 + products(held[106], w), s.t11 + products(held[107], w),
                s.t12 + products(held[108], w), s.t13 + products(held[109], w), s.t14 + products(held[110], w),
                s.t15 + products(held[111], w));
}
fn more7(s: Sums, w: Four) -> Sums {
    return Sums(s.t0 + products(held[112], w), s.t1 + products(held[113], w), s.t2 + products(held[114], w),
                s.t3 + products(held[115], w), s.t4 + products(held[116], w), s.t5 + products(held[117], w),
                s.t6 + products(held[118], w), s.t7 + products(held[119], w), s.t8 + products(held[120], w),
                s.t9 + products(held[121], w), s.t10 + products(held[122], w), s.t11 + products(held[123], w),
                s.t12 + products(held[124], w), s.t13 + products(held[125], w), s.t14 + products(held[126], w),
                s.t15 + products(held[127], w));
}
