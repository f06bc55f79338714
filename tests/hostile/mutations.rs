//! Checks that random changes to valid files never cause a panic or an allocation of a declared size.

use minke::weights::{ByteSource, MemoryFile, safetensors};
use pollster::block_on;
use proptest::prelude::*;

use super::campaign::{memory, open_config, open_gguf};
use super::config_cases::CONFIG;
use super::gguf_cases::File;
use super::guard::guarded;
use super::safetensors_cases::file;

/// A change at an offset: a byte, eight bytes of an extreme number, or truncation.
#[derive(Debug, Clone)]
enum Change {
    Byte(u8),
    Number(u64),
    Cut,
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let number = prop_oneof![
        Just(0u64),
        Just(u64::MAX),
        (0..64u32).prop_map(|bit| 1 << bit),
        (0..64u32).prop_map(|bit| (1u64 << bit) - 1),
        0..1000u64,
    ];
    let change = prop_oneof![
        4 => any::<u8>().prop_map(Change::Byte),
        4 => number.prop_map(Change::Number),
        1 => Just(Change::Cut),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), change), 1..4)
}

fn apply(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    for (place, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        match change {
            Change::Byte(byte) => bytes[at] = *byte,
            Change::Number(number) => {
                let end = bytes.len().min(at + 8);
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
            Change::Cut => bytes.truncate(at),
        }
    }
    bytes
}

const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},
    "b":{"dtype":"BF16","shape":[3],"data_offsets":[32,38]}}"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gguf(changes in changes()) {
        let bytes = apply(File::model().bytes(), &changes);
        let _ = guarded("gguf", || open_gguf(memory("model.gguf", bytes), None));
    }

    #[test]
    fn safetensors_file(changes in changes()) {
        let source = MemoryFile::new("model.safetensors", apply(file(HEADER, 38), &changes));
        let result = guarded("safetensors", || block_on(safetensors::read_header(&source, 0)));
        if let Ok(tensors) = result {
            prop_assert!(tensors.values().all(|tensor| tensor.range.end <= source.len()));
        }
    }

    #[test]
    fn config(changes in changes()) {
        let bytes = apply(CONFIG.as_bytes().to_vec(), &changes);
        let _ = guarded("config", || open_config(&bytes));
    }
}
