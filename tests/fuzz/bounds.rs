//! Bounds that hold for every input of the fuzz targets: memory, and names that stay in the folder.
#![allow(dead_code)] // each target uses its part

#[path = "../hostile/allocations.rs"]
mod allocations;

/// The maximum bytes that a target may hold.
const MAX_BYTES: isize = 64 << 20;

/// Runs `f` and checks how much memory it holds.
pub fn bounded(f: impl FnOnce()) {
    let ((), held) = allocations::held(f);
    assert!(held < MAX_BYTES, "held {held} bytes");
}

/// Checks that a name from a file cannot lead out of the folder, on any system and through any server.
pub fn harmless(name: &str) {
    let encoded = name.as_bytes().windows(3).any(|w| w[0] == b'%' && w[1..].iter().all(u8::is_ascii_hexdigit));
    let plain = !name.contains(['\\', ':', '\0']) && name.split('/').all(|part| !["", ".", ".."].contains(&part));
    assert!(plain && !encoded, "{name:?}");
}
