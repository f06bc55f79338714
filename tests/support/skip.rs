//! How a test says that something it needs is not on this machine.

use std::fmt::Display;

/// Prints the line that `cargo xtask test` counts. `what` is what the test needs: a path in the checkout, or the variable that would
/// name it. xtask/src/skips.rs lists those that may be missing; any other fails the checks.
pub fn skip(what: impl Display, why: impl Display) {
    println!("SKIPPED: {what}: {why}");
}
