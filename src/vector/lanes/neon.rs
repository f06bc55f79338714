//! The vectors as NEON has them.
#![allow(unsafe_code)]

use core::arch::aarch64::*;

use bytemuck::must_cast;

/// Calls instructions of NEON.
macro_rules! neon {
    ($instructions:expr) => {
        // SAFETY: NEON is a part of this target, so every processor has these instructions.
        unsafe { $instructions }
    };
}

#[derive(Debug, Clone, Copy)]
pub struct I16x8(int16x8_t);
#[derive(Debug, Clone, Copy)]
pub struct I32x4(int32x4_t);
#[derive(Debug, Clone, Copy)]
pub struct F32x4(float32x4_t);

#[allow(missing_docs)] // see `plain`
#[rustfmt::skip]
impl I16x8 {
    #[inline(always)] pub fn new(values: [i16; 8]) -> Self { Self(must_cast(values)) }
    #[inline(always)] pub fn from_bytes(bytes: [u8; 16]) -> Self { Self(must_cast(bytes)) }
    #[inline(always)] pub fn from_signed(bytes: [u8; 16]) -> [Self; 2] {
        let v = must_cast(bytes);
        neon!([vmovl_s8(vget_low_s8(v)), vmovl_high_s8(v)]).map(Self)
    }
    #[inline(always)] pub fn from_unsigned(bytes: [u8; 16]) -> [Self; 2] {
        let v = must_cast(bytes);
        neon!([vmovl_u8(vget_low_u8(v)), vmovl_high_u8(v)]).map(|v| Self(must_cast(v)))
    }
    #[inline(always)] pub fn splat(value: i16) -> Self { Self(neon!(vdupq_n_s16(value))) }
    #[inline(always)] pub fn dot(self, by: Self) -> I32x4 {
        I32x4(neon!(vmlal_high_s16(vmull_s16(vget_low_s16(self.0), vget_low_s16(by.0)), self.0, by.0)))
    }
    #[inline(always)] pub fn and(self, by: Self) -> Self { Self(neon!(vandq_s16(self.0, by.0))) }
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(neon!(vaddq_s16(self.0, by.0))) }
    #[inline(always)] pub fn sub(self, by: Self) -> Self { Self(neon!(vsubq_s16(self.0, by.0))) }
    #[inline(always)] pub fn saturating_sub(self, by: Self) -> Self {
        Self(must_cast(neon!(vqsubq_u16(must_cast(self.0), must_cast(by.0)))))
    }
    #[inline(always)] pub fn mul(self, by: Self) -> Self { Self(neon!(vmulq_s16(self.0, by.0))) }
    #[inline(always)] pub fn max(self, by: Self) -> Self { Self(neon!(vmaxq_s16(self.0, by.0))) }
    #[inline(always)] pub fn equal(self, to: Self) -> Self { Self(must_cast(neon!(vceqq_s16(self.0, to.0)))) }
    #[inline(always)] pub fn shift_right<const N: i32>(self) -> Self {
        Self(must_cast(neon!(vshrq_n_u16::<N>(must_cast(self.0)))))
    }
    #[inline(always)] pub fn lower_halves([a, b]: [F32x4; 2]) -> Self {
        Self(neon!(vuzp1q_s16(must_cast(a.0), must_cast(b.0))))
    }
    #[inline(always)] pub fn widen(self) -> [I32x4; 2] {
        neon!([vmovl_s16(vget_low_s16(self.0)), vmovl_high_s16(self.0)]).map(I32x4)
    }
    #[inline(always)] pub fn values(self) -> [i16; 8] { must_cast(self.0) }
}

#[rustfmt::skip]
impl I32x4 {
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(neon!(vaddq_s32(self.0, by.0))) }
    #[inline(always)] pub fn to_floats(self) -> F32x4 { F32x4(neon!(vcvtq_f32_s32(self.0))) }
    #[inline(always)] pub fn sums([a, b, c, d]: [Self; 4]) -> Self {
        Self(neon!(vpaddq_s32(vpaddq_s32(a.0, b.0), vpaddq_s32(c.0, d.0))))
    }
}

#[rustfmt::skip]
impl F32x4 {
    #[inline(always)] pub fn new(values: [f32; 4]) -> Self { Self(must_cast(values)) }
    #[inline(always)] pub fn splat(value: f32) -> Self { Self(neon!(vdupq_n_f32(value))) }
    #[inline(always)] pub fn from_upper(halves: I16x8) -> [Self; 2] {
        neon!([vshll_n_s16::<16>(vget_low_s16(halves.0)), vshll_high_n_s16::<16>(halves.0)]).map(|v| Self(must_cast(v)))
    }
    #[inline(always)] pub fn from_halves(halves: I16x8) -> [Self; 2] {
        neon!({
            let halves = vreinterpretq_f16_s16(halves.0);
            [vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)]
        })
        .map(Self)
    }
    #[inline(always)] pub fn from_finite_halves(halves: I16x8) -> [Self; 2] { Self::from_halves(halves) }
    #[inline(always)] pub fn from_pairs(halves: I16x8) -> [Self; 2] {
        let [a, b] = Self::from_halves(halves);
        a.unzip(b)
    }
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(neon!(vaddq_f32(self.0, by.0))) }
    #[inline(always)] pub fn sub(self, by: Self) -> Self { Self(neon!(vsubq_f32(self.0, by.0))) }
    #[inline(always)] pub fn mul(self, by: Self) -> Self { Self(neon!(vmulq_f32(self.0, by.0))) }
    #[inline(always)] pub fn div(self, by: Self) -> Self { Self(neon!(vdivq_f32(self.0, by.0))) }
    #[inline(always)] pub fn min(self, by: Self) -> Self {
        Self(neon!(vbslq_f32(vcltq_f32(by.0, self.0), by.0, self.0)))
    }
    #[inline(always)] pub fn max(self, by: Self) -> Self {
        Self(neon!(vbslq_f32(vcltq_f32(self.0, by.0), by.0, self.0)))
    }
    #[inline(always)] pub fn sums([a, b, c, d]: [Self; 4]) -> Self {
        let halves = |v: Self, w: Self| neon!({
            let (v, w) = (vreinterpretq_f64_f32(v.0), vreinterpretq_f64_f32(w.0));
            let [first, last] = [vtrn1q_f64(v, w), vtrn2q_f64(v, w)].map(|v| vreinterpretq_f32_f64(v));
            vaddq_f32(first, last)
        });
        Self(neon!(vpaddq_f32(halves(a, b), halves(c, d))))
    }
    #[inline(always)] pub fn unzip(self, by: Self) -> [Self; 2] {
        neon!([vuzp1q_f32(self.0, by.0), vuzp2q_f32(self.0, by.0)]).map(Self)
    }
    #[inline(always)] pub fn two_to(self) -> Self {
        Self(must_cast(neon!(vaddq_s32(vshlq_n_s32::<23>(must_cast(self.0)), vdupq_n_s32(0x3f80_0000)))))
    }
    #[inline(always)] pub fn values(self) -> [f32; 4] { must_cast(self.0) }
}
