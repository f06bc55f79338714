//! Vectors of 128 bits, made of instructions that every processor of a target has: simd128 in wasm, SSE2 on x86-64; arrays
//! elsewhere. Results are the same bits on all of them.

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
pub use plain::{F32x4, I16x8, I32x4};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::{F32x4, I16x8, I32x4};
#[cfg(target_arch = "x86_64")]
pub use x86::{F32x4, I16x8, I32x4};

/// The vectors on arrays: what their functions compute.
#[cfg(any(test, not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))))]
mod plain {
    use std::array::from_fn;

    /// Eight 16-bit integers.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct I16x8(pub [i16; 8]);

    /// Four 32-bit integers.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct I32x4(pub [i32; 4]);

    /// Four 32-bit floats.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct F32x4(pub [f32; 4]);

    impl I16x8 {
        /// Eight values.
        pub fn new(values: [i16; 8]) -> Self {
            Self(values)
        }

        /// Eight values from 16 bytes, little-endian.
        pub fn from_bytes(bytes: [u8; 16]) -> Self {
            Self(from_fn(|i| i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])))
        }

        /// The first and the last eight of 16 signed bytes.
        pub fn from_signed(bytes: [u8; 16]) -> [Self; 2] {
            [0, 8].map(|first| Self(from_fn(|i| i16::from(bytes[first + i] as i8))))
        }

        /// The first and the last eight of 16 unsigned bytes.
        pub fn from_unsigned(bytes: [u8; 16]) -> [Self; 2] {
            [0, 8].map(|first| Self(from_fn(|i| i16::from(bytes[first + i]))))
        }

        /// One value eight times.
        pub fn splat(value: i16) -> Self {
            Self([value; 8])
        }

        /// Sums of products of neighbours: `a[2i] · b[2i] + a[2i + 1] · b[2i + 1]`.
        pub fn dot(self, by: Self) -> I32x4 {
            let product = |i: usize| i32::from(self.0[i]) * i32::from(by.0[i]);
            I32x4(from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
        }

        fn with(self, by: Self, f: impl Fn(i16, i16) -> i16) -> Self {
            Self(from_fn(|i| f(self.0[i], by.0[i])))
        }

        /// Bitwise and.
        pub fn and(self, by: Self) -> Self {
            self.with(by, |a, b| a & b)
        }

        /// Wrapping sums.
        pub fn add(self, by: Self) -> Self {
            self.with(by, i16::wrapping_add)
        }

        /// Wrapping differences.
        pub fn sub(self, by: Self) -> Self {
            self.with(by, i16::wrapping_sub)
        }

        /// Differences of unsigned numbers, 0 where they would be negative.
        pub fn saturating_sub(self, by: Self) -> Self {
            self.with(by, |a, b| (a as u16).saturating_sub(b as u16) as i16)
        }

        /// The low halves of products.
        pub fn mul(self, by: Self) -> Self {
            self.with(by, i16::wrapping_mul)
        }

        /// All bits where the values are equal, none elsewhere.
        pub fn equal(self, to: Self) -> Self {
            self.with(to, |a, b| if a == b { -1 } else { 0 })
        }

        /// Shifts right by `N` bits, zeros from the left.
        pub fn shift_right<const N: i32>(self) -> Self {
            self.with(self, |a, _| ((a as u16) >> N) as i16)
        }

        /// The first, and the last, four values as 32-bit integers.
        pub fn widen(self) -> [I32x4; 2] {
            [0, 4].map(|first| I32x4(from_fn(|i| self.0[first + i].into())))
        }
    }

    impl I32x4 {
        /// Wrapping sums.
        pub fn add(self, by: Self) -> Self {
            Self(from_fn(|i| self.0[i].wrapping_add(by.0[i])))
        }

        /// As floats, to nearest.
        pub fn to_floats(self) -> F32x4 {
            F32x4(self.0.map(|v| v as f32))
        }

        /// The wrapping sum of each vector's values.
        pub fn sums(of: [Self; 4]) -> Self {
            Self(of.map(|v| v.0.iter().fold(0, |sum, &v| i32::wrapping_add(sum, v))))
        }
    }

    impl F32x4 {
        /// Four values.
        pub fn new(values: [f32; 4]) -> Self {
            Self(values)
        }

        /// One value four times.
        pub fn splat(value: f32) -> Self {
            Self([value; 4])
        }

        /// The floats whose upper halves are the first, and the last, four of eight 16-bit integers: of bf16.
        pub fn from_upper(halves: I16x8) -> [Self; 2] {
            [0, 4].map(|first| Self(from_fn(|i| f32::from_bits(u32::from(halves.0[first + i] as u16) << 16))))
        }

        /// The first, and the last, four of eight f16; those that are not finite stay so.
        pub fn from_halves(halves: I16x8) -> [Self; 2] {
            [0, 4].map(|first| Self(from_fn(|i| half::f16::from_bits(halves.0[first + i] as u16).to_f32())))
        }

        /// Eight f16: those at even places, and those at odd ones. Those that are not finite stay so.
        pub fn from_pairs(halves: I16x8) -> [Self; 2] {
            [0, 1].map(|first| Self(from_fn(|i| half::f16::from_bits(halves.0[2 * i + first] as u16).to_f32())))
        }

        /// Sums.
        pub fn add(self, by: Self) -> Self {
            Self(from_fn(|i| self.0[i] + by.0[i]))
        }

        /// Differences.
        pub fn sub(self, by: Self) -> Self {
            Self(from_fn(|i| self.0[i] - by.0[i]))
        }

        /// Products.
        pub fn mul(self, by: Self) -> Self {
            Self(from_fn(|i| self.0[i] * by.0[i]))
        }

        /// Quotients.
        pub fn div(self, by: Self) -> Self {
            Self(from_fn(|i| self.0[i] / by.0[i]))
        }

        /// The smaller values; those of `self` that are no numbers stay.
        pub fn min(self, by: Self) -> Self {
            Self(from_fn(|i| if by.0[i] < self.0[i] { by.0[i] } else { self.0[i] }))
        }

        /// The larger values; those of `self` that are no numbers stay.
        pub fn max(self, by: Self) -> Self {
            Self(from_fn(|i| if self.0[i] < by.0[i] { by.0[i] } else { self.0[i] }))
        }

        /// The sum of each vector's values: of the first and third, and of the second and fourth, added.
        pub fn sums(of: [Self; 4]) -> Self {
            Self(of.map(|v| (v.0[0] + v.0[2]) + (v.0[1] + v.0[3])))
        }

        /// The values at even places of both, and those at odd ones.
        pub fn unzip(self, by: Self) -> [Self; 2] {
            [0, 1].map(|i| Self([self.0[i], self.0[2 + i], by.0[i], by.0[2 + i]]))
        }

        /// 2ⁿ, where values are `1.5 · 2²³ + n` and n is from -126 to 127.
        pub fn two_to(self) -> Self {
            Self(self.0.map(|v| f32::from_bits((v.to_bits() << 23).wrapping_add(0x3f80_0000))))
        }

        /// The four values.
        pub fn values(self) -> [f32; 4] {
            self.0
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
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
    pub struct I16x8(__m128i);
    #[derive(Debug, Clone, Copy)]
    pub struct I32x4(__m128i);
    #[derive(Debug, Clone, Copy)]
    pub struct F32x4(__m128);

    #[allow(missing_docs)] // see `plain`
    #[rustfmt::skip]
    impl I16x8 {
        #[inline(always)] pub fn new(values: [i16; 8]) -> Self { Self(must_cast(values)) }
        #[inline(always)] pub fn from_bytes(bytes: [u8; 16]) -> Self { Self(must_cast(bytes)) }
        #[inline(always)] pub fn from_signed(bytes: [u8; 16]) -> [Self; 2] {
            let v = must_cast(bytes);
            sse2!([_mm_srai_epi16::<8>(_mm_unpacklo_epi8(v, v)), _mm_srai_epi16::<8>(_mm_unpackhi_epi8(v, v))]).map(Self)
        }
        #[inline(always)] pub fn from_unsigned(bytes: [u8; 16]) -> [Self; 2] {
            let (v, zero) = (must_cast(bytes), must_cast([0u8; 16]));
            sse2!([_mm_unpacklo_epi8(v, zero), _mm_unpackhi_epi8(v, zero)]).map(Self)
        }
        #[inline(always)] pub fn splat(value: i16) -> Self { Self(sse2!(_mm_set1_epi16(value))) }
        #[inline(always)] pub fn dot(self, by: Self) -> I32x4 { I32x4(sse2!(_mm_madd_epi16(self.0, by.0))) }
        #[inline(always)] pub fn and(self, by: Self) -> Self { Self(sse2!(_mm_and_si128(self.0, by.0))) }
        #[inline(always)] pub fn add(self, by: Self) -> Self { Self(sse2!(_mm_add_epi16(self.0, by.0))) }
        #[inline(always)] pub fn sub(self, by: Self) -> Self { Self(sse2!(_mm_sub_epi16(self.0, by.0))) }
        #[inline(always)] pub fn saturating_sub(self, by: Self) -> Self { Self(sse2!(_mm_subs_epu16(self.0, by.0))) }
        #[inline(always)] pub fn mul(self, by: Self) -> Self { Self(sse2!(_mm_mullo_epi16(self.0, by.0))) }
        #[inline(always)] pub fn equal(self, to: Self) -> Self { Self(sse2!(_mm_cmpeq_epi16(self.0, to.0))) }
        #[inline(always)] pub fn shift_right<const N: i32>(self) -> Self { Self(sse2!(_mm_srli_epi16::<N>(self.0))) }
        #[inline(always)] pub fn widen(self) -> [I32x4; 2] {
            sse2!([_mm_unpacklo_epi16(self.0, self.0), _mm_unpackhi_epi16(self.0, self.0)])
                .map(|v| I32x4(sse2!(_mm_srai_epi32::<16>(v))))
        }
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
            sse2!([_mm_unpacklo_epi16(zero, halves.0), _mm_unpackhi_epi16(zero, halves.0)]).map(|v| Self(must_cast(v)))
        }
        /// The values of f16 in the upper halves of 32 bits, whose lower halves are zero.
        #[inline(always)] fn upper_halves(bits: __m128i) -> Self {
            Self(sse2!({
                let exponent = _mm_set1_epi32(0x7c00_0000);
                let endless = _mm_cmpeq_epi32(_mm_and_si128(bits, exponent), exponent);
                let moved = _mm_and_si128(_mm_srai_epi32::<3>(bits), _mm_set1_epi32(0x8fff_e000_u32 as i32));
                let scaled = _mm_mul_ps(_mm_castsi128_ps(moved), _mm_set1_ps(f32::from_bits(0x7780_0000)));
                _mm_or_ps(scaled, _mm_castsi128_ps(_mm_and_si128(endless, _mm_set1_epi32(0x7f80_0000))))
            }))
        }
        #[inline(always)] pub fn from_halves(halves: I16x8) -> [Self; 2] {
            Self::from_upper(halves).map(|v| Self::upper_halves(must_cast(v.0)))
        }
        #[inline(always)] pub fn from_pairs(halves: I16x8) -> [Self; 2] {
            let upper = must_cast([0xffff_0000_u32; 4]);
            sse2!([_mm_slli_epi32::<16>(halves.0), _mm_and_si128(halves.0, upper)]).map(Self::upper_halves)
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
            sse2!([_mm_shuffle_ps::<0x88>(self.0, by.0), _mm_shuffle_ps::<0xdd>(self.0, by.0)]).map(Self)
        }
        #[inline(always)] pub fn two_to(self) -> Self {
            let bits = must_cast(self.0);
            Self(must_cast(sse2!(_mm_add_epi32(_mm_slli_epi32::<23>(bits), _mm_set1_epi32(0x3f80_0000)))))
        }
        #[inline(always)] pub fn values(self) -> [f32; 4] { must_cast(self.0) }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm {
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
        #[inline(always)] pub fn equal(self, to: Self) -> Self { Self(i16x8_eq(self.0, to.0)) }
        #[inline(always)] pub fn shift_right<const N: i32>(self) -> Self { Self(u16x8_shr(self.0, N as u32)) }
        #[inline(always)] pub fn widen(self) -> [I32x4; 2] {
            [I32x4(i32x4_extend_low_i16x8(self.0)), I32x4(i32x4_extend_high_i16x8(self.0))]
        }
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
        /// The values of f16 in the upper halves of 32 bits, whose lower halves are zero.
        #[inline(always)] fn upper_halves(bits: v128) -> Self {
            let exponent = i32x4_splat(0x7c00_0000);
            let endless = i32x4_eq(v128_and(bits, exponent), exponent);
            let moved = v128_and(i32x4_shr(bits, 3), i32x4_splat(0x8fff_e000_u32 as i32));
            let scaled = f32x4_mul(moved, f32x4_splat(f32::from_bits(0x7780_0000)));
            Self(v128_or(scaled, v128_and(endless, i32x4_splat(0x7f80_0000))))
        }
        #[inline(always)] pub fn from_halves(halves: I16x8) -> [Self; 2] {
            Self::from_upper(halves).map(|v| Self::upper_halves(v.0))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    fn bits(v: [F32x4; 2]) -> Vec<u32> {
        v.iter().flat_map(|v| v.values().map(f32::to_bits)).collect()
    }

    /// The arithmetic of floats on any bits.
    fn same_floats([a, b]: [[f32; 4]; 2]) {
        let (f, g, h, i) = (F32x4::new(a), F32x4::new(b), plain::F32x4::new(a), plain::F32x4::new(b));
        let nan = F32x4::splat(f32::NAN);
        let got = [f.sub(g), f.div(g), f.min(g), f.max(g), nan.min(f), nan.max(f), F32x4::sums([f, g, g, f])];
        let nan = plain::F32x4::splat(f32::NAN);
        let want = [h.sub(i), h.div(i), h.min(i), h.max(i), nan.min(h), nan.max(h), plain::F32x4::sums([h, i, i, h])];
        let [even, odd] = f.unzip(g);
        let [plain_even, plain_odd] = h.unzip(i);
        let got = got.into_iter().chain([even, odd, f.two_to()]).flat_map(F32x4::values);
        let want = want.into_iter().chain([plain_even, plain_odd, h.two_to()]).flat_map(plain::F32x4::values);
        for (got, want) in got.zip(want) {
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{got} {want} of {a:?} {b:?}");
        }
    }

    #[test]
    fn a_target_s_instructions_compute_what_arrays_do() {
        let mut random = Random(1);
        for round in 0..2000 {
            let mut bytes = || -> [u8; 16] { bytemuck::must_cast([random.next(), random.next()]) };
            let (a, b) = (bytes(), bytes());
            let (x, y) = (I16x8::from_bytes(a), I16x8::from_bytes(b));
            let (p, q) = (plain::I16x8::from_bytes(a), plain::I16x8::from_bytes(b));
            let same = |x: I16x8, p: plain::I16x8| {
                // Sums of neighbours' products with unit vectors tell each lane.
                for lane in 0..8 {
                    let one = std::array::from_fn(|i| i16::from(i == lane));
                    assert_eq!(p.dot(plain::I16x8::new(one)).0[lane / 2], i32::from(p.0[lane]));
                    let got = x.dot(I16x8::new(one)).to_floats().values()[lane / 2];
                    assert_eq!(got, f32::from(p.0[lane]), "round {round}, lane {lane}");
                }
            };
            for (x, p) in I16x8::from_signed(a).into_iter().zip(plain::I16x8::from_signed(a)) {
                same(x, p);
            }
            for (x, p) in I16x8::from_unsigned(a).into_iter().zip(plain::I16x8::from_unsigned(a)) {
                same(x, p);
            }
            same(x.and(y), p.and(q));
            same(x.add(y), p.add(q));
            same(x.sub(y), p.sub(q));
            same(x.mul(y), p.mul(q));
            same(x.saturating_sub(y), p.saturating_sub(q));
            same(x.equal(x.and(I16x8::splat(7))), p.equal(p.and(plain::I16x8::splat(7))));
            same(x.shift_right::<4>(), p.shift_right::<4>());
            same(x.shift_right::<12>(), p.shift_right::<12>());
            let dot = x.dot(y).add(x.dot(x)).to_floats().values();
            assert_eq!(dot, p.dot(q).add(p.dot(p)).to_floats().values());
            let four = [x.dot(y), x.dot(x), y.dot(y), y.dot(x.add(y))];
            let plain_four = [p.dot(q), p.dot(p), q.dot(q), q.dot(p.add(q))];
            let sums = plain::I32x4::sums(plain_four).to_floats().values();
            assert_eq!(I32x4::sums(four).to_floats().values(), sums);
            let floats = [x.dot(y).to_floats().values(), x.dot(x).to_floats().values()];
            let [f, g] = floats.map(F32x4::new);
            let [h, i] = floats.map(plain::F32x4::new);
            let half = (F32x4::splat(0.5), plain::F32x4::splat(0.5));
            assert_eq!(f.add(g).mul(half.0).values(), h.add(i).mul(half.1).values());
            for (i, w) in x.widen().into_iter().zip(p.widen()) {
                assert_eq!(i.to_floats().values(), w.to_floats().values());
            }
            same_floats([a, b].map(bytemuck::must_cast));
            let upper = plain::F32x4::from_upper(p);
            assert_eq!(
                bits(F32x4::from_upper(x)),
                upper.iter().flat_map(|v| v.0.map(f32::to_bits)).collect::<Vec<_>>()
            );
            let halves = [plain::F32x4::from_halves(p), plain::F32x4::from_pairs(p)].concat();
            let got = [F32x4::from_halves(x), F32x4::from_pairs(x)].concat();
            for (got, want) in got.iter().flat_map(|v| v.values()).zip(halves.iter().flat_map(|v| v.values())) {
                assert!(got == want || got.is_nan() && want.is_nan(), "{got} {want}");
            }
        }
    }
}
