//! How tensors are stored, and the rows that are made of them on the host.

use std::ops::Range;

use super::checkpoint::TensorEntry;
use super::dequantize::dequantize_rows;
use super::dtype::Dtype;
use super::load::{Form, Slice, first_blocks};
use super::loader::Loader;
use super::repack::unquantised;
use crate::plan::{GROUP, e4m3_product};
use crate::{Error, FormatKind, Result};

impl Loader<'_> {
    /// Rows `rows` that a slice makes, and their format. `k` is their width: what is stored may be rows of several.
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

    /// Rows of width `k` that a stored row is cut into.
    pub(super) fn cuts(&self, slice: &Slice, k: usize) -> u64 {
        match slice.form {
            Form::Rows | Form::Fp8 { .. } => self.checkpoint.tensors[&slice.tensor].k() / k as u64,
            Form::Columns { .. } | Form::Mxfp4 { .. } => 1,
        }
    }

    /// The same of rows as wide as stored.
    ///
    /// A block of 4-bit floats whose exponent is 255 is NaN (OCP Microscaling Formats); what is made of it otherwise differs
    /// from reader to reader.
    async fn stored_rows(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let (dtype, bytes) = self.formed_rows(slice, k, rows).await?;
        if dtype == Dtype::Mxfp4 && bytes.chunks_exact(MXFP4_BLOCK).any(|block| block[0] == 255) {
            let file = self.checkpoint.shards[self.checkpoint.tensors[&slice.tensor].shard].name();
            let message = format!("tensor {:?} has an exponent of 255, which is no number", slice.tensor);
            return Err(Error::format(FormatKind::BadValue, file, message));
        }
        Ok((dtype, bytes))
    }

    /// The blocks of 128 that rows lie in, and their factors.
    pub(super) async fn factors(&mut self, scales: &TensorEntry, rows: Range<u64>) -> Result<(Range<u64>, Vec<f32>)> {
        let blocks = rows.start / FP8_BLOCK..rows.end.div_ceil(FP8_BLOCK);
        let bytes = self.checkpoint.read_rows(scales, blocks.clone()).await?;
        self.hear(scales, first_blocks(&rows) * (bytes.len() as u64 / (blocks.end - blocks.start).max(1)));
        let factors = dequantize_rows(scales.dtype, scales.k() as usize, &bytes);
        Ok((blocks, factors.expect("they are numbers")))
    }

    async fn formed_rows(&mut self, slice: &Slice, k: usize, rows: Range<u64>) -> Result<(Dtype, Vec<u8>)> {
        let entry = &self.checkpoint.tensors[&slice.tensor];
        match &slice.form {
            Form::Rows => Ok((entry.dtype, self.read(entry, rows).await?)),
            Form::Columns { first, k } => {
                let known = self.turned.as_ref().is_some_and(|(tensor, at, _)| *tensor == slice.tensor && at == first);
                if !known {
                    let bytes = self.read(entry, *first..first + k).await?;
                    let bytes = if unquantised(entry.dtype) {
                        bytes
                    } else {
                        let values = dequantize_rows(entry.dtype, entry.k() as usize, &bytes);
                        bytemuck::cast_slice(&values.expect("declared in a format that can be read")).to_vec()
                    };
                    let turned = transposed(&bytes, *k as usize, entry.k() as usize);
                    self.turned = Some((slice.tensor.clone(), *first, turned));
                }
                let (.., turned) = self.turned.as_ref().expect("it was just made");
                let row = turned.len() / entry.k() as usize;
                let dtype = if unquantised(entry.dtype) { entry.dtype } else { Dtype::F32 };
                Ok((dtype, turned[rows.start as usize * row..rows.end as usize * row].to_vec()))
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
                // Stored as rows of groups; ours are whole rows.
                let groups = entry.shape[entry.shape.len() - 2];
                let codes = self.read(entry, rows.start * groups..rows.end * groups).await?;
                let scales = self.read(&self.checkpoint.tensors[scales], rows).await?;
                Ok((Dtype::Mxfp4, mxfp4_blocks(&codes, &scales)))
            }
        }
    }
}

/// Rows and columns of a block of `F8_E4M3` that share a factor.
pub const FP8_BLOCK: u64 = 128;

/// The columns of `[k, columns]` values as rows.
fn transposed(bytes: &[u8], k: usize, columns: usize) -> Vec<u8> {
    let width = bytes.len() / (k * columns);
    let mut out = vec![0; bytes.len()];
    for (row, values) in bytes.chunks_exact(columns * width).enumerate() {
        for (column, value) in values.chunks_exact(width).enumerate() {
            out[(column * k + row) * width..][..width].copy_from_slice(value);
        }
    }
    out
}

/// Bytes of a block of 4-bit floats, as GGUF has them: the exponent and 32 codes.
pub(super) const MXFP4_BLOCK: usize = 1 + GROUP / 2;

/// gpt-oss's blocks (neighbours share a byte) and exponents as GGUF's: the exponent, then bytes of values 16 apart.
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
    fn stored_forms_are_turned_into_rows() {
        assert_eq!(transposed(&[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0], 2, 3), [1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0]);
        let codes: Vec<u8> = (0..16).map(|i| ((2 * i) % 16) | (((2 * i + 1) % 16) << 4)).collect(); // value i is i mod 16
        let block = mxfp4_blocks(&codes, &[127]);
        assert_eq!((block[0], block[1], block[16]), (127, 0, 0xff));
    }
}
