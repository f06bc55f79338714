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

/// The rows of a plane of weights that workers divide: those of units of which every worker has the same rows, as experts are.
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
}

/// Bytes of a plane, and where they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the whole plane.
    pub bytes: Range<u64>,
    /// The worker that holds them.
    pub worker: usize,
    /// Where they begin in the worker's plane.
    pub offset: u64,
}

impl DividedRows {
    /// Bytes of a worker's plane.
    pub fn bytes_of(&self, share: Share) -> u64 {
        (share.of_rows(self.unit).len() * self.units * self.bytes) as u64
    }

    /// Where a row of the whole plane lies in a worker's, if it is there.
    pub fn local(&self, share: Share, row: usize) -> Option<usize> {
        let own = share.of_rows(self.unit);
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

    /// The pieces of a range of the plane's bytes, in order. Bytes after the last row are padding, and in no piece.
    pub fn pieces(&self, bytes: Range<u64>, workers: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = bytes.start;
        let end = bytes.end.min((self.unit * self.units * self.bytes) as u64);
        while at < end {
            let row = at as usize / self.bytes;
            let local = |share: Share| Some((share, self.local(share, row)?));
            let (share, local) = Share::all(workers).find_map(local).expect("every row is some worker's");
            // Until the end of the worker's rows of the unit, or of the interleaved units.
            let last = share.of_rows(self.unit).end;
            let rows_end = match row / self.unit < self.interleaved {
                true => last * self.interleaved,
                false => row / self.unit * self.unit + last,
            };
            let piece_end = end.min((rows_end * self.bytes) as u64);
            let offset = (local * self.bytes) as u64 + at % self.bytes as u64;
            pieces.push(Piece { bytes: at..piece_end, worker: share.index, offset });
            at = piece_end;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_lies_with_one_worker_and_every_plane_is_full() {
        for (unit, units, interleaved) in [(7, 1, 0), (8, 5, 0), (6, 5, 2), (1, 3, 0), (10, 4, 1), (2, 6, 3)] {
            let rows = DividedRows { bytes: 12, unit, units, interleaved };
            for count in 1..=8 {
                let mut held: Vec<Vec<bool>> =
                    Share::all(count).map(|share| vec![false; rows.bytes_of(share) as usize]).collect();
                let total = (unit * units * 12) as u64;
                // In uneven ranges, as a file is read.
                let mut at = 0;
                while at < total {
                    let end = (at + 44).min(total + 4);
                    let pieces = rows.pieces(at..end, count);
                    assert_eq!(pieces.iter().map(|p| p.bytes.end - p.bytes.start).sum::<u64>(), end.min(total) - at);
                    for piece in pieces {
                        for i in 0..piece.bytes.end - piece.bytes.start {
                            let row = ((piece.bytes.start + i) / 12) as usize;
                            let share = Share { index: piece.worker, count };
                            let local = rows.local(share, row).expect("the row is there");
                            assert_eq!(local as u64, (piece.offset + i) / 12);
                            assert!(!std::mem::replace(&mut held[piece.worker][(piece.offset + i) as usize], true));
                        }
                    }
                    at = end;
                }
                assert!(held.iter().flatten().all(|held| *held));
            }
        }
    }
}
