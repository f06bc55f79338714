//! The number formats of safetensors and GGUF files: names, type numbers and block sizes.

/// A number format of safetensors or GGUF. All formats are listed, so that offsets and sizes of every tensor can be
/// checked; [`layout_for`](super::repack::layout_for) decides whether a kernel supports one.
#[rustfmt::skip] // one family per line
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, non_camel_case_types)] // the names are the formats' own
pub enum Dtype {
    F64, F32, F16, Bf16,
    Bool, I8, U8, I16, U16, I32, U32, I64, U64, C64,
    F8_E4M3, F8_E5M2, F8_E4M3Fnuz, F8_E5M2Fnuz, F8_E8M0, F6_E2M3, F6_E3M2, F4,
    Q1_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1,
    Q2K, Q3K, Q4K, Q5K, Q6K, Q8K,
    Iq1S, Iq1M, Iq2Xxs, Iq2Xs, Iq2S, Iq3Xxs, Iq3S, Iq4Nl, Iq4Xs,
    Tq1_0, Tq2_0, Mxfp4, Nvfp4,
}

use Dtype::*;

/// Columns: format, name, GGUF's type number (or -1), whether safetensors has it, weights per block, bytes per block.
/// Sources: ggml's type table and the safetensors format description.
const TABLE: &[(Dtype, &str, i32, bool, u64, u64)] = &[
    (F64, "F64", 28, true, 1, 8),
    (F32, "F32", 0, true, 1, 4),
    (F16, "F16", 1, true, 1, 2),
    (Bf16, "BF16", 30, true, 1, 2),
    (Bool, "BOOL", -1, true, 1, 1),
    (I8, "I8", 24, true, 1, 1),
    (U8, "U8", -1, true, 1, 1),
    (I16, "I16", 25, true, 1, 2),
    (U16, "U16", -1, true, 1, 2),
    (I32, "I32", 26, true, 1, 4),
    (U32, "U32", -1, true, 1, 4),
    (I64, "I64", 27, true, 1, 8),
    (U64, "U64", -1, true, 1, 8),
    (C64, "C64", -1, true, 1, 8),
    (F8_E4M3, "F8_E4M3", -1, true, 1, 1),
    (F8_E5M2, "F8_E5M2", -1, true, 1, 1),
    (F8_E4M3Fnuz, "F8_E4M3FNUZ", -1, true, 1, 1),
    (F8_E5M2Fnuz, "F8_E5M2FNUZ", -1, true, 1, 1),
    (F8_E8M0, "F8_E8M0", -1, true, 1, 1),
    (F6_E2M3, "F6_E2M3", -1, true, 4, 3),
    (F6_E3M2, "F6_E3M2", -1, true, 4, 3),
    (F4, "F4", -1, true, 2, 1),
    (Q1_0, "Q1_0", 41, false, 128, 18),
    (Q4_0, "Q4_0", 2, false, 32, 18),
    (Q4_1, "Q4_1", 3, false, 32, 20),
    (Q5_0, "Q5_0", 6, false, 32, 22),
    (Q5_1, "Q5_1", 7, false, 32, 24),
    (Q8_0, "Q8_0", 8, false, 32, 34),
    (Q8_1, "Q8_1", 9, false, 32, 36),
    (Q2K, "Q2_K", 10, false, 256, 84),
    (Q3K, "Q3_K", 11, false, 256, 110),
    (Q4K, "Q4_K", 12, false, 256, 144),
    (Q5K, "Q5_K", 13, false, 256, 176),
    (Q6K, "Q6_K", 14, false, 256, 210),
    (Q8K, "Q8_K", 15, false, 256, 292),
    (Iq2Xxs, "IQ2_XXS", 16, false, 256, 66),
    (Iq2Xs, "IQ2_XS", 17, false, 256, 74),
    (Iq3Xxs, "IQ3_XXS", 18, false, 256, 98),
    (Iq1S, "IQ1_S", 19, false, 256, 50),
    (Iq4Nl, "IQ4_NL", 20, false, 32, 18),
    (Iq3S, "IQ3_S", 21, false, 256, 110),
    (Iq2S, "IQ2_S", 22, false, 256, 82),
    (Iq4Xs, "IQ4_XS", 23, false, 256, 136),
    (Iq1M, "IQ1_M", 29, false, 256, 56),
    (Tq1_0, "TQ1_0", 34, false, 256, 54),
    (Tq2_0, "TQ2_0", 35, false, 256, 66),
    (Mxfp4, "MXFP4", 39, false, 32, 17),
    (Nvfp4, "NVFP4", 40, false, 64, 36),
];

impl Dtype {
    fn row(self) -> &'static (Dtype, &'static str, i32, bool, u64, u64) {
        TABLE.iter().find(|row| row.0 == self).expect("every number format has a line in the table")
    }

    /// The format's standard name, such as "BF16" or "Q4_K".
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The format with GGUF's type number `number`.
    pub fn from_ggml(number: u32) -> Option<Self> {
        TABLE.iter().find(|row| u32::try_from(row.2) == Ok(number)).map(|row| row.0)
    }

    /// GGUF's type number, if GGUF has the format.
    pub fn ggml(self) -> Option<u32> {
        u32::try_from(self.row().2).ok()
    }

    /// The format that safetensors calls `name`.
    pub fn from_safetensors(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.3 && row.1 == name).map(|row| row.0)
    }

    /// Weights per block and bytes per block. Rows consist of whole blocks, each independent of the others.
    pub fn block(self) -> (u64, u64) {
        let row = self.row();
        (row.4, row.5)
    }

    /// Bytes of `elements` weights; `None` if they are not whole blocks or the number does not fit 64 bits.
    pub fn bytes(self, elements: u64) -> Option<u64> {
        let (per_block, block_bytes) = self.block();
        if !elements.is_multiple_of(per_block) {
            return None;
        }
        (elements / per_block).checked_mul(block_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_the_format() {
        for &(dtype, name, number, in_safetensors, ..) in TABLE {
            assert_eq!(dtype.name(), name);
            if let Ok(number) = u32::try_from(number) {
                assert_eq!((Dtype::from_ggml(number), dtype.ggml()), (Some(dtype), Some(number)));
            }
            assert_eq!(Dtype::from_safetensors(name) == Some(dtype), in_safetensors, "{name}");
        }
        assert_eq!(Dtype::from_ggml(4), None, "a number that ggml gave up");
        assert_eq!(Dtype::from_ggml(u32::MAX), None);
        assert_eq!(Dtype::F4.bytes(3), None);
        assert_eq!(Dtype::Q4K.bytes(512), Some(288));
        assert_eq!(Dtype::I64.bytes(u64::MAX / 4), None);
    }
}
