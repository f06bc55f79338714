//! What loads have found out about a device: which variants of kernels are the fastest there.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The most choices that are kept: of so many models, in as many settings.
const KEPT: usize = 64;
/// The bits of a choice ([`Variants::bits`](crate::kernels::Variants::bits)); those above are of its key.
const BITS: u32 = 3;

/// Choices as numbers, which a host keeps from one load to another. Loads find those of earlier ones here, and leave theirs. Each has its
/// place, from which another may drive it: what is lost is found out again.
#[derive(Debug)]
pub struct Choices([AtomicU32; KEPT]); // 0: none

impl Choices {
    /// None.
    pub const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; KEPT])
    }

    /// Adds choices that a host has kept.
    pub fn restore(&self, kept: &[u32]) {
        for &choice in kept {
            self.place(choice).store(choice, Relaxed);
        }
    }

    /// The choices, to keep.
    pub fn all(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for place in &self.0 {
            let choice = place.load(Relaxed);
            if choice != 0 {
                all.push(choice);
            }
        }
        all
    }

    /// The choice of a key, which is not small.
    pub(super) fn get(&self, key: u32) -> Option<u8> {
        let choice = self.place(key).load(Relaxed);
        (choice >> BITS == key >> BITS).then_some((choice & ((1 << BITS) - 1)) as u8)
    }

    /// Keeps a choice.
    pub(super) fn set(&self, key: u32, bits: u8) {
        self.place(key).store(key >> BITS << BITS | u32::from(bits), Relaxed);
    }

    fn place(&self, key: u32) -> &AtomicU32 {
        &self.0[(key >> BITS) as usize % KEPT]
    }
}

impl Default for Choices {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_found_by_their_key() {
        let choices = Choices::new();
        choices.restore(&[8 | 3]);
        choices.set(0x1000_0010, 0);
        assert_eq!([24, 8, 15, 0x1000_0017].map(|key| choices.get(key)), [None, Some(3), Some(3), Some(0)]);
        for key in (0x8000_0000u32..).step_by(8).take(2 * KEPT) {
            choices.set(key, 4);
            assert_eq!(choices.get(key), Some(4));
        }
        assert_eq!(choices.get(8), None, "another took its place");
        assert_eq!(choices.all().len(), KEPT);
        let copy = Choices::new();
        copy.restore(&choices.all());
        assert_eq!(copy.all(), choices.all());
    }
}
