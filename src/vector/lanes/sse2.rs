//! The vectors as SSE2 has them.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use bytemuck::must_cast;

/// Calls instructions of SSE2.
macro_rules! sse2 {
    ($instructions:expr) => {
        // SAFETY: SSE2 is a part of x86-64, so every such processor has these instructions.
        unsafe { $instructions }
    };
}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct I16x8(pub(super) __m128i);
#[derive(Debug, Clone, Copy)]
pub struct I32x4(pub(super) __m128i);
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct F32x4(pub(super) __m128);

#[allow(missing_docs)] // see `plain`
#[rustfmt::skip]
impl I16x8 {
    #[inline(always)] pub fn new(values: [i16; 8]) -> Self { Self(must_cast(values)) }
    #[inline(always)] pub fn from_bytes(bytes: [u8; 16]) -> Self { Self(must_cast(bytes)) }
    #[inline(always)] pub fn from_signed(bytes: [u8; 16]) -> [Self; 2] {
        let v = must_cast(bytes);
        let (first, last) = sse2!((_mm_unpacklo_epi8(v, v), _mm_unpackhi_epi8(v, v)));
        sse2!([Self(_mm_srai_epi16::<8>(first)), Self(_mm_srai_epi16::<8>(last))])
    }
    #[inline(always)] pub fn from_unsigned(bytes: [u8; 16]) -> [Self; 2] {
        let (v, zero) = (must_cast(bytes), must_cast([0u8; 16]));
        sse2!([Self(_mm_unpacklo_epi8(v, zero)), Self(_mm_unpackhi_epi8(v, zero))])
    }
    #[inline(always)] pub fn splat(value: i16) -> Self { Self(sse2!(_mm_set1_epi16(value))) }
    #[inline(always)] pub fn dot(self, by: Self) -> I32x4 { I32x4(sse2!(_mm_madd_epi16(self.0, by.0))) }
    #[inline(always)] pub fn and(self, by: Self) -> Self { Self(sse2!(_mm_and_si128(self.0, by.0))) }
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(sse2!(_mm_add_epi16(self.0, by.0))) }
    #[inline(always)] pub fn sub(self, by: Self) -> Self { Self(sse2!(_mm_sub_epi16(self.0, by.0))) }
    #[inline(always)] pub fn saturating_sub(self, by: Self) -> Self { Self(sse2!(_mm_subs_epu16(self.0, by.0))) }
    #[inline(always)] pub fn mul(self, by: Self) -> Self { Self(sse2!(_mm_mullo_epi16(self.0, by.0))) }
    #[inline(always)] pub fn max(self, by: Self) -> Self { Self(sse2!(_mm_max_epi16(self.0, by.0))) }
    #[inline(always)] pub fn equal(self, to: Self) -> Self { Self(sse2!(_mm_cmpeq_epi16(self.0, to.0))) }
    #[inline(always)] pub fn shift_right<const N: i32>(self) -> Self { Self(sse2!(_mm_srli_epi16::<N>(self.0))) }
    #[inline(always)] pub fn lower_halves(of: [F32x4; 2]) -> Self {
        let [a, b] = of.map(|v| sse2!(_mm_srai_epi32::<16>(_mm_slli_epi32::<16>(must_cast(v.0)))));
        Self(sse2!(_mm_packs_epi32(a, b)))
    }
    #[inline(always)] pub fn widen(self) -> [I32x4; 2] {
        let (first, last) = sse2!((_mm_unpacklo_epi16(self.0, self.0), _mm_unpackhi_epi16(self.0, self.0)));
        sse2!([I32x4(_mm_srai_epi32::<16>(first)), I32x4(_mm_srai_epi32::<16>(last))])
    }
    #[inline(always)] pub fn values(self) -> [i16; 8] { must_cast(self.0) }
}

#[rustfmt::skip]
impl I32x4 {
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(sse2!(_mm_add_epi32(self.0, by.0))) }
    #[inline(always)] pub fn to_floats(self) -> F32x4 { F32x4(sse2!(_mm_cvtepi32_ps(self.0))) }
    #[inline(always)] pub fn sums([a, b, c, d]: [Self; 4]) -> Self {
        Self(sse2!({
            let ab = _mm_add_epi32(_mm_unpacklo_epi32(a.0, b.0), _mm_unpackhi_epi32(a.0, b.0));
            let cd = _mm_add_epi32(_mm_unpacklo_epi32(c.0, d.0), _mm_unpackhi_epi32(c.0, d.0));
            _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd))
        }))
    }
}

