//! No input may make us hold more than this, whatever it declares.

#[path = "../hostile/allocations.rs"]
mod allocations;

const MAX_BYTES: isize = 64 << 20;

/// Runs `f`, which is to hold little.
pub fn bounded(f: impl FnOnce()) {
    let ((), held) = allocations::held(f);
    assert!(held < MAX_BYTES, "held {held} bytes");
}
