//! Repacks stored blocks to the kernels' layouts, exactly if the layout can represent the values.

use super::dequantize::dequantize_rows;
use super::dtype::Dtype;
use super::planes::Planes;
use super::repack_k::super_block;
use super::repack_q8::quantise_row;
use crate::plan::layout::{GROUP, Layout, SUPER_BLOCK};

/// The smallest layout that represents the values of `dtype` exactly, or approximately for the formats of `repack_q8.rs`.
pub fn layout_for(dtype: Dtype) -> Option<Layout> {
    match dtype {
        Dtype::F32 => Some(Layout::F32),
        Dtype::F16 => Some(Layout::F16),
        Dtype::Bf16 => Some(Layout::Bf16),
        Dtype::Q8_0 | Dtype::Q5_0 => Some(Layout::Q8),
        Dtype::Q5_1 => Some(Layout::Q8Min),
        Dtype::Q4_0 => Some(Layout::Q4),
        Dtype::Q4_1 => Some(Layout::Q4Min),
        Dtype::Q4K => Some(Layout::Q4K),
        Dtype::Q5K => Some(Layout::Q5K),
        Dtype::Q6K | Dtype::Q3K => Some(Layout::Q6K),
        Dtype::Mxfp4 => Some(Layout::Mxfp4),
        dtype if through_values(dtype) => Some(Layout::Q8),
        _ => None,
    }
}

/// Whether a format is converted to its layout through dequantised values.
pub fn through_values(dtype: Dtype) -> bool {
    use Dtype::{Iq1M, Iq1S, Iq2S, Iq2Xs, Iq2Xxs, Iq3S, Iq3Xxs, Iq4Nl, Iq4Xs, Nvfp4, Q2K, Tq1_0, Tq2_0};
    matches!(dtype, Iq1M | Iq1S | Iq2S | Iq2Xs | Iq2Xxs | Iq3S | Iq3Xxs | Iq4Nl | Iq4Xs | Nvfp4 | Q2K | Tq1_0 | Tq2_0)
}

/// Whether weights of this format are unquantised, so that they may be quantised while loading.
pub fn unquantised(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
}

/// Whether rows stored as `dtype` are quantised while loading to `layout`.
pub fn becomes(dtype: Dtype, layout: Layout) -> bool {
    layout.can_quantize() && unquantised(dtype)
}

/// Appends whole rows of `k` unquantised weights in `layout`, `Q8` or `Q4`, bit-identical to the GPU's kernel.
///
/// # Panics
/// As [`repack_rows`].
pub fn quantize_rows(dtype: Dtype, layout: Layout, k: usize, bytes: &[u8], planes: &mut Planes) {
    let values = dequantize_rows(dtype, k, bytes).expect("numbers have values");
    values.chunks_exact(k).for_each(|row| layout.quantize_row(row, &mut planes.codes, &mut planes.scales));
}

/// Appends whole rows of `k` weights, stored as `dtype`, to `planes` in [`layout_for`]`(dtype)`. Padding is zero.
///
/// # Panics
/// If `dtype` has no layout or `bytes` are not whole rows: the caller planned with [`layout_for`] and the parsers checked
/// the sizes.
pub fn repack_rows(dtype: Dtype, k: usize, bytes: &[u8], planes: &mut Planes) {
    let layout = layout_for(dtype).expect("a number format with a layout");
    let row_bytes = dtype.bytes(k as u64).expect("rows of whole blocks") as usize;
    assert!(
        row_bytes > 0 && bytes.len().is_multiple_of(row_bytes),
        "{} bytes are not whole rows of {row_bytes}",
        bytes.len()
    );
    let rows = bytes.len() / row_bytes;
    planes.codes.reserve(rows * layout.code_row_bytes(k));
    planes.scales.reserve(rows * layout.scale_row_bytes(k));
    let scale_bytes = layout.scale_row_bytes(4 * GROUP) / 4; // per group
    for row in bytes.chunks_exact(row_bytes) {
        if through_values(dtype) {
            let values = dequantize_rows(dtype, k, row).expect("these formats have values");
            quantise_row(dtype, &values, planes);
            continue;
        }
        let (codes_end, scales_end) =
            (planes.codes.len() + layout.code_row_bytes(k), planes.scales.len() + layout.scale_row_bytes(k));
        if !layout.has_scales() {
            planes.codes.extend_from_slice(row);
        } else if layout.row_multiple() == SUPER_BLOCK {
            row.chunks_exact(dtype.block().1 as usize).for_each(|block| super_block(dtype, block, planes));
        } else {
            // Each block is one group: its scale (and minimum), then codes in the layout's order, or 5-bit codes.
            debug_assert_eq!(dtype.block().0 as usize, GROUP);
            for block in row.chunks_exact(dtype.block().1 as usize) {
                let (scales, codes) = block.split_at(scale_bytes);
                planes.scales.extend_from_slice(scales);
                match dtype {
                    Dtype::Q5_0 => planes.codes.extend(five_bits(codes).map(|q| q.wrapping_sub(16))),
                    Dtype::Q5_1 => planes.codes.extend(five_bits(codes)),
                    _ => planes.codes.extend_from_slice(codes),
                }
            }
        }
        planes.codes.resize(codes_end, 0);
        planes.scales.resize(scales_end, 0);
    }
}

/// The codes of a Q5_0 or Q5_1 block: 32 fifth bits in four bytes, then nibbles as in [`Layout::Q4`].
fn five_bits(codes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let high = |i: usize| (codes[i / 8] >> (i % 8) & 1) << 4;
    let nibble = |i: usize| if i < 16 { codes[4 + i] & 15 } else { codes[4 + i - 16] >> 4 };
    (0..GROUP).map(move |i| nibble(i) | high(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_with_zeros_to_whole_groups() {
        let mut planes = Planes::default();
        let rows: Vec<u8> = (1..=66u8).collect(); // one row of 33 weights
        repack_rows(Dtype::Bf16, 33, &rows, &mut planes);
        assert_eq!(planes.codes.len(), 128);
        assert_eq!(planes.codes[..66], rows);
        assert!(planes.codes[66..].iter().all(|&byte| byte == 0));
        assert!(planes.scales.is_empty());
        repack_rows(Dtype::Bf16, 33, &rows, &mut planes);
        assert_eq!(planes.codes[128..194], rows, "the second row begins at a whole group");
    }

    #[test]
    fn blocks_are_split_into_codes_and_scales() {
        let mut planes = Planes::default();
        let block = |n: u8| [vec![n, n + 1], vec![n + 2; 16]].concat();
        repack_rows(Dtype::Q4_0, 96, &[block(1), block(11), block(21)].concat(), &mut planes);
        assert_eq!(planes.scales, [1, 2, 11, 12, 21, 22, 0, 0]);
        assert_eq!(planes.codes, [[3; 16], [13; 16], [23; 16]].concat());
    }

    #[test]
    #[should_panic(expected = "not whole rows")]
    fn half_a_row_is_a_broken_invariant() {
        repack_rows(Dtype::F32, 2, &[0; 12], &mut Planes::default());
    }
}
