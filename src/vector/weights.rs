//! Weights of each layout as vectors: codes and factors of a group, or numbers.

use super::input::Order;
use super::lanes::{F32x4, Floats, I16x8, Integers, Wide};

/// What the codes of a group are multiplied with.
#[derive(Clone, Copy)]
pub struct Factors {
    /// The scale of the group, or of its first 16 weights.
    pub scale: f32,
    /// The scale of the last 16 weights, where they have one of their own ([`Codes::HALVES`]).
    pub second: f32,
    /// Added to every weight.
    pub minimum: f32,
}

impl Factors {
    #[inline(always)]
    fn scale(scale: f32) -> Self {
        Self { scale, second: scale, minimum: 0.0 }
    }
}

/// A layout of integers with factors. `scales` is a row of its plane.
pub trait Codes {
    /// The order in which [`Self::codes`] has a group's weights.
    const ORDER: Order = Order::Nibbles;
    /// Whether the last 16 weights of a group have a scale of their own: they are in the vectors' last halves.
    const HALVES: bool = false;

    /// Bytes of a group in the codes plane.
    const BYTES: usize = 16;

    /// The codes of group `g`, whose bytes in the codes plane are `group`: its nibbles, unless the format says otherwise.
    #[inline(always)]
    fn codes<W: Wide>(wide: W, group: &[u8], _scales: &[u8], _g: usize) -> [W::Integers; 2] {
        wide.nibbles(sixteen(group, 0))
    }

    /// The factors of group `g`.
    fn factors(scales: &[u8], g: usize) -> Factors;

    /// The scales, second scales and minimums of four groups from `g` on.
    #[inline(always)]
    fn four_factors<W: Wide>(_wide: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        let [a, b, c, d] = [
            Self::factors(scales, g),
            Self::factors(scales, g + 1),
            Self::factors(scales, g + 2),
            Self::factors(scales, g + 3),
        ];
        [
            F32x4::new([a.scale, b.scale, c.scale, d.scale]),
            F32x4::new([a.second, b.second, c.second, d.second]),
            F32x4::new([a.minimum, b.minimum, c.minimum, d.minimum]),
        ]
    }
}

#[inline(always)]
fn sixteen(bytes: &[u8], at: usize) -> [u8; 16] {
    bytes[at..at + 16].try_into().expect("16 bytes")
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// The lower half of a word four times, then the upper.
#[inline(always)]
fn four_times(word: u32) -> I16x8 {
    let (a, b) = (word as i16, (word >> 16) as i16);
    I16x8::new([a, a, a, a, b, b, b, b])
}

/// The value of an f16 at `at`; those that are not finite stay so.
#[inline(always)]
fn half(bytes: &[u8], at: usize) -> f32 {
    let bits = u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])) << 16;
    let scaled = f32::from_bits(((bits as i32 >> 3) as u32) & 0x8fff_e000) * f32::from_bits(0x7780_0000);
    if bits & 0x7c00_0000 == 0x7c00_0000 { f32::NAN } else { scaled }
}

/// The values of four f16 from `at` on.
#[inline(always)]
fn four_halves<W: Wide>(wide: W, bytes: &[u8], at: usize) -> F32x4 {
    let eight: [u8; 8] = bytes[at..at + 8].try_into().expect("8 bytes");
    wide.of_halves(I16x8::from_bytes(bytemuck::must_cast([eight, [0; 8]]))).halves()[0]
}

/// See [`Format`](super::Format).
pub struct Q8;
impl Codes for Q8 {
    const ORDER: Order = Order::Natural;
    const BYTES: usize = 32;

    #[inline(always)]
    fn codes<W: Wide>(wide: W, group: &[u8], _: &[u8], _: usize) -> [W::Integers; 2] {
        [wide.signed(sixteen(group, 0)), wide.signed(sixteen(group, 16))]
    }

    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        Factors::scale(half(scales, 2 * g))
    }

    #[inline(always)]
    fn four_factors<W: Wide>(wide: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        let scale = four_halves(wide, scales, 2 * g);
        [scale, scale, F32x4::splat(0.0)]
    }
}

/// See [`Format`](super::Format).
pub struct Q8Min;
impl Codes for Q8Min {
    const ORDER: Order = Order::Natural;
    const BYTES: usize = 32;

    #[inline(always)]
    fn codes<W: Wide>(wide: W, group: &[u8], _: &[u8], _: usize) -> [W::Integers; 2] {
        [wide.unsigned(sixteen(group, 0)), wide.unsigned(sixteen(group, 16))]
    }

    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        Factors { minimum: half(scales, 4 * g + 2), ..Factors::scale(half(scales, 4 * g)) }
    }

    #[inline(always)]
    fn four_factors<W: Wide>(wide: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        let [scale, minimum] = wide.of_pairs(I16x8::from_bytes(sixteen(scales, 4 * g)));
        [scale, scale, minimum]
    }
}

