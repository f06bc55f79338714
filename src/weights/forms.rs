//! Converts stored forms of tensors (transposed, FP8 with block scales, split MXFP4) to plain rows on the host.

use std::ops::Range;

use super::dequantize::dequantize_rows;
use super::dtype::Dtype;
use super::entry::TensorEntry;
use super::loader::Loader;
use super::repack::unquantised;
use super::task::{FP8_BLOCK, Form, MXFP4_BLOCK, Slice, first_blocks};
use crate::plan::e4m3_product;
use crate::{Error, FormatKind, Result};

impl Loader<'_> {
    /// The rows `rows` of a slice, `k` weights wide, and their format. A stored row may hold several of these rows.
    pub(super) async fn rows_of(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let cuts = self.cuts(slice, k);
        if cuts == 1 {
            return self.stored_rows(slice, k, rows).await;
        }
        let stored = rows.start / cuts..rows.end.div_ceil(cuts);
        let (dtype, bytes) = self.stored_rows(slice, k * cuts as usize, stored.clone()).await?;
        let row = bytes.len() / ((stored.end - stored.start) * cuts) as usize;
        let first = (rows.start - stored.start * cuts) as usize * row;
        Ok((dtype, bytes[first..first + (rows.end - rows.start) as usize * row].to_vec()))
    }

    /// The number of rows of width `k` in a stored row.
    pub(super) fn cuts(&self, slice: &Slice, k: usize) -> u64 {
        match slice.form {
            Form::Rows | Form::Fp8 { .. } => self.checkpoint.tensors[&slice.tensor].k() / k as u64,
            Form::Columns { .. } | Form::Mxfp4 { .. } => 1,
        }
    }

    /// As [`Self::rows_of`], for rows as wide as stored ones.
    ///
    /// An MXFP4 block whose exponent is 255 is an error: it means NaN (OCP Microscaling Formats), but readers
    /// disagree on its values.
    async fn stored_rows(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let (dtype, bytes) = self.formed_rows(slice, k, rows).await?;
        if dtype == Dtype::Mxfp4 && bytes.chunks_exact(MXFP4_BLOCK).any(|block| block[0] == 255) {
            let file = self.checkpoint.shards[self.checkpoint.tensors[&slice.tensor].shard].name();
            let message = format!("tensor {:?} has an exponent of 255, which means NaN", slice.tensor);
            return Err(Error::format(FormatKind::BadValue, file, message));
        }
        Ok((dtype, bytes))
    }

    /// The range of 128-row blocks that contain `rows`, and the scale factors of those blocks.
    pub(super) async fn factors(&mut self, scales: &TensorEntry, rows: Range<u64>) -> Result<(Range<u64>, Vec<f32>)> {
        let blocks = rows.start / FP8_BLOCK..rows.end.div_ceil(FP8_BLOCK);
        let bytes = self.checkpoint.read_rows(scales, blocks.clone()).await?;
        self.report(scales, first_blocks(&rows) * (bytes.len() as u64 / (blocks.end - blocks.start).max(1)));
        let factors = dequantize_rows(scales.dtype, scales.k() as usize, &bytes);
        Ok((blocks, factors.expect("they are numbers")))
    }

    async fn formed_rows(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let entry = &self.checkpoint.tensors[&slice.tensor];
        match &slice.form {
            Form::Rows => Ok((entry.dtype, self.read(entry, rows).await?)),
            Form::Columns { first, k } => {
                let known =
                    self.transposed.as_ref().is_some_and(|(tensor, at, _)| *tensor == slice.tensor && at == first);
                if !known {
                    let bytes = self.read(entry, *first..first + k).await?;
                    let bytes = if unquantised(entry.dtype) {
                        bytes
                    } else {
                        let values = dequantize_rows(entry.dtype, entry.k() as usize, &bytes);
                        bytemuck::cast_slice(&values.expect("declared in a format that can be read")).to_vec()
                    };
                    let rows = transpose(&bytes, *k as usize, entry.k() as usize);
                    self.transposed = Some((slice.tensor.clone(), *first, rows));
                }
                let (.., values) = self.transposed.as_ref().expect("it was just made");
                let row = values.len() / entry.k() as usize;
                let dtype = if unquantised(entry.dtype) { entry.dtype } else { Dtype::F32 };
                Ok((dtype, values[rows.start as usize * row..rows.end as usize * row].to_vec()))
            }
            Form::Fp8 { scales } => {
                let codes = self.read(entry, rows.clone()).await?;
                let scales = &self.checkpoint.tensors[scales];
                let across = scales.k() as usize;
                let (blocks, factors) = self.factors(scales, rows.clone()).await?;
                let value = |(i, &code): (usize, &u8)| {
                    let (row, column) = (rows.start as usize + i / k, i % k);
                    let block = row / FP8_BLOCK as usize - blocks.start as usize;
                    e4m3_product(code, factors[block * across + column / FP8_BLOCK as usize])
                };
                let values: Vec<f32> = codes.iter().enumerate().map(value).collect();
                Ok((Dtype::F32, bytemuck::cast_slice(&values).to_vec()))
            }
            Form::Mxfp4 { scales } => {
                // A stored row is one group; the rows of the slice consist of `groups` of them.
                let groups = entry.shape[entry.shape.len() - 2];
                let codes = self.read(entry, rows.start * groups..rows.end * groups).await?;
                let scales = self.read(&self.checkpoint.tensors[scales], rows).await?;
                Ok((Dtype::Mxfp4, mxfp4_blocks(&codes, &scales)))
            }
        }
    }
}

/// Transposes `[k, columns]` values of any byte width.
fn transpose(bytes: &[u8], k: usize, columns: usize) -> Vec<u8> {
    let width = bytes.len() / (k * columns);
    let mut out = vec![0; bytes.len()];
    for (row, values) in bytes.chunks_exact(columns * width).enumerate() {
        for (column, value) in values.chunks_exact(width).enumerate() {
            out[(column * k + row) * width..][..width].copy_from_slice(value);
        }
    }
    out
}

/// Converts gpt-oss's MXFP4 blocks, in which neighbours share a byte, and their exponents to GGUF blocks: the exponent,
/// then bytes of values 16 apart.
fn mxfp4_blocks(codes: &[u8], exponents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(codes.len() + exponents.len());
    for (block, &exponent) in codes.chunks_exact(16).zip(exponents) {
        let value = |i: usize| block[i / 2] >> (4 * (i % 2)) & 15;
        out.push(exponent);
        out.extend((0..16).map(|i| value(i) | value(i + 16) << 4));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_forms_become_plain_rows() {
        assert_eq!(transpose(&[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0], 2, 3), [1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0]);
        let codes: Vec<u8> = (0..16).map(|i| ((2 * i) % 16) | (((2 * i + 1) % 16) << 4)).collect(); // value i is i mod 16
        let block = mxfp4_blocks(&codes, &[127]);
        assert_eq!((block[0], block[1], block[16]), (127, 0, 0xff));
    }
}
