//! The division of weights between workers: each holds some rows of every unit of a matrix, so that every sum is made by one
//! worker and results do not depend on how many there are.

use std::ops::Range;

/// Which of how many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The worker, from 0.
    pub index: usize,
    /// How many workers there are.
    pub count: usize,
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// The shares of `count` workers.
    pub fn all(count: usize) -> impl Iterator<Item = Self> {
        (0..count).map(move |index| Self { index, count })
    }

    /// This worker's part of `rows` rows. It begins with an even row: gates and ups alternate.
    pub fn of_rows(self, rows: usize) -> Range<usize> {
        let end = |index: usize| if index == self.count { rows } else { rows * index / self.count / 2 * 2 };
        end(self.index)..end(self.index + 1)
    }

    /// This worker's part of `count` items.
    pub fn of(self, count: usize) -> Range<usize> {
        count * self.index / self.count..count * (self.index + 1) / self.count
    }
}

/// The rows of a buffer that workers divide: a plane of weights, or a part of the KV cache. They are those of units of which a worker
/// has the same rows each, as experts are, or the tokens of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DividedRows {
    /// Bytes of a row.
    pub bytes: usize,
    /// Rows of a unit.
    pub unit: usize,
    /// How many units there are.
    pub units: usize,
    /// Units at the start whose rows are interleaved.
    pub interleaved: usize,
    /// Query heads that read a row of the cache: a worker has the rows that its heads read, and two may have the same. 0 for weights,
    /// which have one owner each.
    pub readers: usize,
}

/// What a worker holds of a range of a buffer's bytes: it is contiguous there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where it begins in the worker's buffer.
    pub offset: u64,
    /// Where the bytes are in the whole buffer, in order.
    pub ranges: Vec<Range<u64>>,
}

impl Held {
    /// How many bytes it is.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl DividedRows {
    /// A worker's rows of each unit.
    pub fn own(&self, share: Share) -> Range<usize> {
        if self.readers == 0 {
            return share.of_rows(self.unit);
        }
        let heads = share.of(self.unit * self.readers);
        if heads.is_empty() { 0..0 } else { heads.start / self.readers..heads.end.div_ceil(self.readers) }
    }

    /// Bytes of a worker's buffer.
    pub fn bytes_of(&self, share: Share) -> u64 {
        (self.own(share).len() * self.units * self.bytes) as u64
    }

    /// Where a row of the whole buffer lies in a worker's, if it is there.
    pub fn local(&self, share: Share, row: usize) -> Option<usize> {
        let own = self.own(share);
        let (of_unit, unit) = match row / self.unit < self.interleaved {
            true => (row / self.interleaved, row % self.interleaved),
            false => (row % self.unit, row / self.unit),
        };
        if !own.contains(&of_unit) {
            return None;
        }
        let of_own = of_unit - own.start;
        let interleaved = unit < self.interleaved;
        Some(if interleaved { of_own * self.interleaved + unit } else { unit * own.len() + of_own })
    }

    /// What a worker holds of a range of the buffer's bytes. Bytes after the last row are padding, which nobody holds.
    pub fn held(&self, share: Share, bytes: Range<u64>) -> Held {
        let own = self.own(share);
        let mut held = Held { offset: 0, ranges: Vec::new() };
        let mut put = |rows: Range<usize>| {
            let whole = (rows.start * self.bytes) as u64..(rows.end * self.bytes) as u64;
            let part = whole.start.max(bytes.start)..whole.end.min(bytes.end);
            if part.is_empty() {
                return;
            }
            if held.ranges.is_empty() {
                let row = part.start as usize / self.bytes;
                let local = self.local(share, row).expect("the row is this worker's");
                held.offset = (local * self.bytes) as u64 + part.start % self.bytes as u64;
            }
            held.ranges.push(part);
        };
        put(own.start * self.interleaved..own.end * self.interleaved);
        let unit_bytes = (self.unit * self.bytes) as u64;
        let first = ((bytes.start / unit_bytes) as usize).max(self.interleaved);
        let end = (bytes.end.div_ceil(unit_bytes) as usize).min(self.units);
        (first..end).for_each(|unit| put(unit * self.unit + own.start..unit * self.unit + own.end));
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_lies_with_a_worker_and_every_buffer_is_full() {
        let weights = [(7, 1, 0), (8, 5, 0), (6, 5, 2), (1, 3, 0), (10, 4, 1), (2, 6, 3)].map(|shape| (shape, 0));
        let cache = [((3, 9, 0), 3), ((2, 5, 0), 6), ((8, 4, 0), 1), ((1, 7, 0), 2)];
        for ((unit, units, interleaved), readers) in weights.into_iter().chain(cache) {
            let rows = DividedRows { bytes: 12, unit, units, interleaved, readers };
            for count in 1..=8 {
                let total = (unit * units * 12) as u64;
                let mut holders = vec![0; total as usize];
                for share in Share::all(count) {
                    let mut filled = vec![false; rows.bytes_of(share) as usize];
                    // In uneven ranges, as a file is read.
                    for at in (0..total).step_by(44) {
                        let held = rows.held(share, at..(at + 44).min(total + 4));
                        for (local, byte) in (held.offset..).zip(held.ranges.iter().cloned().flatten()) {
                            let row = rows.local(share, byte as usize / 12).expect("the row is there");
                            assert_eq!((row as u64, local % 12), (local / 12, byte % 12));
                            assert!(!std::mem::replace(&mut filled[local as usize], true));
                            holders[byte as usize] += 1;
                        }
                    }
                    assert!(filled.iter().all(|filled| *filled));
                }
                assert!(holders.iter().all(|&n| if readers == 0 { n == 1 } else { n >= 1 }), "{rows:?} {count}");
            }
        }
    }
}
