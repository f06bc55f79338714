//! Writes the header of a quantised pack's GGUF file: the source file's metadata, with the new tensors' descriptions.

use minke::model::Quantization;
use minke::weights::GgufMetadata;
use minke::weights::metadata::{GgufArray, GgufValue};

use super::plan::Packed;

/// The offset of each tensor, relative to the data section, and the padded end of the last one.
pub fn places(tensors: &[Packed<'_>], alignment: u64) -> (Vec<u64>, u64) {
    let mut end = 0u64;
    let starts = tensors.iter().map(|tensor| {
        let start = end;
        end = (start + tensor.bytes).next_multiple_of(alignment);
        start
    });
    (starts.collect(), end)
}

/// `general.alignment`, which the reader has checked.
pub fn alignment(metadata: &GgufMetadata) -> u64 {
    match metadata.get("general.alignment") {
        Some(GgufValue::U32(n)) => u64::from(*n),
        _ => 32,
    }
}

/// The metadata of the pack, which is a single quantised file.
pub fn metadata(published: &GgufMetadata, quantization: Quantization) -> GgufMetadata {
    let mut metadata = published.clone();
    metadata.values.retain(|key, _| !key.starts_with("split."));
    // ggml's file types "mostly Q4_0" and "mostly Q8_0", and version 2 of these formats.
    let file_type = if quantization == Quantization::Q4 { 2 } else { 7 };
    metadata.values.insert("general.file_type".into(), GgufValue::U32(file_type));
    metadata.values.insert("general.quantization_version".into(), GgufValue::U32(2));
    metadata
}

/// The file up to the data section, padded.
pub fn header(metadata: &GgufMetadata, tensors: &[Packed<'_>]) -> Vec<u8> {
    let alignment = alignment(metadata);
    let mut out = Vec::new();
    out.extend(b"GGUF");
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.values.len() as u64).to_le_bytes());
    // The architecture comes first.
    let (general, rest): (Vec<_>, Vec<_>) = metadata.values.iter().partition(|(key, _)| key.starts_with("general."));
    for (key, value) in general.into_iter().chain(rest) {
        string(&mut out, key);
        write_value(&mut out, value);
    }
    let (starts, _) = places(tensors, alignment);
    for (tensor, start) in tensors.iter().zip(starts) {
        string(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|dim| out.extend(dim.to_le_bytes()));
        out.extend(tensor.dtype.ggml().expect("the format came from a GGUF file").to_le_bytes());
        out.extend(start.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(alignment as usize), 0);
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn write_value(out: &mut Vec<u8>, value: &GgufValue) {
    macro_rules! number {
        ($type:expr, $v:expr) => {{
            out.extend(u32::to_le_bytes($type));
            out.extend($v.to_le_bytes());
        }};
    }
    match value {
        GgufValue::U8(v) => number!(0, v),
        GgufValue::I8(v) => number!(1, v),
        GgufValue::U16(v) => number!(2, v),
        GgufValue::I16(v) => number!(3, v),
        GgufValue::U32(v) => number!(4, v),
        GgufValue::I32(v) => number!(5, v),
        GgufValue::F32(v) => number!(6, v),
        GgufValue::Bool(v) => number!(7, u8::from(*v)),
        GgufValue::String(text) => {
            out.extend(8u32.to_le_bytes());
            string(out, text);
        }
        GgufValue::Array(array) => {
            out.extend(9u32.to_le_bytes());
            write_array(out, array);
        }
        GgufValue::U64(v) => number!(10, v),
        GgufValue::I64(v) => number!(11, v),
        GgufValue::F64(v) => number!(12, v),
    }
}

fn write_array(out: &mut Vec<u8>, array: &GgufArray) {
    let mut start = |number: u32| {
        out.extend(number.to_le_bytes());
        out.extend((array.len() as u64).to_le_bytes());
    };
    macro_rules! numbers {
        ($type:expr, $items:expr) => {{
            start($type);
            $items.iter().for_each(|v| out.extend(v.to_le_bytes()));
        }};
    }
    match array {
        GgufArray::U8(v) => numbers!(0, v),
        GgufArray::I8(v) => numbers!(1, v),
        GgufArray::U16(v) => numbers!(2, v),
        GgufArray::I16(v) => numbers!(3, v),
        GgufArray::U32(v) => numbers!(4, v),
        GgufArray::I32(v) => numbers!(5, v),
        GgufArray::F32(v) => numbers!(6, v),
        GgufArray::Bool(v) => {
            start(7);
            out.extend(v.iter().map(|v| u8::from(*v)));
        }
        GgufArray::String(v) => {
            start(8);
            v.iter().for_each(|text| string(out, text));
        }
        GgufArray::U64(v) => numbers!(10, v),
        GgufArray::I64(v) => numbers!(11, v),
        GgufArray::F64(v) => numbers!(12, v),
    }
}
