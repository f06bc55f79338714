//! Runs a case and checks its time and its peak memory.

use std::time::{Duration, Instant};

use minke::{Error, FormatKind, Result};

use super::allocations::held;
use super::table;

/// No case may hold more than this, whatever its file declares.
const MAX_BYTES: isize = 64 << 20;
const MAX_TIME: Duration = Duration::from_secs(1);

/// Runs one case and checks its cost.
pub fn guarded<T>(name: &str, case: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let (result, held) = held(case);
    let time = start.elapsed();
    assert!(held < MAX_BYTES, "{name}: held {held} bytes");
    assert!(time < MAX_TIME, "{name}: took {time:?}");
    result
}

/// The expected result of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expect {
    /// A [`Error::Format`] of this kind.
    Kind(FormatKind),
    /// [`Error::Architecture`].
    Architecture,
    /// No error.
    Accepted,
}

/// Runs a case that must end as expected; returns its error's message. The files are for the table.
pub fn expect(name: &str, expected: Expect, files: &[(&str, &[u8])], case: impl FnOnce() -> Result<()>) -> String {
    let result = guarded(name, case);
    table::record(name, files, &result);
    let found = match &result {
        Ok(()) => Some(Expect::Accepted),
        Err(Error::Format { kind, .. }) => Some(Expect::Kind(*kind)),
        Err(Error::Architecture { .. }) => Some(Expect::Architecture),
        Err(_) => None,
    };
    assert_eq!(found, Some(expected), "{name}: {result:?}");
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn the_guard_sees_allocations() {
    let held = std::panic::catch_unwind(|| guarded("large", || std::hint::black_box(vec![1u8; 65 << 20]).len()));
    assert!(held.is_err());
}
