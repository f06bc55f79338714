//! Cancellation of a call by its caller.

use std::cell::Cell;
use std::rc::Rc;

use crate::{Error, Result};

/// A cancellation token shared between a call and its caller. `abort` makes the call end with [`Error::Aborted`];
/// `stop` makes a generation end early and keep what it has.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Rc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    aborted: Cell<bool>,
    stopped: Cell<bool>,
}

impl Cancel {
    /// Makes the call end with [`Error::Aborted`].
    pub fn abort(&self) {
        self.0.aborted.set(true);
    }

    /// Makes a generation end with what it has produced.
    pub fn stop(&self) {
        self.0.stopped.set(true);
    }

    /// Whether [`Cancel::stop`] was called.
    pub fn stopped(&self) -> bool {
        self.0.stopped.get()
    }

    /// `Err(Aborted)` once [`Cancel::abort`] was called.
    pub fn check(&self) -> Result<()> {
        if self.0.aborted.get() { Err(Error::Aborted) } else { Ok(()) }
    }
}
