//! How many tokens of a prompt one submit takes: as many as the GPU does in a tenth of a second, so that the page is drawn in
//! between. An adapter that is the CPU keeps no page waiting, however long a submit is, and does more at once faster.

use std::cell::Cell;

use crate::kernels::TOKEN_TILE;

/// Milliseconds of a submit, on a GPU and on a software adapter.
const BUDGET: f64 = 100.0;
const SOFTWARE_BUDGET: f64 = 2000.0;

/// Follows how long submits take.
pub(super) struct Pace {
    clock: fn() -> f64,
    budget: f64,
    /// Tokens of a chunk.
    most: usize,
    tokens: Cell<usize>,
}

impl Pace {
    /// Of chunks of at most `most` tokens, by a clock in milliseconds.
    pub fn new(most: usize, clock: fn() -> f64, software: bool) -> Self {
        Self { clock, budget: if software { SOFTWARE_BUDGET } else { BUDGET }, most, tokens: Cell::new(most) }
    }

    /// Tokens that the next submit takes: those for which weights are read once, or several times that, at most a chunk.
    pub fn tokens(&self) -> usize {
        self.tokens.get()
    }

    /// Now, for [`Self::took`].
    pub fn start(&self) -> f64 {
        (self.clock)()
    }

    /// A submit of so many tokens was started then and is done.
    pub fn took(&self, tokens: usize, started: f64) {
        let each = ((self.clock)() - started).max(0.01) / tokens as f64;
        let fit = (self.budget / each) as usize / TOKEN_TILE * TOKEN_TILE;
        // One that was fast may have been short: no more than twice as many at once.
        self.tokens.set(fit.clamp(TOKEN_TILE, 2 * tokens.max(TOKEN_TILE)).min(self.most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submits_become_shorter_and_longer_within_a_chunk() {
        thread_local!(static NOW: Cell<f64> = const { Cell::new(0.0) });
        let pace = Pace::new(64, || NOW.get(), false);
        let submit = |each: f64| {
            let (tokens, started) = (pace.tokens(), pace.start());
            NOW.set(started + tokens as f64 * each);
            pace.took(tokens, started);
            tokens
        };
        assert_eq!([0.5, 1.0, 3.0, 3.0, 30.0, 30.0].map(submit), [64, 64, 64, 32, 32, 16]);
        assert_eq!([0.0, 0.0, 2.0, 2.0].map(submit), [16, 32, 64, 48]);
        let single = Pace::new(5, || 0.0, false);
        single.took(5, 0.0);
        assert_eq!(single.tokens(), 5, "a chunk is the most");
    }
}
