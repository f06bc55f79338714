// Layouts whose codes are whole numbers of at most seven bits and a sign, from the block that they present.
fn bytes_of_codes(q: vec4<f32>) -> u32 {
    return pack4xI8(vec4<i32>(q));
}

fn packed_block(row: u32, group: u32) -> Packed {
    let b = weight_block(row, group);
    return Packed(vec4<u32>(bytes_of_codes(b.q0), bytes_of_codes(b.q1), bytes_of_codes(b.q2), bytes_of_codes(b.q3)),
                  vec4<u32>(bytes_of_codes(b.q4), bytes_of_codes(b.q5), bytes_of_codes(b.q6), bytes_of_codes(b.q7)),
                  b.scale, b.minimum);
}
