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
//! | `Q8Min`| 32: u8 × 32 | 4: f16 scale `d`, f16 minimum `m` | `d · q[i] + m` |
//! | `Q4`   | 16: byte `j` holds weight `j` in its low, `j + 16` in its high nibble | 2: f16 scale `d` | `d · (q[i] - 8)` |
//! | `Q4Min`| 16: as `Q4` | 4: f16 scale `d`, f16 minimum `m` | `d · q[i] + m` |
//! | `Q4K`  | 16: as `Q4` | per 8 groups 16 (see [`Layout::scale_row_bytes`]) | `d · s[g] · q[i] - m · t[g]` |
//! | `Q5K`  | 16: low nibbles, as `Q4` | per 8 groups 48 | `d · s[g] · q[i] - m · t[g]` |
//! | `Q6K`  | 16: low nibbles, as `Q4` | per 8 groups 84 | `d · s[g, i / 16] · (q[i] - 32)` |
//! | `Mxfp4`| 16: e2m1 floats, as `Q4` | 1: exponent `e`, at most 254 | `2^(e - 127) · q[i]` |
//!
//! The k-quants of ggml have super-blocks of 8 groups, in the words of the scales plane:
//!
//! - `Q4K`: word 0 f16 `d`, f16 `m`; word 1 the low nibbles of the 8 six-bit scales `s`; word 2 those of the minimums `t`;
//!   word 3 the two high bits of each `s` below, of each `t` above.
//! - `Q5K`: the same four; words 4 to 11 the fifth bits of the codes, a word a group.
//! - `Q6K`: word 0 f16 `d`; words 1 to 4 sixteen i8 scales `s`; words 5 to 20 the two high bits of the codes, two words a group.
//!
//! The codes of one group start at a multiple of 16 bytes, so a shader reads them as whole `vec4<u32>`. A row of the
//! scales plane is padded to whole 32-bit words ([`Layout::scale_row_bytes`]).

use half::{bf16, f16};

/// Weights per group, in every layout.
pub const GROUP: usize = 32;
/// Weights of a super-block of the k-quants.
pub const SUPER_BLOCK: usize = 256;

/// What the scales plane of a layout holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// There is none: weights are numbers.
    None,
    /// So many f16 for each group.
    Halves(usize),
    /// So many bytes for each super-block: two f16, then scales and bits of the codes.
    SuperBlocks(usize),
    /// A byte for each group: the exponent of a power of two.
    Exponents,
}

/// What distinguishes a layout: its size, and the WGSL that reads it.
#[derive(Debug)]
pub struct LayoutSpec {
    /// The name used in plans, shader files and `ModelInfo.quantization`.
    pub name: &'static str,
    /// Bytes of one group in the codes plane.
    pub code_group_bytes: usize,
    /// The scales plane.
    pub scales: Scales,
    /// Library files that declare `weight_block`.
    pub wgsl: &'static [&'static str],
    /// Files that declare `packed_block`, for products of bytes; none where codes do not fit in a signed byte.
    pub packed: Option<&'static [&'static str]>,
}

/// A file in `shaders/`.
macro_rules! wgsl {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/shaders/", $name, ".wgsl"))
    };
}

/// The layouts, one entry each: the enum, [`Layout::ALL`] and [`Layout::spec`].
macro_rules! layouts {
    ($($layout:ident { $($spec:tt)* })*) => {
        /// A number format of the kernels. See the module's table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // the module's table says it
        pub enum Layout { $($layout),* }

        impl Layout {
            /// Every layout.
            pub const ALL: [Layout; [$(Layout::$layout),*].len()] = [$(Layout::$layout),*];

            /// The layout's entry.
            pub const fn spec(self) -> &'static LayoutSpec {
                match self { $(Layout::$layout => &LayoutSpec { $($spec)* }),* }
            }
        }
    };
}

