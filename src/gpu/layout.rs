//! How a weight matrix lies in GPU memory.
//!
//! A matrix `[rows, k]` is stored in one or two planes, each row contiguous. Rows are cut into groups of 32 weights
//! ([`GROUP`]); a row whose `k` is no multiple of 32 is padded with zeros to whole groups.
//!
//! | layout | `codes` plane, bytes per group | `scales` plane, bytes per group | value of weight `i` of a group |
//! |---|---|---|---|
//! | `F32`  | 128: f32 × 32 | – | as stored |
//! | `F16`  | 64: f16 × 32 | – | as stored |
//! | `Bf16` | 64: bf16 × 32 | – | as stored |
//! | `Q8`   | 32: i8 × 32 | 2: f16 scale `d` | `d · q[i]` |
//! | `Q4`   | 16: byte `j` holds weight `j` in its low, `j + 16` in its high nibble | 2: f16 scale `d` | `d · (q[i] - 8)` |
//! | `Q4Min`| 16: as `Q4` | 4: f16 scale `d`, f16 minimum `m` | `d · q[i] + m` |
//!
//! The codes of one group start at a multiple of 16 bytes, so a shader reads them as whole `vec4<u32>`. A row of the
//! scales plane is padded to whole 32-bit words ([`Layout::scale_row_bytes`]).

/// Weights per group, in every layout.
pub const GROUP: usize = 32;

/// A number format of the kernels. See the module's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the module's table says it
pub enum Layout {
    F32,
    F16,
    Bf16,
    Q8,
    Q4,
    Q4Min,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 6] = [Self::F32, Self::F16, Self::Bf16, Self::Q8, Self::Q4, Self::Q4Min];

    /// The name used in plans, shader files and `ModelInfo.quantization`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
            Self::Q4Min => "q4_min",
        }
    }

    /// Groups in a row of `k` weights, the padded last one included.
    pub const fn groups(k: usize) -> usize {
        k.div_ceil(GROUP)
    }

    /// Bytes of one group in the codes plane.
    pub const fn code_group_bytes(self) -> usize {
        match self {
            Self::F32 => 128,
            Self::F16 | Self::Bf16 => 64,
            Self::Q8 => 32,
            Self::Q4 | Self::Q4Min => 16,
        }
    }

    /// Bytes of one group in the scales plane; 0 where there is none.
    pub const fn scale_group_bytes(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 0,
            Self::Q8 | Self::Q4 => 2,
            Self::Q4Min => 4,
        }
    }

    /// Bytes of a row of `k` weights in the codes plane.
    pub const fn code_row_bytes(self, k: usize) -> usize {
        Self::groups(k) * self.code_group_bytes()
    }

    /// Bytes of a row of `k` weights in the scales plane, padded to whole 32-bit words.
    pub const fn scale_row_bytes(self, k: usize) -> usize {
        (Self::groups(k) * self.scale_group_bytes()).next_multiple_of(4)
    }

    /// Bytes of a row of `k` weights in both planes.
    pub const fn row_bytes(self, k: usize) -> usize {
        self.code_row_bytes(k) + self.scale_row_bytes(k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_words_and_whole_groups() {
        for layout in Layout::ALL {
            for k in [1, 31, 32, 33, 64, 96, 160, 576] {
                assert_eq!(layout.code_row_bytes(k) % 16, 0, "{layout:?} k={k}");
                assert_eq!(layout.scale_row_bytes(k) % 4, 0, "{layout:?} k={k}");
            }
        }
        assert_eq!(Layout::Q4.row_bytes(96), 3 * 16 + 8); // three f16 scales in two words
        assert_eq!(Layout::Q4Min.row_bytes(576), 18 * 16 + 18 * 4);
    }
}
