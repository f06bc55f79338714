//! Vectors of 256 bits: pairs of vectors of 128 bits, or what computes the same.

use super::{F32x4, I16x8, I32x4};

/// A set of instructions for vectors of 256 bits. A value of it says that the processor has them.
pub trait Wide: Copy {
    /// Whether a register holds such a vector, so that twice as much fits in all of them.
    const WHOLE: bool;
    /// Sixteen 16-bit integers.
    type Integers: Integers<Sums = Self::Sums>;
    /// Eight 32-bit integers.
    type Sums: Sums;
    /// Eight 32-bit floats.
    type Floats: Floats;

    /// The integers of two vectors.
    fn integers(self, halves: [I16x8; 2]) -> Self::Integers;
    /// The same of vectors in memory.
    fn load(self, halves: &[I16x8; 2]) -> Self::Integers;
    /// Sixteen signed bytes.
    fn signed(self, bytes: [u8; 16]) -> Self::Integers;
    /// Sixteen unsigned bytes.
    fn unsigned(self, bytes: [u8; 16]) -> Self::Integers;
    /// The nibbles of eight 16-bit words: the lowest of each, and the next; then the third, and the highest.
    fn nibbles(self, bytes: [u8; 16]) -> [Self::Integers; 2];
    /// The floats of two vectors.
    fn floats(self, halves: [F32x4; 2]) -> Self::Floats;
    /// The same of vectors in memory.
    fn load_floats(self, halves: &[F32x4; 2]) -> Self::Floats;
    /// The floats whose upper halves are eight 16-bit integers: of bf16.
    fn of_upper(self, halves: I16x8) -> Self::Floats;
    /// Eight f16 that are finite.
    fn of_finite_halves(self, halves: I16x8) -> Self::Floats;
    /// Eight f16; those that are not finite stay so.
    fn of_halves(self, halves: I16x8) -> Self::Floats;
    /// Eight f16: those at even places, and those at odd ones. Those that are not finite stay so.
    fn of_pairs(self, halves: I16x8) -> [F32x4; 2];

    /// A vector of 16-bit integers twice.
    #[inline(always)]
    fn twice(self, half: I16x8) -> Self::Integers {
        self.integers([half; 2])
    }
}

/// Sixteen 16-bit integers; what functions compute is as in [`I16x8`].
#[allow(missing_docs)] // see there
pub trait Integers: Copy {
    type Sums;
    fn dot(self, by: Self) -> Self::Sums;
    fn and(self, by: Self) -> Self;
    fn add(self, by: Self) -> Self;
    fn sub(self, by: Self) -> Self;
    fn saturating_sub(self, by: Self) -> Self;
    fn mul(self, by: Self) -> Self;
    fn equal(self, to: Self) -> Self;
    fn shift_right<const N: i32>(self) -> Self;
}

/// Eight 32-bit integers; sums wrap.
pub trait Sums: Copy {
    /// Sums of values.
    fn add(self, by: Self) -> Self;
    /// The sum of each vector's values.
    fn sums(of: [Self; 4]) -> I32x4;
    /// The sum of each vector's first four values, and of its last four.
    fn half_sums(of: [Self; 4]) -> [I32x4; 2];
}

/// Eight 32-bit floats.
pub trait Floats: Copy {
    /// Sums.
    fn add(self, by: Self) -> Self;
    /// Products.
    fn mul(self, by: Self) -> Self;
    /// The first and the last four.
    fn halves(self) -> [F32x4; 2];
}

/// What is done on wide vectors. Its function is compiled for each set of instructions, with all that is inlined into it; what is not
/// is compiled without them, and then calls each as a function. Closures given to functions of the standard library, such as arrays'
/// `map`, are in danger of that: where vectors are wide, hot loops are plain ones.
pub trait Work {
    /// What it makes.
    type Made;
    /// Does the work. It is inlined always, and so must be what it calls.
    fn run<W: Wide>(self, wide: W) -> Self::Made;
}

/// Pairs of vectors of 128 bits, which every processor has.
#[derive(Debug, Clone, Copy)]
pub struct Pairs;

/// A pair of vectors.
#[derive(Debug, Clone, Copy)]
pub struct Pair<T>(T, T);

#[rustfmt::skip]
impl Wide for Pairs {
    const WHOLE: bool = false;
    type Integers = Pair<I16x8>;
    type Sums = Pair<I32x4>;
    type Floats = Pair<F32x4>;

