//! The vectors on arrays: what their functions compute.

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

    /// Sums of two products each. Of which lanes they are is for each target to choose; here they are neighbours.
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

    /// The larger values.
    pub fn max(self, by: Self) -> Self {
        self.with(by, i16::max)
    }

    /// All bits where the values are equal, none elsewhere.
    pub fn equal(self, to: Self) -> Self {
        self.with(to, |a, b| if a == b { -1 } else { 0 })
    }

    /// Shifts right by `N` bits, zeros from the left.
    pub fn shift_right<const N: i32>(self) -> Self {
        self.with(self, |a, _| ((a as u16) >> N) as i16)
    }

    /// The lower halves of the bits of eight floats.
    pub fn lower_halves(of: [F32x4; 2]) -> Self {
        Self(from_fn(|i| of[i / 4].0[i % 4].to_bits() as i16))
    }

    /// The first, and the last, four values as 32-bit integers.
    pub fn widen(self) -> [I32x4; 2] {
        [0, 4].map(|first| I32x4(from_fn(|i| self.0[first + i].into())))
    }

    /// The eight values.
    pub fn values(self) -> [i16; 8] {
        self.0
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

    /// The first, and the last, four of eight f16 that are finite.
    pub fn from_finite_halves(halves: I16x8) -> [Self; 2] {
        Self::from_halves(halves)
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
