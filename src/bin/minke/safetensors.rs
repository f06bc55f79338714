//! Writes the header of a quantised pack's safetensors file.

use minke::weights::Dtype;
use minke::weights::blocks::{block_name, block_shape};
use serde_json::{Map, Value, json};

use super::plan::Packed;

/// The length field and JSON header. Quantised blocks are stored as bytes under a name that contains their format, so
/// that every safetensors reader can open the file.
pub fn header(tensors: &[Packed<'_>]) -> Vec<u8> {
    let about = "names that end in .Q4_0 or .Q8_0 hold blocks of 32 weights, as GGUF has them";
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt", "minke": about }));
    let mut start = 0;
    for tensor in tensors {
        let offsets = [start, start + tensor.bytes];
        start = offsets[1];
        let (name, dtype, shape) = match tensor.dtype {
            dtype @ (Dtype::Q4_0 | Dtype::Q8_0) => {
                (block_name(&tensor.name, dtype), "U8", block_shape(&tensor.shape, dtype))
            }
            dtype => (tensor.name.clone(), dtype.name(), tensor.shape.clone()),
        };
        header.insert(name, json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text].concat()
}