    #[inline(always)] fn integers(self, [a, b]: [I16x8; 2]) -> Pair<I16x8> { Pair(a, b) }
    #[inline(always)] fn load(self, halves: &[I16x8; 2]) -> Pair<I16x8> { self.integers(*halves) }
    #[inline(always)] fn signed(self, bytes: [u8; 16]) -> Pair<I16x8> { self.integers(I16x8::from_signed(bytes)) }
    #[inline(always)] fn unsigned(self, bytes: [u8; 16]) -> Pair<I16x8> { self.integers(I16x8::from_unsigned(bytes)) }
    #[inline(always)] fn nibbles(self, bytes: [u8; 16]) -> [Pair<I16x8>; 2] {
        let (words, low) = (I16x8::from_bytes(bytes), I16x8::splat(15));
        let (second, third) = (words.shift_right::<4>().and(low), words.shift_right::<8>().and(low));
        [Pair(words.and(low), second), Pair(third, words.shift_right::<12>())]
    }
    #[inline(always)] fn floats(self, [a, b]: [F32x4; 2]) -> Pair<F32x4> { Pair(a, b) }
    #[inline(always)] fn load_floats(self, halves: &[F32x4; 2]) -> Pair<F32x4> { self.floats(*halves) }
    #[inline(always)] fn of_upper(self, halves: I16x8) -> Pair<F32x4> { self.floats(F32x4::from_upper(halves)) }
    #[inline(always)] fn of_finite_halves(self, halves: I16x8) -> Pair<F32x4> {
        self.floats(F32x4::from_finite_halves(halves))
    }
    #[inline(always)] fn of_halves(self, halves: I16x8) -> Pair<F32x4> { self.floats(F32x4::from_halves(halves)) }
    #[inline(always)] fn of_pairs(self, halves: I16x8) -> [F32x4; 2] { F32x4::from_pairs(halves) }
}

#[rustfmt::skip]
impl Integers for Pair<I16x8> {
    type Sums = Pair<I32x4>;
    #[inline(always)] fn dot(self, by: Self) -> Pair<I32x4> { Pair(self.0.dot(by.0), self.1.dot(by.1)) }
    #[inline(always)] fn and(self, by: Self) -> Self { Self(self.0.and(by.0), self.1.and(by.1)) }
    #[inline(always)] fn add(self, by: Self) -> Self { Self(self.0.add(by.0), self.1.add(by.1)) }
    #[inline(always)] fn sub(self, by: Self) -> Self { Self(self.0.sub(by.0), self.1.sub(by.1)) }
    #[inline(always)] fn saturating_sub(self, by: Self) -> Self {
        Self(self.0.saturating_sub(by.0), self.1.saturating_sub(by.1))
    }
    #[inline(always)] fn mul(self, by: Self) -> Self { Self(self.0.mul(by.0), self.1.mul(by.1)) }
    #[inline(always)] fn equal(self, to: Self) -> Self { Self(self.0.equal(to.0), self.1.equal(to.1)) }
    #[inline(always)] fn shift_right<const N: i32>(self) -> Self {
        Self(self.0.shift_right::<N>(), self.1.shift_right::<N>())
    }
}

#[rustfmt::skip]
impl Sums for Pair<I32x4> {
    #[inline(always)] fn add(self, by: Self) -> Self { Self(self.0.add(by.0), self.1.add(by.1)) }
    #[inline(always)] fn sums([a, b, c, d]: [Self; 4]) -> I32x4 {
        I32x4::sums([a.0.add(a.1), b.0.add(b.1), c.0.add(c.1), d.0.add(d.1)])
    }
    #[inline(always)] fn half_sums([a, b, c, d]: [Self; 4]) -> [I32x4; 2] {
        [I32x4::sums([a.0, b.0, c.0, d.0]), I32x4::sums([a.1, b.1, c.1, d.1])]
    }
}

#[rustfmt::skip]
impl Floats for Pair<F32x4> {
    #[inline(always)] fn add(self, by: Self) -> Self { Self(self.0.add(by.0), self.1.add(by.1)) }
    #[inline(always)] fn mul(self, by: Self) -> Self { Self(self.0.mul(by.0), self.1.mul(by.1)) }
    #[inline(always)] fn halves(self) -> [F32x4; 2] { [self.0, self.1] }
}
