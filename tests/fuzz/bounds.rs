//! No input may make us hold more than this, whatever it declares. A template may build a string that it does not write,
//! of which the template engine allows 100 MB.

#[path = "../hostile/allocations.rs"]
mod allocations;

const MAX_BYTES: isize = 64 << 20;

/// Runs `f`, which is to hold little: no more than `more` beyond the bound.
pub fn bounded(more: isize, f: impl FnOnce()) {
    let ((), held) = allocations::held(f);
    assert!(held < MAX_BYTES + more, "held {held} bytes");
}
