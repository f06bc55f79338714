//! A shard index.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minke::weights::index::ShardIndex;

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|data: &[u8]| {
    bounds::bounded(|| {
        let Ok(index) = ShardIndex::parse("model.safetensors.index.json", data) else { return };
        assert!(index.shards.len() <= 1024);
        for shard in &index.shards {
            let encoded = shard.as_bytes().windows(3).any(|w| w[0] == b'%' && w[1..].iter().all(u8::is_ascii_hexdigit));
            let harmless = !encoded
                && !shard.contains(['\\', ':', '\0'])
                && shard.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
            assert!(harmless, "{shard:?}");
        }
    });
});
