//! Fuzzes a safetensors header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minke::weights::{MemoryFile, safetensors};
use pollster::block_on;

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|data: &[u8]| {
    bounds::bounded(|| {
        let file = MemoryFile::new("model.safetensors", data.to_vec());
        let Ok(tensors) = block_on(safetensors::read_header(&file, 0)) else { return };
        let mut bytes = 0;
        for entry in tensors.values() {
            assert!(entry.range.start <= entry.range.end && entry.range.end <= data.len() as u64, "{entry:?}");
            bytes += entry.bytes();
        }
        assert!(bytes <= data.len() as u64, "tensors overlap");
    });
});
