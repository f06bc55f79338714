//! Wide vectors as AVX2 and F16C have them. Multiplications and additions of floats are not fused: results are those of SSE2.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use bytemuck::must_cast;

use super::{F32x4, Floats, I16x8, I32x4, Integers, Sums, Wide, Work};

/// Calls instructions of AVX2 and F16C.
macro_rules! avx2 {
    ($instructions:expr) => {
        // SAFETY: there is a value of `Avx2`, which only `Avx2::detect` makes, where the processor has these instructions; or of
        // a vector that was made with one.
        unsafe { $instructions }
    };
}

/// Instructions of AVX2 and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

/// Sixteen 16-bit integers.
#[derive(Debug, Clone, Copy)]
pub struct I16x16(__m256i);
/// Eight 32-bit integers.
#[derive(Debug, Clone, Copy)]
pub struct I32x8(__m256i);
/// Eight 32-bit floats.
#[derive(Debug, Clone, Copy)]
pub struct F32x8(__m256);

impl Avx2 {
    /// The instructions, if the processor has them.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")).then_some(Self(()))
    }

    /// Does work compiled for these instructions.
    pub fn run<T: Work>(self, work: T) -> T::Made {
        #[target_feature(enable = "avx2,f16c")]
        fn compiled<T: Work>(wide: Avx2, work: T) -> T::Made {
            work.run(wide)
        }
        avx2!(compiled(self, work))
    }
}

#[rustfmt::skip]
impl Wide for Avx2 {
    const WHOLE: bool = true;
    type Integers = I16x16;
    type Sums = I32x8;
    type Floats = F32x8;

    #[inline(always)] fn integers(self, [a, b]: [I16x8; 2]) -> I16x16 { I16x16(avx2!(_mm256_set_m128i(b.0, a.0))) }
    #[inline(always)] fn load(self, halves: &[I16x8; 2]) -> I16x16 {
        // SAFETY: as above, and the array's 32 bytes may be read; compilers make two reads of the safe form.
        I16x16(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
    }
    #[inline(always)] fn signed(self, bytes: [u8; 16]) -> I16x16 { I16x16(avx2!(_mm256_cvtepi8_epi16(must_cast(bytes)))) }
    #[inline(always)] fn unsigned(self, bytes: [u8; 16]) -> I16x16 {
        I16x16(avx2!(_mm256_cvtepu8_epi16(must_cast(bytes))))
    }
    #[inline(always)] fn nibbles(self, bytes: [u8; 16]) -> [I16x16; 2] {
        avx2!({
            let (words, low) = (_mm256_broadcastsi128_si256(must_cast(bytes)), _mm256_set1_epi16(15));
            // Of 32 bits at a time: what comes from the upper word is masked.
            let first = _mm256_srlv_epi32(words, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
            let last = _mm256_srlv_epi32(words, _mm256_setr_epi32(8, 8, 8, 8, 12, 12, 12, 12));
            [I16x16(_mm256_and_si256(first, low)), I16x16(_mm256_and_si256(last, low))]
        })
    }
    #[inline(always)] fn floats(self, [a, b]: [F32x4; 2]) -> F32x8 { F32x8(avx2!(_mm256_set_m128(b.0, a.0))) }
    #[inline(always)] fn load_floats(self, halves: &[F32x4; 2]) -> F32x8 {
        // SAFETY: as for `load`.
        F32x8(unsafe { _mm256_loadu_ps(halves.as_ptr().cast()) })
    }
    #[inline(always)] fn of_upper(self, halves: I16x8) -> F32x8 {
        F32x8(must_cast(avx2!(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves.0)))))
    }
    #[inline(always)] fn of_finite_halves(self, halves: I16x8) -> F32x8 { self.of_halves(halves) }
    #[inline(always)] fn of_halves(self, halves: I16x8) -> F32x8 { F32x8(avx2!(_mm256_cvtph_ps(halves.0))) }
    #[inline(always)] fn of_pairs(self, halves: I16x8) -> [F32x4; 2] {
        let [a, b] = self.of_halves(halves).halves();
        a.unzip(b)
    }
}

#[rustfmt::skip]
impl Integers for I16x16 {
    type Sums = I32x8;
    #[inline(always)] fn dot(self, by: Self) -> I32x8 { I32x8(avx2!(_mm256_madd_epi16(self.0, by.0))) }
    #[inline(always)] fn and(self, by: Self) -> Self { Self(avx2!(_mm256_and_si256(self.0, by.0))) }
    #[inline(always)] fn add(self, by: Self) -> Self { Self(avx2!(_mm256_add_epi16(self.0, by.0))) }
    #[inline(always)] fn sub(self, by: Self) -> Self { Self(avx2!(_mm256_sub_epi16(self.0, by.0))) }
    #[inline(always)] fn saturating_sub(self, by: Self) -> Self { Self(avx2!(_mm256_subs_epu16(self.0, by.0))) }
    #[inline(always)] fn mul(self, by: Self) -> Self { Self(avx2!(_mm256_mullo_epi16(self.0, by.0))) }
    #[inline(always)] fn equal(self, to: Self) -> Self { Self(avx2!(_mm256_cmpeq_epi16(self.0, to.0))) }
    #[inline(always)] fn shift_right<const N: i32>(self) -> Self { Self(avx2!(_mm256_srli_epi16::<N>(self.0))) }
}

#[rustfmt::skip]
impl Sums for I32x8 {
    #[inline(always)] fn add(self, by: Self) -> Self { Self(avx2!(_mm256_add_epi32(self.0, by.0))) }
    #[inline(always)] fn sums(of: [Self; 4]) -> I32x4 {
        let [first, last] = Self::half_sums(of);
        first.add(last)
    }
    #[inline(always)] fn half_sums([a, b, c, d]: [Self; 4]) -> [I32x4; 2] {
        avx2!({
            let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a.0, b.0), _mm256_unpackhi_epi32(a.0, b.0));
            let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c.0, d.0), _mm256_unpackhi_epi32(c.0, d.0));
            let sums = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
            [I32x4(_mm256_castsi256_si128(sums)), I32x4(_mm256_extracti128_si256::<1>(sums))]
        })
    }
}

#[rustfmt::skip]
impl Floats for F32x8 {
    #[inline(always)] fn add(self, by: Self) -> Self { Self(avx2!(_mm256_add_ps(self.0, by.0))) }
    #[inline(always)] fn mul(self, by: Self) -> Self { Self(avx2!(_mm256_mul_ps(self.0, by.0))) }
    #[inline(always)] fn halves(self) -> [F32x4; 2] {
        avx2!([F32x4(_mm256_castps256_ps128(self.0)), F32x4(_mm256_extractf128_ps::<1>(self.0))])
    }
}
