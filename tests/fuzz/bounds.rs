//! What no input may make us do, whatever it declares.
#![allow(dead_code)] // each target uses its part

#[path = "../hostile/allocations.rs"]
mod allocations;

/// Nothing may hold more.
const MAX_BYTES: isize = 64 << 20;

/// Runs `f`, which is to hold little.
pub fn bounded(f: impl FnOnce()) {
    let ((), held) = allocations::held(f);
    assert!(held < MAX_BYTES, "held {held} bytes");
}

/// A name from a file leads to nothing outside the folder, on any system and through any server.
pub fn harmless(name: &str) {
    let encoded = name.as_bytes().windows(3).any(|w| w[0] == b'%' && w[1..].iter().all(u8::is_ascii_hexdigit));
    let plain = !name.contains(['\\', ':', '\0']) && name.split('/').all(|part| !["", ".", ".."].contains(&part));
    assert!(plain && !encoded, "{name:?}");
}
