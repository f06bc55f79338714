//! Requantises formats without a layout of their own to `Q8`: one f16 scale and 32 signed bytes per group.
//!
//! The values of most of these formats are small integers times one scale, which `Q8` represents exactly except for
//! rounding the scale to f16. Formats with two scales in a group are rounded to 1/127 of the group's largest value.
//! Below 6e-5 an f16 scale has fewer bits, and the error is up to half a step of a scale that is itself a few times
//! 6e-8.

use half::f16;

use super::dtype::Dtype;
use super::planes::Planes;
use crate::plan::layout::{GROUP, Layout};

/// The integers that the largest value of a group can be in a format, ascending.
fn largest(dtype: Dtype) -> &'static [u8] {
    match dtype {
        Dtype::Tq1_0 | Dtype::Tq2_0 => &[1],
        Dtype::Iq1S | Dtype::Iq1M => &[1, 7, 9], // eighths: -1, 0 and 1, an eighth up or down
        Dtype::Iq2Xxs | Dtype::Iq2Xs | Dtype::Iq2S => &[8, 25, 43],
        Dtype::Iq3Xxs => &[4, 12, 20, 28, 36, 44, 52, 62],
        Dtype::Iq3S => &[1, 3, 5, 7, 9, 11, 13, 15],
        Dtype::Iq4Nl | Dtype::Iq4Xs => &[1, 10, 13, 22, 25, 35, 38, 49, 53, 65, 69, 83, 89, 104, 113, 127],
        Dtype::Nvfp4 => &[1, 2, 3, 4, 6, 8, 12], // halves
        _ => &[],
    }
}

/// Appends a row's values, a multiple of 32 of them.
pub(super) fn quantise_row(dtype: Dtype, values: &[f32], planes: &mut Planes) {
    let end = planes.scales.len() + Layout::Q8.scale_row_bytes(values.len());
    for group in values.chunks_exact(GROUP) {
        let most = group.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let fits = |&&n: &&u8| {
            let unit = f32::from(n) / most;
            group.iter().all(|v| (v * unit - (v * unit).round()).abs() < 1e-3)
        };
        let n = largest(dtype).iter().find(fits).copied().unwrap_or(127);
        // Codes are rounded with the stored scale, so that they are the nearest ones.
        let mut d = f16::from_f32(most / f32::from(n));
        if (n == 127 && d.to_f32() * 127.0 < most) || (d.to_f32() == 0.0 && most > 0.0) {
            d = f16::from_bits(d.to_bits() + 1); // the largest value must be neither clipped nor lost
        }
        let unit = if d.to_f32() > 0.0 { 1.0 / d.to_f32() } else { 0.0 };
        planes.scales.extend(d.to_le_bytes());
        planes.codes.extend(group.iter().map(|v| (v * unit).round().clamp(-127.0, 127.0) as i8 as u8));
    }
    planes.scales.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_stay_whole() {
        let values: Vec<f32> = (0..32).map(|i| [0.25, -0.25, 0.0][i % 3]).collect();
        let mut planes = Planes::default();
        quantise_row(Dtype::Tq2_0, &values, &mut planes);
        assert_eq!(Layout::Q8.dequantize_row(32, &planes.codes, &planes.scales), values);
        assert_eq!(planes.codes[..3], [1, 255, 0]);
    }

    #[test]
    fn zeros_and_tiny_values_stay_finite() {
        for value in [0.0, 1e-30, -1e-12] {
            let mut planes = Planes::default();
            quantise_row(Dtype::Q2K, &[value; 64], &mut planes);
            let back = Layout::Q8.dequantize_row(64, &planes.codes, &planes.scales);
            assert!(back.iter().all(|v| v.is_finite() && (v - value).abs() <= 3e-8));
        }
    }
}
