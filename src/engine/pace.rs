//! Chooses how many tokens of a prompt one submit processes: as many as the GPU can within a tenth of a second, so that
//! the page can be drawn in between. A software adapter never blocks the page, and processes larger submits more
//! efficiently.

use std::cell::Cell;

use crate::kernels::TOKEN_TILE;

/// Tokens of the shortest submit: of half a tile, the other half costs nothing.
const UNIT: usize = TOKEN_TILE / 2;
/// Target duration of a submit in milliseconds, on a GPU and on a software adapter.
const BUDGET: f64 = 100.0;
const SOFTWARE_BUDGET: f64 = 2000.0;

/// Adapts the size of submits to their measured duration.
pub(super) struct Pace {
    clock: fn() -> f64,
    budget: f64,
    /// Maximum tokens of a chunk.
    most: usize,
    tokens: Cell<usize>,
}

impl Pace {
    /// Creates a pace that begins with `first` tokens, for chunks of at most `most`, with a clock in milliseconds. Software gains nothing
    /// by more than it begins with.
    pub fn new(first: usize, most: usize, clock: fn() -> f64, software: bool) -> Self {
        let first = first.min(most);
        let (budget, most) = if software { (SOFTWARE_BUDGET, first) } else { (BUDGET, most) };
        Self { clock, budget, most, tokens: Cell::new(first) }
    }

    /// Tokens of the next submit: a multiple of half a token tile, and at most a chunk.
    pub fn tokens(&self) -> usize {
        self.tokens.get()
    }

    /// The current time, to pass to [`Self::took`].
    pub fn start(&self) -> f64 {
        (self.clock)()
    }

    /// Notes that a submit of `tokens` tokens, started at `started`, has finished.
    pub fn took(&self, tokens: usize, started: f64) {
        let each = ((self.clock)() - started).max(0.01) / tokens as f64;
        let fit = (self.budget / each) as usize / UNIT * UNIT;
        // A small submit may have been fast by chance: the size at most doubles.
        self.tokens.set(fit.clamp(UNIT, 2 * tokens.max(UNIT)).min(self.most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submits_become_shorter_and_longer_within_a_chunk() {
        thread_local!(static NOW: Cell<f64> = const { Cell::new(0.0) });
        let pace = Pace::new(64, 64, || NOW.get(), false);
        let submit = |each: f64| {
            let (tokens, started) = (pace.tokens(), pace.start());
            NOW.set(started + tokens as f64 * each);
            pace.took(tokens, started);
            tokens
        };
        assert_eq!([0.5, 1.0, 3.0, 3.0, 30.0, 30.0].map(submit), [64, 64, 64, 32, 32, 16]);
        assert_eq!([0.0, 0.0, 2.0, 2.0].map(submit), [16, 32, 64, 48]);
        let single = Pace::new(64, 5, || 0.0, false);
        single.took(5, 0.0);
        assert_eq!(single.tokens(), 5, "a chunk is the most");
        let long = Pace::new(64, 256, || NOW.get(), false);
        for tokens in [64, 128, 256, 256] {
            assert_eq!(long.tokens(), tokens, "a fast device gets longer ones");
            let started = long.start();
            NOW.set(started + 10.0);
            long.took(tokens, started);
        }
        let software = Pace::new(64, 256, || 0.0, true);
        software.took(64, 0.0);
        assert_eq!(software.tokens(), 64);
    }
}