layouts! {
    F32 {
        name: "f32",
        code_group_bytes: 128,
        scales: Scales::None,
        wgsl: &[wgsl!("lib/f32")],
        packed: None,
    }
    F16 {
        name: "f16",
        code_group_bytes: 64,
        scales: Scales::None,
        wgsl: &[wgsl!("lib/numbers"), wgsl!("lib/f16")],
        packed: None,
    }
    Bf16 {
        name: "bf16",
        code_group_bytes: 64,
        scales: Scales::None,
        wgsl: &[wgsl!("lib/numbers"), wgsl!("lib/bf16")],
        packed: None,
    }
    Q8 {
        name: "q8",
        code_group_bytes: 32,
        scales: Scales::Halves(1),
        wgsl: &[wgsl!("lib/q8")],
        packed: Some(&[wgsl!("variants/whole")]),
    }
    Q8Min {
        name: "q8_min",
        code_group_bytes: 32,
        scales: Scales::Halves(2),
        wgsl: &[wgsl!("lib/bytes"), wgsl!("lib/q8_min")],
        packed: Some(&[wgsl!("variants/q8_min")]),
    }
    Q4 {
        name: "q4",
        code_group_bytes: 16,
        scales: Scales::Halves(1),
        wgsl: &[wgsl!("lib/bytes"), wgsl!("lib/nibbles"), wgsl!("lib/q4")],
        packed: Some(&[wgsl!("variants/whole")]),
    }
    Q4Min {
        name: "q4_min",
        code_group_bytes: 16,
        scales: Scales::Halves(2),
        wgsl: &[wgsl!("lib/bytes"), wgsl!("lib/nibbles"), wgsl!("lib/q4_min")],
        packed: Some(&[wgsl!("variants/whole")]),
    }
    Q4K {
        name: "q4_k",
        code_group_bytes: 16,
        scales: Scales::SuperBlocks(16),
        wgsl: &[wgsl!("lib/bytes"), wgsl!("lib/nibbles"), wgsl!("lib/k_scales"), wgsl!("lib/q4_k")],
        packed: Some(&[wgsl!("variants/whole")]),
    }
    Q5K {
        name: "q5_k",
        code_group_bytes: 16,
        scales: Scales::SuperBlocks(48),
        wgsl: &[wgsl!("lib/bytes"), wgsl!("lib/nibbles"), wgsl!("lib/k_scales"), wgsl!("lib/q5_k")],
        packed: Some(&[wgsl!("variants/whole")]),
    }
    Q6K {
        name: "q6_k",
        code_group_bytes: 16,
        scales: Scales::SuperBlocks(84),
        wgsl: &[wgsl!("lib/bytes"), wgsl!("lib/nibbles"), wgsl!("lib/q6_k")],
        packed: None,
    }
    Mxfp4 {
        name: "mxfp4",
        code_group_bytes: 16,
        scales: Scales::Exponents,
        wgsl: &[wgsl!("lib/bytes"), wgsl!("lib/mxfp4")],
        packed: Some(&[wgsl!("variants/whole")]),
    }
}

/// The values of e2m1 floats (OCP Microscaling Formats, arXiv 2310.10537).
const E2M1: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

impl Layout {
    /// The name used in plans, shader files and `ModelInfo.quantization`.
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// Groups in a row of `k` weights, the padded last one included.
    pub const fn groups(k: usize) -> usize {
        k.div_ceil(GROUP)
    }

    /// Bytes of one group in the codes plane.
    pub const fn code_group_bytes(self) -> usize {
        self.spec().code_group_bytes
    }

    /// Rows are a multiple of this many weights; others are padded to whole groups.
    pub const fn row_multiple(self) -> usize {
        match self.spec().scales {
            Scales::None => 1,
            Scales::Halves(_) | Scales::Exponents => GROUP,
            Scales::SuperBlocks(_) => SUPER_BLOCK,
        }
    }

    /// Whether there is a scales plane.
    pub const fn has_scales(self) -> bool {
        !matches!(self.spec().scales, Scales::None)
    }

    /// Bytes of a row of `k` weights in the codes plane.
    pub const fn code_row_bytes(self, k: usize) -> usize {
        Self::groups(k) * self.code_group_bytes()
    }

    /// Bytes of a row of `k` weights in the scales plane, padded to whole 32-bit words.
    pub const fn scale_row_bytes(self, k: usize) -> usize {
        let groups = Self::groups(k);
        match self.spec().scales {
            Scales::None => 0,
            Scales::Halves(n) => (groups * n * 2).next_multiple_of(4),
            Scales::SuperBlocks(bytes) => groups / 8 * bytes,
            Scales::Exponents => groups.next_multiple_of(4),
        }
    }

    /// Bytes of a row of `k` weights in both planes.
    pub const fn row_bytes(self, k: usize) -> usize {
        self.code_row_bytes(k) + self.scale_row_bytes(k)
    }

