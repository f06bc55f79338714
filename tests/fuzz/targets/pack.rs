//! Fuzzes the manifest of a pack, and reads its split files from parts that are missing or differ from the manifest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minke::weights::MemoryFolder;
use minke::weights::pack::{MANIFEST, Pack, Unpacked};
use minke::weights::source::Folder;

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|data: &[u8]| {
    bounds::bounded(|| {
        let Ok(pack) = Pack::parse(data) else { return };
        let mut folder = MemoryFolder::new("pack").with(MANIFEST, data);
        for (name, file) in &pack.files {
            for name in std::iter::once(name).chain(file.parts.iter().map(|part| &part.name)) {
                bounds::harmless(name);
            }
            // Some parts exist, with the declared size.
            for part in file.parts.iter().filter(|part| part.size < 1 << 10) {
                if part.name != MANIFEST {
                    folder = folder.with(&part.name, vec![7; part.size as usize]);
                }
            }
        }
        let unpacked = Unpacked::new(&folder);
        for (name, file) in &pack.files {
            let Ok(Some(source)) = pollster::block_on(unpacked.open(name)) else { continue };
            for range in [0..source.len().min(64), source.len().saturating_sub(64)..source.len(), 0..source.len()] {
                if let Ok(bytes) = pollster::block_on(source.read(range.clone())) {
                    assert_eq!(bytes.len() as u64, range.end - range.start, "{name:?} of {}", file.size);
                }
            }
        }
    });
});
