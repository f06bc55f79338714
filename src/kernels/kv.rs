//! How the KV cache stores a row: the values that one head keeps of one token.

mod cpu;

use half::f16;

use super::CpuMemory;
use crate::plan::{BufferId, GROUP, Step};

/// Numbers of the KV cache, as in `shaders/lib/kv.wgsl`. A row is whole words, its values in fours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// For tests against f32 references.
    F32,
    /// Two values a word.
    F16,
    /// Signed bytes, then an f16 for every 32 of them, or the fewer that are left: the largest magnitude, which is 127. 8.5 bits
    /// a value where a head is a multiple of 64.
    Q8,
}

impl KvFormat {
    /// Words of a row of `dim` values.
    pub fn row_words(self, dim: usize) -> usize {
        let fours = dim.div_ceil(4);
        match self {
            Self::F32 => 4 * fours,
            Self::F16 => 2 * fours,
            Self::Q8 => fours + dim.div_ceil(2 * GROUP),
        }
    }

    /// Bytes of `rows` rows of `dim` values.
    pub fn bytes(self, rows: usize, dim: usize) -> u64 {
        rows as u64 * self.row_words(dim) as u64 * 4
    }

    pub(super) fn constant(self) -> (&'static str, f64) {
        ("KV", f64::from(self as u32))
    }

    /// The format a step was made for.
    pub(super) fn of(step: &Step) -> Self {
        [Self::F32, Self::F16, Self::Q8][step.constant("KV") as usize]
    }

    /// Value `i` of a row.
    fn value(self, row: &[u32], dim: usize, i: usize) -> f64 {
        match self {
            Self::F32 => f32::from_bits(row[i]).into(),
            Self::F16 => bytemuck::cast_slice::<u32, f16>(row)[i].to_f64(),
            Self::Q8 => {
                let (codes, largest) = row.split_at(dim.div_ceil(4));
                let largest = bytemuck::cast_slice::<u32, f16>(largest)[i / GROUP].to_f64();
                f64::from(bytemuck::cast_slice::<u32, i8>(codes)[i]) * largest / 127.0
            }
        }
    }

    /// The values of row `row` of a cache.
    pub(super) fn get(self, memory: &CpuMemory, cache: BufferId, row: usize, dim: usize) -> Vec<f64> {
        self.values(&memory.words(cache)[row * self.row_words(dim)..], dim)
    }

    /// The values of a row that `words` begin with.
    pub(super) fn values(self, words: &[u32], dim: usize) -> Vec<f64> {
        (0..dim).map(|i| self.value(&words[..self.row_words(dim)], dim, i)).collect()
    }

    /// Writes row `row` of a cache.
    pub(super) fn put(self, memory: &mut CpuMemory, cache: BufferId, row: usize, values: &[f64]) {
        let words = self.row_words(values.len());
        self.store(&mut memory.words_mut(cache)[row * words..][..words], values);
    }

    /// Stores values as the words of a row.
    pub(super) fn store(self, row: &mut [u32], values: &[f64]) {
        match self {
            Self::F32 => row.iter_mut().zip(values).for_each(|(y, &v)| *y = (v as f32).to_bits()),
            Self::F16 => {
                let row: &mut [f16] = bytemuck::cast_slice_mut(row);
                row.iter_mut().zip(values).for_each(|(y, &v)| *y = f16::from_f64(v));
            }
            Self::Q8 => {
                let (codes, largest) = row.split_at_mut(values.len().div_ceil(4));
                let codes: &mut [i8] = bytemuck::cast_slice_mut(codes);
                let largest: &mut [f16] = bytemuck::cast_slice_mut(largest);
                for (group, values) in values.chunks(GROUP).enumerate() {
                    let most = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
                    largest[group] = f16::from_f64(most.min(f16::MAX.to_f64()));
                    let scale = largest[group].to_f64() / 127.0;
                    for (y, v) in codes[group * GROUP..].iter_mut().zip(values) {
                        *y = if scale > 0.0 { (v / scale).round().clamp(-127.0, 127.0) as i8 } else { 0 };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::normals;

    #[test]
    fn rows_of_any_width_come_back() {
        for dim in [2, 6, 8, 32, 40, 64, 80, 96, 128, 576] {
            let values: Vec<f64> = normals(dim as u64, dim).into_iter().map(f64::from).collect();
            let largest =
                |i: usize| values[i / 32 * 32..dim.min(i / 32 * 32 + 32)].iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (format, words) in [
                (KvFormat::F32, dim.next_multiple_of(4)),
                (KvFormat::F16, dim.next_multiple_of(4) / 2),
                (KvFormat::Q8, dim.div_ceil(4) + dim.div_ceil(64)),
            ] {
                assert_eq!(format.row_words(dim), words, "{format:?} {dim}");
                let mut row = vec![0; words];
                format.store(&mut row, &values);
                for (i, (got, want)) in format.values(&row, dim).iter().zip(&values).enumerate() {
                    let limit = match format {
                        KvFormat::F32 => 0.0,
                        KvFormat::F16 => want.abs() / 2048.0,
                        // Half a step, and what the rounded scale cuts off.
                        KvFormat::Q8 => largest(i) * (0.5 / 127.0 + 1.0 / 2048.0),
                    };
                    assert!((got - want).abs() <= limit, "{format:?} {dim}: value {i} is {got}, stored was {want}");
                }
            }
        }
    }

    #[test]
    fn zeros_and_giants_are_stored() {
        let mut row = [1; 3];
        KvFormat::Q8.store(&mut row, &[0.0; 8]);
        assert_eq!(KvFormat::Q8.values(&row, 8), [0.0; 8]);
        KvFormat::Q8.store(&mut row, &[1e9, -1e9, 3e4, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let values = KvFormat::Q8.values(&row, 8);
        assert_eq!(values[..2], [65504.0, -65504.0]);
        assert!((values[2] - 3e4).abs() < 300.0);
    }
}
