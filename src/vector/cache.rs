//! Rows of the KV cache as vectors.

use std::ops::Range;

use super::GROUP;
use super::lanes::{F32x4, Floats, I16x8, Wide};

/// Words that the processor fetches together.
const LINE: usize = 16;
/// The bits of the f16 that is infinite.
const INFINITE: i16 = 0x7c00;

/// Numbers of a cache, as `kernels/kv.rs` describes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // see there
pub enum Stored {
    F32,
    F16,
    Q8,
}

/// The keys, or the values, that a layer keeps.
#[derive(Debug, Clone)]
pub struct Cache<'a> {
    /// Rows of every token's heads.
    pub words: &'a [u32],
    /// How numbers are stored.
    pub stored: Stored,
    /// Values of a row.
    pub dim: usize,
    /// Words of a row.
    pub row_words: usize,
    /// The heads that have a row of each token here.
    pub heads: Range<usize>,
    /// Tokens it has room for: a position lies at its remainder.
    pub capacity: usize,
}

impl Cache<'_> {
    /// Brings the rows of some heads into the processor's caches, in the order in which they lie: it foresees such reading, and not
    /// that of a head's rows, between which others lie.
    pub(crate) fn fetch(&self, positions: Range<usize>, heads: &Range<usize>) {
        let mut read = 0;
        for position in positions {
            for line in self.rows(position, heads).iter().step_by(LINE) {
                read ^= line;
            }
        }
        std::hint::black_box(read);
    }

    /// Whether the rows of some heads are f16 that are all finite. They are read in the order in which they lie, as above.
    #[inline(always)]
    pub(crate) fn finite(&self, positions: Range<usize>, heads: &Range<usize>) -> bool {
        let mut most = I16x8::splat(0);
        for position in positions {
            let (eights, rest) = self.rows(position, heads).as_chunks::<4>();
            for &words in eights {
                most = most.max(I16x8::from_bytes(bytemuck::must_cast(words)).and(I16x8::splat(i16::MAX)));
            }
            let mut last = [0; 4];
            last[..rest.len()].copy_from_slice(rest);
            most = most.max(I16x8::from_bytes(bytemuck::must_cast(last)).and(I16x8::splat(i16::MAX)));
        }
        self.stored == Stored::F16 && most.values().iter().all(|&bits| bits < INFINITE)
    }

    /// The rows of some heads at a position.
    #[inline(always)]
    fn rows(&self, position: usize, heads: &Range<usize>) -> &[u32] {
        let first = position % self.capacity * self.heads.len() + heads.start - self.heads.start;
        &self.words[first * self.row_words..(first + heads.len()) * self.row_words]
    }

    /// Reads the first values of the row of a head at a position, as many as `to` has vectors for, or all. `finite` says that they are
    /// f16 that are finite.
    #[inline(always)]
    pub(crate) fn read<W: Wide>(&self, wide: W, position: usize, head: usize, finite: bool, to: &mut [F32x4]) {
        let words = self.rows(position, &(head..head + 1));
        match self.stored {
            Stored::F32 => {
                for (to, four) in to.iter_mut().zip(words.chunks_exact(4)) {
                    *to = F32x4::new(bytemuck::must_cast::<[u32; 4], _>(four.try_into().expect("four")));
                }
            }
            Stored::F16 => {
                let (pairs, last) = to.as_chunks_mut::<2>();
                let (eights, rest) = words.as_chunks::<4>();
                if finite {
                    for (to, &words) in pairs.iter_mut().zip(eights) {
                        *to = wide.of_finite_halves(I16x8::from_bytes(bytemuck::must_cast(words))).halves();
                    }
                } else {
                    for (to, &words) in pairs.iter_mut().zip(eights) {
                        *to = eight(wide, words);
                    }
                }
                if let Some(to) = last.first_mut() {
                    let words = eights.get(pairs.len()).map_or_else(|| [rest[0], rest[1], 0, 0], |&words| words);
                    *to = eight(wide, words)[0];
                }
            }
            Stored::Q8 => {
                let (codes, largest) = words.split_at(self.dim.div_ceil(4));
                for (g, (to, codes)) in to.chunks_mut(GROUP / 4).zip(codes.chunks(GROUP / 4)).enumerate() {
                    let bits = (largest[g / 2] >> (16 * (g % 2))) as i16;
                    let scale = F32x4::from_halves(I16x8::splat(bits))[0].mul(F32x4::splat(1.0 / 127.0));
                    for (to, codes) in to.chunks_mut(4).zip(codes.chunks(4)) {
                        let mut four = [0; 4];
                        four[..codes.len()].copy_from_slice(codes);
                        let [a, b] = I16x8::from_signed(bytemuck::must_cast(four));
                        for (to, v) in to.iter_mut().zip([a.widen(), b.widen()].as_flattened()) {
                            *to = v.to_floats().mul(scale);
                        }
                    }
                }
            }
        }
    }
}

/// The values of eight f16.
#[inline(always)]
fn eight<W: Wide>(wide: W, words: [u32; 4]) -> [F32x4; 2] {
    wide.of_halves(I16x8::from_bytes(bytemuck::must_cast(words))).halves()
}
