//! Tensors: weight matrices in parts, and row-major f32 activations.
//!
//! No buffer binding may be larger than the device allows, so a matrix is split by rows into parts, and a kernel makes one
//! step for each. Parts may differ in layout: a fused QKV matrix whose sources were quantised differently keeps every
//! published value.

use std::ops::Range;

use super::buffers::{BufferId, Buffers, Role};
use super::layout::{GROUP, Layout};
use super::share::DividedRows;
use crate::{Error, Result};

/// A run of rows of a matrix, small enough to bind.
#[derive(Debug, Clone)]
pub struct Part {
    /// Rows of the matrix that lie here.
    pub rows: Range<usize>,
    /// The layout of these rows.
    pub layout: Layout,
    /// The codes plane.
    pub codes: BufferId,
    /// The scales plane, where the layout has one.
    pub scales: Option<BufferId>,
}

/// A weight matrix `[rows, k]` in one or more parts. Parts may differ in layout: a fused matrix whose published
/// sources were quantised differently keeps each one's exact values.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Name in the model, such as `l3.attn.qkv`.
    pub label: String,
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub k: usize,
    /// The parts in row order, without gaps.
    pub parts: Vec<Part>,
}

/// Rows of a part at most, so that a row tile's grid stays within WebGPU's 65,535 workgroups.
const MAX_PART_ROWS: u64 = 65_535 * 64;

/// Parts begin at multiples of this many rows, so that a kernel's row tile never spans two parts.
pub const PART_ROWS: usize = 64;

/// Units of rows that a matrix is not split within: experts, or heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    /// Rows of a unit.
    pub rows: usize,
    /// Units at the start whose rows are interleaved.
    pub interleaved: usize,
    /// Whether workers may divide the rows of each unit.
    pub divided: bool,
}

impl Matrix {
    /// Declares a matrix made of segments, which are so many rows in one layout, and splits it so that no plane is larger than
    /// `max_binding` bytes.
    ///
    /// # Errors
    /// [`Error::BufferLimit`] where [`PART_ROWS`] rows do not fit one binding.
    pub fn declare(
        buffers: &mut Buffers,
        label: impl Into<String>,
        k: usize,
        segments: &[(usize, Layout)],
        max_binding: u64,
    ) -> Result<Self> {
        Self::declare_parts(buffers, label.into(), k, segments, None, max_binding)
    }

    /// [`Self::declare`] with parts of whole units.
    ///
    /// # Errors
    /// [`Error::BufferLimit`] where a unit does not fit one binding.
    pub fn declare_in_units(
        buffers: &mut Buffers,
        label: impl Into<String>,
        k: usize,
        segments: &[(usize, Layout)],
        units: Units,
        max_binding: u64,
    ) -> Result<Self> {
        Self::declare_parts(buffers, label.into(), k, segments, Some(units), max_binding)
    }

    fn declare_parts(
        buffers: &mut Buffers,
        label: String,
        k: usize,
        segments: &[(usize, Layout)],
        units: Option<Units>,
        max_binding: u64,
    ) -> Result<Self> {
        let unit = units.map_or(PART_ROWS, |units| units.rows);
        let mut parts: Vec<Part> = Vec::new();
        let mut row = 0;
        for &(count, layout) in segments {
            let row_bytes = layout.code_row_bytes(k).max(layout.scale_row_bytes(k)) as u64;
            let fit = (max_binding / row_bytes).min(MAX_PART_ROWS) as usize / unit * unit;
            if fit == 0 {
                let (what, needed) = (format!("{unit} rows of {label}"), unit as u64 * row_bytes);
                return Err(Error::BufferLimit { what, needed, limit: max_binding });
            }
            let end = row + count;
            while row < end {
                let rows = row..end.min(row + fit);
                let n = parts.len();
                let mut plane = |plane: &str, row_bytes: usize| {
                    let bytes = (rows.len() * row_bytes) as u64;
                    let id = buffers.add_part(format!("{label}.{n}.{plane}"), n, bytes, Role::Weights);
                    if units.is_none_or(|units| units.divided) {
                        let unit = units.map_or(rows.len(), |units| units.rows);
                        let interleaved = units.map_or(0, |units| if n == 0 { units.interleaved } else { 0 });
                        let units = rows.len() / unit;
                        buffers.divide(id, DividedRows { bytes: row_bytes, unit, units, interleaved, readers: 0 });
                    }
                    id
                };
                let codes = plane("codes", layout.code_row_bytes(k));
                let scales = layout.has_scales().then(|| plane("scales", layout.scale_row_bytes(k)));
                row = rows.end;
                parts.push(Part { rows, layout, codes, scales });
            }
        }
        Ok(Self { label, rows: row, k, parts })
    }

    /// The same matrix for products whose first `rows` values are not its own: the parts, but not what is loaded into
    /// them, know their rows by larger numbers.
    #[must_use]
    pub fn shifted(mut self, rows: usize) -> Self {
        self.rows += rows;
        self.parts.iter_mut().for_each(|part| part.rows = part.rows.start + rows..part.rows.end + rows);
        self
    }
}

/// f32 values `[rows, width]`, row-major. Rows are padded with zeros to whole groups of 32, so that kernels read them
/// as `vec4<f32>` without a bound check; no kernel writes the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activation {
    /// Where it lies.
    pub buffer: BufferId,
    /// Rows allocated (tokens of a chunk).
    pub rows: usize,
    /// Values per row.
    pub width: usize,
}

impl Activation {
    /// Declares a scratch activation.
    pub fn declare(buffers: &mut Buffers, label: impl Into<String>, rows: usize, width: usize) -> Self {
        let bytes = (rows * width.next_multiple_of(GROUP) * 4) as u64;
        Self { buffer: buffers.add(label, bytes, Role::Scratch), rows, width }
    }

    /// f32 elements from one row to the next.
    pub fn stride(&self) -> usize {
        self.width.next_multiple_of(GROUP)
    }
}

/// A vector of f32 constants (norm weights, biases), padded with zeros to whole groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// Where it lies.
    pub buffer: BufferId,
    /// The number of values.
    pub len: usize,
}

impl Vector {
    /// Declares a constant vector.
    pub fn declare(buffers: &mut Buffers, label: impl Into<String>, len: usize) -> Self {
        Self { buffer: buffers.add(label, (len.next_multiple_of(GROUP) * 4) as u64, Role::Weights), len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_rows_and_respect_the_binding_limit() {
        let mut buffers = Buffers::default();
        let m = Matrix::declare(&mut buffers, "w", 576, &[(1000, Layout::Q4Min), (49, Layout::Q8)], 64 << 10).unwrap();
        assert_eq!(m.rows, 1049);
        let mut row = 0;
        for p in &m.parts {
            assert_eq!(p.rows.start, row);
            row = p.rows.end;
            assert!(buffers.get(p.codes).bytes <= 64 << 10);
        }
        assert_eq!(row, 1049);
        assert_eq!(m.parts.last().map(|p| p.layout), Some(Layout::Q8));
        assert!(m.parts.len() > 4);
        let error = Matrix::declare(&mut buffers, "w", 1 << 20, &[(64, Layout::F32)], 64 << 10).unwrap_err();
        assert_eq!(error.code(), "buffer-limit");
    }
}
