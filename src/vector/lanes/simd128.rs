//! The vectors of wasm.

use core::arch::wasm32::*;

use bytemuck::must_cast;

#[derive(Debug, Clone, Copy)]
pub struct I16x8(v128);
#[derive(Debug, Clone, Copy)]
pub struct I32x4(v128);
#[derive(Debug, Clone, Copy)]
pub struct F32x4(v128);

#[allow(missing_docs)] // see `plain`
#[rustfmt::skip]
impl I16x8 {
    #[inline(always)] pub fn new(values: [i16; 8]) -> Self { Self(must_cast(values)) }
    #[inline(always)] pub fn from_bytes(bytes: [u8; 16]) -> Self { Self(must_cast(bytes)) }
    #[inline(always)] pub fn from_signed(bytes: [u8; 16]) -> [Self; 2] {
        let v = must_cast(bytes);
        [Self(i16x8_extend_low_i8x16(v)), Self(i16x8_extend_high_i8x16(v))]
    }
    #[inline(always)] pub fn from_unsigned(bytes: [u8; 16]) -> [Self; 2] {
        let v = must_cast(bytes);
        [Self(u16x8_extend_low_u8x16(v)), Self(u16x8_extend_high_u8x16(v))]
    }
    #[inline(always)] pub fn splat(value: i16) -> Self { Self(i16x8_splat(value)) }
    #[inline(always)] pub fn dot(self, by: Self) -> I32x4 { I32x4(i32x4_dot_i16x8(self.0, by.0)) }
    #[inline(always)] pub fn and(self, by: Self) -> Self { Self(v128_and(self.0, by.0)) }
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(i16x8_add(self.0, by.0)) }
    #[inline(always)] pub fn sub(self, by: Self) -> Self { Self(i16x8_sub(self.0, by.0)) }
    #[inline(always)] pub fn saturating_sub(self, by: Self) -> Self { Self(u16x8_sub_sat(self.0, by.0)) }
    #[inline(always)] pub fn mul(self, by: Self) -> Self { Self(i16x8_mul(self.0, by.0)) }
    #[inline(always)] pub fn max(self, by: Self) -> Self { Self(i16x8_max(self.0, by.0)) }
    #[inline(always)] pub fn equal(self, to: Self) -> Self { Self(i16x8_eq(self.0, to.0)) }
    #[inline(always)] pub fn shift_right<const N: i32>(self) -> Self { Self(u16x8_shr(self.0, N as u32)) }
    #[inline(always)] pub fn lower_halves([a, b]: [F32x4; 2]) -> Self {
        Self(i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(a.0, b.0))
    }
    #[inline(always)] pub fn widen(self) -> [I32x4; 2] {
        [I32x4(i32x4_extend_low_i16x8(self.0)), I32x4(i32x4_extend_high_i16x8(self.0))]
    }
    #[inline(always)] pub fn values(self) -> [i16; 8] { must_cast(self.0) }
}

#[rustfmt::skip]
impl I32x4 {
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(i32x4_add(self.0, by.0)) }
    #[inline(always)] pub fn to_floats(self) -> F32x4 { F32x4(f32x4_convert_i32x4(self.0)) }
    #[inline(always)] pub fn sums([a, b, c, d]: [Self; 4]) -> Self {
        let ab = i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a.0, b.0), i32x4_shuffle::<2, 6, 3, 7>(a.0, b.0));
        let cd = i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(c.0, d.0), i32x4_shuffle::<2, 6, 3, 7>(c.0, d.0));
        Self(i32x4_add(i64x2_shuffle::<0, 2>(ab, cd), i64x2_shuffle::<1, 3>(ab, cd)))
    }
}

#[rustfmt::skip]
impl F32x4 {
    #[inline(always)] pub fn new(values: [f32; 4]) -> Self { Self(must_cast(values)) }
    #[inline(always)] pub fn splat(value: f32) -> Self { Self(f32x4_splat(value)) }
    #[inline(always)] pub fn from_upper(halves: I16x8) -> [Self; 2] {
        [u32x4_extend_low_u16x8(halves.0), u32x4_extend_high_u16x8(halves.0)].map(|v| Self(i32x4_shl(v, 16)))
    }
    /// The values of finite f16 whose sign is the highest of 32 bits, and whose other bits begin three below it.
    #[inline(always)] fn finite(bits: v128) -> Self {
        let moved = v128_and(bits, i32x4_splat(0x8fff_e000_u32 as i32));
        Self(f32x4_mul(moved, f32x4_splat(f32::from_bits(0x7780_0000))))
    }
    /// The values of f16 in the upper halves of 32 bits, whose lower halves are zero.
    #[inline(always)] fn upper_halves(bits: v128) -> Self {
        let exponent = i32x4_splat(0x7c00_0000);
        let endless = i32x4_eq(v128_and(bits, exponent), exponent);
        Self(v128_or(Self::finite(i32x4_shr(bits, 3)).0, v128_and(endless, i32x4_splat(0x7f80_0000))))
    }
    #[inline(always)] pub fn from_halves(halves: I16x8) -> [Self; 2] {
        Self::from_upper(halves).map(|v| Self::upper_halves(v.0))
    }
    #[inline(always)] pub fn from_finite_halves(halves: I16x8) -> [Self; 2] {
        [i32x4_extend_low_i16x8(halves.0), i32x4_extend_high_i16x8(halves.0)].map(|v| Self::finite(i32x4_shl(v, 13)))
    }
    #[inline(always)] pub fn from_pairs(halves: I16x8) -> [Self; 2] {
        let upper = v128_and(halves.0, i32x4_splat(0xffff_0000_u32 as i32));
        [i32x4_shl(halves.0, 16), upper].map(Self::upper_halves)
    }
    #[inline(always)] pub fn add(self, by: Self) -> Self { Self(f32x4_add(self.0, by.0)) }
    #[inline(always)] pub fn sub(self, by: Self) -> Self { Self(f32x4_sub(self.0, by.0)) }
    #[inline(always)] pub fn mul(self, by: Self) -> Self { Self(f32x4_mul(self.0, by.0)) }
    #[inline(always)] pub fn div(self, by: Self) -> Self { Self(f32x4_div(self.0, by.0)) }
    #[inline(always)] pub fn min(self, by: Self) -> Self { Self(f32x4_pmin(self.0, by.0)) }
    #[inline(always)] pub fn max(self, by: Self) -> Self { Self(f32x4_pmax(self.0, by.0)) }
    #[inline(always)] pub fn sums([a, b, c, d]: [Self; 4]) -> Self {
        let ab = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a.0, b.0), i32x4_shuffle::<2, 6, 3, 7>(a.0, b.0));
        let cd = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(c.0, d.0), i32x4_shuffle::<2, 6, 3, 7>(c.0, d.0));
        Self(f32x4_add(i64x2_shuffle::<0, 2>(ab, cd), i64x2_shuffle::<1, 3>(ab, cd)))
    }
    #[inline(always)] pub fn unzip(self, by: Self) -> [Self; 2] {
        [i32x4_shuffle::<0, 2, 4, 6>(self.0, by.0), i32x4_shuffle::<1, 3, 5, 7>(self.0, by.0)].map(Self)
    }
    #[inline(always)] pub fn two_to(self) -> Self { Self(i32x4_add(i32x4_shl(self.0, 23), i32x4_splat(0x3f80_0000))) }
    #[inline(always)] pub fn values(self) -> [f32; 4] { must_cast(self.0) }
}