/// See [`Format`](super::Format).
pub struct Q4;
impl Codes for Q4 {
    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        let scale = half(scales, 2 * g);
        Factors { minimum: -8.0 * scale, ..Factors::scale(scale) }
    }

    #[inline(always)]
    fn four_factors<W: Wide>(wide: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        let scale = four_halves(wide, scales, 2 * g);
        [scale, scale, scale.mul(F32x4::splat(-8.0))]
    }
}

/// See [`Format`](super::Format).
pub struct Q4Min;
impl Codes for Q4Min {
    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        Q8Min::factors(scales, g)
    }

    #[inline(always)]
    fn four_factors<W: Wide>(wide: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        Q8Min::four_factors(wide, scales, g)
    }
}

/// Scale and minimum of a group in a super-block that begins at `at`.
#[inline(always)]
fn k_factors(scales: &[u8], at: usize, g: usize) -> Factors {
    let g = g % 8;
    let high = word(scales, at + 12);
    let scale = word(scales, at + 4) >> (4 * g) & 15 | (high >> (2 * g) & 3) << 4;
    let minimum = word(scales, at + 8) >> (4 * g) & 15 | (high >> (16 + 2 * g) & 3) << 4;
    Factors { minimum: -half(scales, at + 2) * minimum as f32, ..Factors::scale(half(scales, at) * scale as f32) }
}

/// The scales, twice, and the minimums of four groups of a super-block that begins at `at`, from group `g`, a multiple of four, on.
#[inline(always)]
fn four_k_factors(scales: &[u8], at: usize, g: usize) -> [F32x4; 3] {
    let shift = g % 8;
    let both = |scale: u32, minimum: u32| scale & 0xffff | minimum << 16;
    let low = four_times(both(word(scales, at + 4) >> (4 * shift), word(scales, at + 8) >> (4 * shift)));
    let high = word(scales, at + 12) >> (2 * shift);
    let high = four_times(both(high, high >> 16));
    // Multiplied, the bits of each group come to the upper end of its lane.
    let low = low.mul(I16x8::new([1 << 12, 1 << 8, 1 << 4, 1, 1 << 12, 1 << 8, 1 << 4, 1])).shift_right::<12>();
    let high = high.mul(I16x8::new([1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 14, 1 << 12, 1 << 10, 1 << 8]));
    let [scale, minimum] = low.add(high.shift_right::<10>().and(I16x8::splat(3 << 4))).widen();
    let scale = scale.to_floats().mul(F32x4::splat(half(scales, at)));
    [scale, scale, minimum.to_floats().mul(F32x4::splat(-half(scales, at + 2)))]
}

/// See [`Format`](super::Format).
pub struct Q4K;
impl Codes for Q4K {
    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        k_factors(scales, g / 8 * 16, g)
    }

    #[inline(always)]
    fn four_factors<W: Wide>(_: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        four_k_factors(scales, g / 8 * 16, g)
    }
}

/// See [`Format`](super::Format).
pub struct Q5K;
impl Codes for Q5K {
    #[inline(always)]
    fn codes<W: Wide>(wide: W, group: &[u8], scales: &[u8], g: usize) -> [W::Integers; 2] {
        let fifth = word(scales, g / 8 * 48 + 16 + g % 8 * 4);
        let bits = wide.integers([I16x8::splat(fifth as i16), I16x8::splat((fifth >> 16) as i16)]);
        let even = I16x8::new([1, 1 << 2, 1 << 4, 1 << 6, 1 << 8, 1 << 10, 1 << 12, 1 << 14]);
        let odd = even.add(even);
        let sixteen = wide.twice(I16x8::splat(16));
        let [ab, cd] = wide.nibbles(self::sixteen(group, 0));
        let [even, odd] = [wide.twice(even), wide.twice(odd)];
        [ab.add(bits.and(even).equal(even).and(sixteen)), cd.add(bits.and(odd).equal(odd).and(sixteen))]
    }

    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        k_factors(scales, g / 8 * 48, g)
    }

    #[inline(always)]
    fn four_factors<W: Wide>(_: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        four_k_factors(scales, g / 8 * 48, g)
    }
}

/// See [`Format`](super::Format).
pub struct Q6K;
impl Codes for Q6K {
    const HALVES: bool = true;

