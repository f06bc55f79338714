//! Fuzzes a GGUF file: header, metadata, tensor table, config, vocabulary, and the plans of the model it describes.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use minke::engine::{accept, tokenizer};
use minke::model::{Model, ModelConfig, ModelOptions};
use minke::weights::MemoryFile;
use minke::weights::checkpoint::Checkpoint;
use pollster::block_on;

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|data: &[u8]| {
    bounds::bounded(|| {
        let file = Rc::new(MemoryFile::new("model.gguf", data.to_vec()));
        let Ok(checkpoint) = block_on(Checkpoint::open_gguf(file, None, &accept)) else { return };
        for entry in checkpoint.tensors.values() {
            assert!(entry.range.start <= entry.range.end && entry.range.end <= data.len() as u64, "{entry:?}");
        }
        if let Ok(config) = ModelConfig::from_checkpoint(&checkpoint) {
            let _ = Model::new(&checkpoint, &config, ModelOptions::default());
        }
        if let Ok((tokenizer, _)) = tokenizer(&checkpoint) {
            let _ = tokenizer.encode("Hello, world! 你好 12345\n\n  x", true);
        }
    });
});
