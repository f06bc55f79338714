// Layouts whose codes fit in signed bytes, and whose groups have one scale, from the block that they present.
fn packed_block(row: u32, group: u32) -> Packed {
    let b = weight_block(row, group);
    return Packed(vec4<u32>(b.q0, b.q1, b.q2, b.q3), vec4<u32>(b.q4, b.q5, b.q6, b.q7), b.scales.x, b.minimums.x);
}
