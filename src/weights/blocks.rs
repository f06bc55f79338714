//! Quantised blocks in safetensors files, a format without a dtype for them: `minke pack` writes a tensor
//! `name[…, k]` as the bytes `name.Q4_0[…, k / 32, 18]` or `name.Q8_0[…, k / 32, 34]`, each block as GGUF has it.

use std::collections::BTreeMap;

use super::dtype::Dtype;
use super::entry::TensorEntry;
use crate::{Error, FormatKind, Result};

/// The name under which a tensor's quantised blocks are stored.
pub fn block_name(name: &str, dtype: Dtype) -> String {
    format!("{name}.{}", dtype.name())
}

/// The shape, in bytes, of a tensor's quantised blocks.
pub fn block_shape(shape: &[u64], dtype: Dtype) -> Vec<u64> {
    let (weights, bytes) = dtype.block();
    let (k, rows) = shape.split_last().expect("a matrix has rows");
    [rows, &[k / weights, bytes]].concat()
}

/// The original name and the format of a tensor that is stored as quantised blocks.
fn blocks(entry: &TensorEntry) -> Option<(&str, Dtype)> {
    let (name, format) = entry.name.rsplit_once('.')?;
    let dtype = [Dtype::Q4_0, Dtype::Q8_0].into_iter().find(|dtype| dtype.name() == format)?;
    let bytes = entry.dtype == Dtype::U8 && entry.shape.len() >= 2 && entry.shape.last() == Some(&dtype.block().1);
    (bytes && !name.is_empty()).then_some((name, dtype))
}

/// Replaces entries of quantised blocks with entries under the tensor's own name, format and shape.
pub(super) fn typed(file: &str, tensors: BTreeMap<String, TensorEntry>) -> Result<BTreeMap<String, TensorEntry>> {
    let mut out = BTreeMap::new();
    for (stored, mut entry) in tensors {
        if let Some((name, dtype)) = blocks(&entry) {
            let (name, groups) = (name.to_owned(), entry.shape[entry.shape.len() - 2]);
            let Some(k) = groups.checked_mul(dtype.block().0) else {
                let message = format!("tensor {stored:?}: shape {:?}", entry.shape);
                return Err(Error::format(FormatKind::Overflow, file, message));
            };
            entry.shape.truncate(entry.shape.len() - 2);
            entry.shape.push(k);
            (entry.name, entry.dtype) = (name, dtype);
        }
        let name = entry.name.clone();
        if out.insert(name.clone(), entry).is_some() {
            let message = format!("tensor {name:?} is stored twice, once as quantised blocks");
            return Err(Error::format(FormatKind::DuplicateTensor, file, message));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::safetensors::parse_header;

    #[test]
    fn blocks_are_recognised_by_name_and_shape() {
        let read = |header: &str, bytes: u64| parse_header("f", header.as_bytes(), 8 + header.len() as u64 + bytes, 0);
        let header = r#"{"a.weight.Q4_0":{"dtype":"U8","shape":[2,3,18],"data_offsets":[0,108]},
            "b.Q8_0":{"dtype":"U8","shape":[4,17],"data_offsets":[108,176]}}"#;
        let tensors = read(header, 176).expect("a header");
        let a = &tensors["a.weight"];
        assert_eq!((a.name.as_str(), a.dtype, a.shape.as_slice()), ("a.weight", Dtype::Q4_0, [2, 96].as_slice()));
        assert_eq!((a.row_bytes().unwrap(), a.bytes()), (54, 108));
        assert_eq!(tensors["b.Q8_0"].dtype, Dtype::U8, "no blocks: 17 bytes");
        assert_eq!(block_shape(&a.shape, a.dtype), [2, 3, 18]);
        assert_eq!(block_name("a.weight", Dtype::Q4_0), "a.weight.Q4_0");
        let twice = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
            "a.Q8_0":{"dtype":"U8","shape":[1,34],"data_offsets":[1,35]}}"#;
        assert!(matches!(read(twice, 35), Err(Error::Format { kind: FormatKind::DuplicateTensor, .. })));
        let large = r#"{"a.Q8_0":{"dtype":"U8","shape":[0,1152921504606846976,34],"data_offsets":[0,0]}}"#;
        assert!(matches!(read(large, 0), Err(Error::Format { kind: FormatKind::Overflow, .. })));
    }
}
