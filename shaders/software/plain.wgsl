// A layout without a form of its own for software adapters: its weights as lib/ presents them.
const LOW = vec4<f32>(1.0); // units of the first 16 codes
const HIGH = vec4<f32>(1.0); // units of the last 16

fn own_block(row: u32, group: u32) -> Block {
    return weight_block(row, group);
}
