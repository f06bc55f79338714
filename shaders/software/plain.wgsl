// Any layout as it is.
const LOW = vec4<f32>(1.0); // units of the first 16 codes
const HIGH = vec4<f32>(1.0); // and of the others

fn own_block(row: u32, group: u32) -> Block {
    return weight_block(row, group);
}