    /// The `k` weights of one row, from its bytes in the codes plane and (where the layout has one) the scales plane.
    ///
    /// This is what the module's table means, in code: the one place that kernels' references and the repacker's tests
    /// share. `codes` and `scales` may be longer than the row.
    ///
    /// # Panics
    /// If a plane is shorter than the row.
    pub fn dequantize_row(self, k: usize, codes: &[u8], scales: &[u8]) -> Vec<f32> {
        let f16_at = |bytes: &[u8], at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32();
        let code = |i: usize| {
            let byte = codes[i / GROUP * 16 + i % 16];
            if i % GROUP < 16 { byte & 15 } else { byte >> 4 }
        };
        let nibble = |i: usize| f32::from(code(i));
        let word = |at: usize| u32::from_le_bytes([scales[at], scales[at + 1], scales[at + 2], scales[at + 3]]);
        // Scale and minimum of weight i in Q4K and Q5K, whose super-blocks have `bytes` bytes of scales.
        let k_scale = |i: usize, bytes: usize| {
            let (at, g) = (i / SUPER_BLOCK * bytes, i % SUPER_BLOCK / GROUP);
            let s = word(at + 4) >> (4 * g) & 15 | (word(at + 12) >> (2 * g) & 3) << 4;
            let t = word(at + 8) >> (4 * g) & 15 | (word(at + 12) >> (16 + 2 * g) & 3) << 4;
            (f16_at(scales, at) * s as f32, f16_at(scales, at + 2) * t as f32)
        };
        let weight = |i: usize| match self {
            Self::F32 => f32::from_le_bytes([codes[4 * i], codes[4 * i + 1], codes[4 * i + 2], codes[4 * i + 3]]),
            Self::F16 => f16_at(codes, 2 * i),
            Self::Bf16 => bf16::from_le_bytes([codes[2 * i], codes[2 * i + 1]]).to_f32(),
            Self::Q8 => f16_at(scales, i / GROUP * 2) * f32::from(codes[i] as i8),
            Self::Q8Min => f16_at(scales, i / GROUP * 4) * f32::from(codes[i]) + f16_at(scales, i / GROUP * 4 + 2),
            Self::Q4 => f16_at(scales, i / GROUP * 2) * (nibble(i) - 8.0),
            Self::Q4Min => f16_at(scales, i / GROUP * 4) * nibble(i) + f16_at(scales, i / GROUP * 4 + 2),
            Self::Q4K => {
                let (scale, minimum) = k_scale(i, 16);
                scale * nibble(i) - minimum
            }
            Self::Q5K => {
                let (scale, minimum) = k_scale(i, 48);
                let fifth = word(i / SUPER_BLOCK * 48 + 16 + i % SUPER_BLOCK / GROUP * 4) >> (i % GROUP) & 1;
                scale * (nibble(i) + 16.0 * fifth as f32) - minimum
            }
            Self::Q6K => {
                let at = i / SUPER_BLOCK * 84;
                let scale = f32::from(scales[at + 4 + i % SUPER_BLOCK / 16] as i8);
                let high = word(at + 20 + i % SUPER_BLOCK / 16 * 4) >> (2 * (i % 16)) & 3;
                f16_at(scales, at) * scale * (nibble(i) + 16.0 * high as f32 - 32.0)
            }
            // 2^-127 is a subnormal.
            Self::Mxfp4 => {
                let scale = f32::from_bits(match scales[i / GROUP] {
                    0 => 1 << 22,
                    e => u32::from(e) << 23,
                });
                scale * E2M1[usize::from(code(i))]
            }
        };
        (0..k).map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_words_and_whole_groups() {
        for layout in Layout::ALL {
            for k in [1usize, 31, 32, 33, 64, 96, 160, 576] {
                let k = k.next_multiple_of(layout.row_multiple());
                assert_eq!(layout.code_row_bytes(k) % 16, 0, "{layout:?} k={k}");
                assert_eq!(layout.scale_row_bytes(k) % 4, 0, "{layout:?} k={k}");
            }
        }
        assert_eq!(Layout::Q4.row_bytes(96), 3 * 16 + 8); // three f16 scales in two words
        assert_eq!(Layout::Q4Min.row_bytes(576), 18 * 16 + 18 * 4);
        assert_eq!(Layout::Mxfp4.row_bytes(2880), 90 * 16 + 92); // 4.25 bits a weight, and two bytes
    }

    #[test]
    fn dequantize_row_reads_what_the_table_says() {
        let half = f16::from_f32(0.5).to_le_bytes();
        let minimum = f16::from_f32(-3.0).to_le_bytes();
        let mut codes = vec![0u8; 32];
        codes[1] = 0xf2; // weight 1 is 2, weight 17 is 15
        codes[16] = 0x07; // weight 32 is 7
        let q4 = Layout::Q4.dequantize_row(33, &codes, &[half, half].concat());
        assert_eq!((q4[0], q4[1], q4[17], q4[32], q4.len()), (-4.0, -3.0, 3.5, -0.5, 33));
        let q4_min = Layout::Q4Min.dequantize_row(33, &codes, &[half, minimum, half, minimum].concat());
        assert_eq!((q4_min[0], q4_min[1], q4_min[17], q4_min[32]), (-3.0, -2.0, 4.5, 0.5));
        let q8 = Layout::Q8.dequantize_row(3, &[1, 0xff, 0x80], &half);
        assert_eq!(q8, [0.5, -0.5, -64.0]);
        codes[17] = 0x9e; // weight 33 is -4, weight 49 is -0.5
        let mxfp4 = Layout::Mxfp4.dequantize_row(64, &codes, &[126, 130]);
        assert_eq!((mxfp4[1], mxfp4[17], mxfp4[32], mxfp4[33], mxfp4[49]), (0.5, -3.0, 48.0, -32.0, -4.0));
        let ends = Layout::Mxfp4.dequantize_row(64, &codes, &[0, 254]);
        assert_eq!((ends[1], ends[49]), (2f32.powi(-127), -(2f32.powi(126))));
        assert_eq!(Layout::F16.dequantize_row(2, &[half, minimum].concat(), &[]), [0.5, -3.0]);
        assert_eq!(Layout::Bf16.dequantize_row(1, &[0x80, 0x3f], &[]), [1.0]);
        assert_eq!(Layout::F32.dequantize_row(1, &(-7.25f32).to_le_bytes(), &[]), [-7.25]);
    }
}
