//! Fuzzes a shard index.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minke::weights::index::ShardIndex;

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|data: &[u8]| {
    bounds::bounded(|| {
        let Ok(index) = ShardIndex::parse("model.safetensors.index.json", data) else { return };
        assert!(index.shards.len() <= 1024);
        index.shards.iter().for_each(|shard| bounds::harmless(shard));
    });
});
