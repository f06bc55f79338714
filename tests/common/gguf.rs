//! Builds GGUF files for tests.
#![allow(dead_code)] // each test binary uses its part

use std::collections::BTreeMap;

pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

pub fn typed(number: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    [&number.to_le_bytes(), payload.as_ref()].concat()
}

pub fn u32v(value: u32) -> Vec<u8> {
    typed(4, value.to_le_bytes())
}

pub fn f32v(value: f32) -> Vec<u8> {
    typed(6, value.to_le_bytes())
}

pub fn boolv(value: bool) -> Vec<u8> {
    typed(7, [u8::from(value)])
}

pub fn text(value: &str) -> Vec<u8> {
    typed(8, string(value))
}

pub fn array(element: u32, count: u64, payload: impl AsRef<[u8]>) -> Vec<u8> {
    typed(9, [&element.to_le_bytes()[..], &count.to_le_bytes(), payload.as_ref()].concat())
}

pub fn texts<'a>(values: impl ExactSizeIterator<Item = &'a String>) -> Vec<u8> {
    array(8, values.len() as u64, values.flat_map(string).collect::<Vec<u8>>())
}

pub fn tensor(name: impl AsRef<[u8]>, dims: &[u64], dtype: u32, offset: u64) -> Vec<u8> {
    let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let rank = (dims.len() as u32).to_le_bytes();
    [&string(name)[..], &rank, &dims_bytes, &dtype.to_le_bytes(), &offset.to_le_bytes()].concat()
}

/// A tensor to write: its shape with rows last, GGUF's type number, and its bytes.
pub struct Stored {
    pub shape: Vec<usize>,
    pub dtype: u32,
    pub bytes: Vec<u8>,
}

/// Writes a file of version 3 with encoded values by key, `general.architecture` first.
pub fn file(architecture: &str, keys: &BTreeMap<String, Vec<u8>>, tensors: &BTreeMap<String, Stored>) -> Vec<u8> {
    const ALIGNMENT: usize = 32;
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((keys.len() as u64 + 1).to_le_bytes());
    bytes.extend([string("general.architecture"), text(architecture)].concat());
    keys.iter().for_each(|(key, value)| bytes.extend([string(key), value.clone()].concat()));
    let mut offset = 0;
    for (name, stored) in tensors {
        let dims: Vec<u64> = stored.shape.iter().rev().map(|&d| d as u64).collect();
        bytes.extend(tensor(name, &dims, stored.dtype, offset as u64));
        offset += stored.bytes.len().next_multiple_of(ALIGNMENT);
    }
    for stored in tensors.values() {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(&stored.bytes);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}