#[rustfmt::skip]
impl F32x4 {
    #[inline(always)] pub fn new(values: [f32; 4]) -> Self { Self(must_cast(values)) }
    #[inline(always)] pub fn splat(value: f32) -> Self { Self(sse2!(_mm_set1_ps(value))) }
    #[inline(always)] pub fn from_upper(halves: I16x8) -> [Self; 2] {
        let zero = must_cast([0u8; 16]);
        let (first, last) = sse2!((_mm_unpacklo_epi16(zero, halves.0), _mm_unpackhi_epi16(zero, halves.0)));
        [Self(must_cast(first)), Self(must_cast(last))]
    }
    /// The values of finite f16 in the upper halves of 32 bits, whose lower halves are zero.
    #[inline(always)] fn finite_upper_halves(bits: __m128i) -> Self {
        Self(sse2!({
            let moved = _mm_and_si128(_mm_srai_epi32::<3>(bits), _mm_set1_epi32(0x8fff_e000_u32 as i32));
            _mm_mul_ps(_mm_castsi128_ps(moved), _mm_set1_ps(f32::from_bits(0x7780_0000)))
        }))
    }
    /// The same of any f16; those that are not finite stay so.
    #[inline(always)] fn upper_halves(bits: __m128i) -> Self {
        Self(sse2!({
            let exponent = _mm_set1_epi32(0x7c00_0000);
            let endless = _mm_cmpeq_epi32(_mm_and_si128(bits, exponent), exponent);
            _mm_or_ps(Self::finite_upper_halves(bits).0, _mm_castsi128_ps(_mm_and_si128(endless, _mm_set1_epi32(0x7f80_0000))))
        }))
    }
    #[inline(always)] pub fn from_halves(halves: I16x8) -> [Self; 2] {
        let [first, last] = Self::from_upper(halves);
        [Self::upper_halves(must_cast(first.0)), Self::upper_halves(must_cast(last.0))]
    }
    #[inline(always)] pub fn from_finite_halves(halves: I16x8) -> [Self; 2] {
        let [first, last] = Self::from_upper(halves);
        [Self::finite_upper_halves(must_cast(first.0)), Self::finite_upper_halves(must_cast(last.0))]
    }
    #[inline(always)] pub fn from_pairs(halves: I16x8) -> [Self; 2] {
        let upper = must_cast([0xffff_0000_u32; 4]);
        let (even, odd) = sse2!((_mm_slli_epi32::<16>(halves.0), _mm_and_si128(halves.0, upper)));
        [Self::upper_halves(even), Self::upper_halves(odd)]
    }
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(sse2!(_mm_add_ps(self.0, by.0))) }
    #[inline(always)] pub fn sub(self, by: Self) -> Self { Self(sse2!(_mm_sub_ps(self.0, by.0))) }
    #[inline(always)] pub fn mul(self, by: Self) -> Self { Self(sse2!(_mm_mul_ps(self.0, by.0))) }
    #[inline(always)] pub fn div(self, by: Self) -> Self { Self(sse2!(_mm_div_ps(self.0, by.0))) }
    #[inline(always)] pub fn min(self, by: Self) -> Self { Self(sse2!(_mm_min_ps(by.0, self.0))) }
    #[inline(always)] pub fn max(self, by: Self) -> Self { Self(sse2!(_mm_max_ps(by.0, self.0))) }
    #[inline(always)] pub fn sums([a, b, c, d]: [Self; 4]) -> Self {
        Self(sse2!({
            let ab = _mm_add_ps(_mm_unpacklo_ps(a.0, b.0), _mm_unpackhi_ps(a.0, b.0));
            let cd = _mm_add_ps(_mm_unpacklo_ps(c.0, d.0), _mm_unpackhi_ps(c.0, d.0));
            _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab))
        }))
    }
    #[inline(always)] pub fn unzip(self, by: Self) -> [Self; 2] {
        sse2!([Self(_mm_shuffle_ps::<0x88>(self.0, by.0)), Self(_mm_shuffle_ps::<0xdd>(self.0, by.0))])
    }
    #[inline(always)] pub fn two_to(self) -> Self {
        let bits = must_cast(self.0);
        Self(must_cast(sse2!(_mm_add_epi32(_mm_slli_epi32::<23>(bits), _mm_set1_epi32(0x3f80_0000)))))
    }
    #[inline(always)] pub fn values(self) -> [f32; 4] { must_cast(self.0) }
}
