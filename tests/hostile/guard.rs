//! Runs a case under watch: its time, and the bytes it holds at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use minke::{Error, FormatKind, Result};

use super::table;

/// No case may hold more than this, whatever its file declares.
const MAX_BYTES: isize = 64 << 20;
const MAX_TIME: Duration = Duration::from_secs(1);

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread holds.
struct Counting;

fn count(bytes: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// The trait cannot be implemented otherwise; every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs one case and checks what it cost.
pub fn guarded<T>(name: &str, case: impl FnOnce() -> T) -> T {
    let before = LIVE.get();
    PEAK.set(before);
    let start = Instant::now();
    let result = case();
    let (time, held) = (start.elapsed(), PEAK.get() - before);
    assert!(held < MAX_BYTES, "{name}: held {held} bytes");
    assert!(time < MAX_TIME, "{name}: took {time:?}");
    result
}

/// What a case must end in.
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