    #[inline(always)]
    fn codes<W: Wide>(wide: W, group: &[u8], scales: &[u8], g: usize) -> [W::Integers; 2] {
        let at = g / 8 * 84 + 20 + g % 8 * 8;
        // Each word has the upper two bits of 16 weights; multiplied, those of weight 2i come to bits 12 and 13 of lane i, and those
        // of weight 2i + 1 above them.
        let powers = I16x8::new([1 << 12, 1 << 8, 1 << 4, 1, 1 << 12, 1 << 8, 1 << 4, 1]);
        let (first, last) = (word(scales, at), word(scales, at + 4));
        let upper = wide.integers([four_times(first), four_times(last)]).mul(wide.twice(powers));
        let (three, offset) = (wide.twice(I16x8::splat(3 << 4)), wide.twice(I16x8::splat(32)));
        let [ab, cd] = wide.nibbles(sixteen(group, 0));
        let even = ab.add(upper.shift_right::<8>().and(three)).sub(offset);
        let odd = cd.add(upper.shift_right::<10>().and(three)).sub(offset);
        [even, odd]
    }

    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        let (at, half_group) = (g / 8 * 84, g % 8 * 2);
        let scale = half(scales, at);
        let of = |i: usize| scale * f32::from(scales[at + 4 + half_group + i] as i8);
        Factors { scale: of(0), second: of(1), minimum: 0.0 }
    }

    #[inline(always)]
    fn four_factors<W: Wide>(_: W, scales: &[u8], g: usize) -> [F32x4; 3] {
        let (at, scale) = (g / 8 * 84, F32x4::splat(half(scales, g / 8 * 84)));
        let eight: [u8; 8] = scales[at + 4 + g % 8 * 2..][..8].try_into().expect("8 bytes");
        let [a, b] = I16x8::from_signed(bytemuck::must_cast([eight, [0; 8]]))[0].widen();
        let [first, second] = a.to_floats().unzip(b.to_floats());
        [first.mul(scale), second.mul(scale), F32x4::splat(0.0)]
    }
}

/// See [`Format`](super::Format).
pub struct Mxfp4;
impl Codes for Mxfp4 {
    /// Twice the values of e2m1: magnitudes 0, 1, 2, 3, 4, 6, 8, 12.
    #[inline(always)]
    fn codes<W: Wide>(wide: W, group: &[u8], _: &[u8], _: usize) -> [W::Integers; 2] {
        let (four, six) = (wide.twice(I16x8::splat(4)), wide.twice(I16x8::splat(6)));
        let (seven, sign) = (wide.twice(I16x8::splat(7)), wide.twice(I16x8::splat(8)));
        let mut codes = wide.nibbles(sixteen(group, 0));
        for v in &mut codes {
            let m = v.and(seven);
            let above = m.saturating_sub(six);
            let magnitude = m.add(m.saturating_sub(four)).add(above).add(above);
            let negative = v.and(sign).equal(sign);
            *v = magnitude.sub(magnitude.add(magnitude).and(negative));
        }
        codes
    }

    #[inline(always)]
    fn factors(scales: &[u8], g: usize) -> Factors {
        // Half of 2^(e - 127), since codes are twice the values; 2^-127 and its half are subnormals.
        let e = scales[g];
        Factors::scale(f32::from_bits(u32::from(e) << 23 | u32::from(e == 0) << 22) * 0.5)
    }
}

/// A layout of numbers.
pub trait Numbers {
    /// Bytes of eight numbers.
    const BYTES: usize;

    /// Eight numbers.
    fn eight<W: Wide>(wide: W, bytes: &[u8]) -> W::Floats;
}

/// See [`Format`](super::Format).
pub struct F32;
impl Numbers for F32 {
    const BYTES: usize = 32;

    #[inline(always)]
    fn eight<W: Wide>(wide: W, bytes: &[u8]) -> W::Floats {
        let four = |at: usize| F32x4::new(bytemuck::cast(sixteen(bytes, at)));
        wide.floats([four(0), four(16)])
    }
}

/// See [`Format`](super::Format).
pub struct F16;
impl Numbers for F16 {
    const BYTES: usize = 16;

    #[inline(always)]
    fn eight<W: Wide>(wide: W, bytes: &[u8]) -> W::Floats {
        wide.of_halves(I16x8::from_bytes(sixteen(bytes, 0)))
    }
}

/// See [`Format`](super::Format).
pub struct Bf16;
impl Numbers for Bf16 {
    const BYTES: usize = 16;

    #[inline(always)]
    fn eight<W: Wide>(wide: W, bytes: &[u8]) -> W::Floats {
        wide.of_upper(I16x8::from_bytes(sixteen(bytes, 0)))
    }
}
