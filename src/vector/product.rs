//! Products of rows of weights with rows of inputs.

use std::marker::PhantomData;
use std::ops::Range;

use super::input::Input;
use super::lanes::{F32x4, Floats, I16x8, Integers, Sums, Wide, Work, dispatch};
use super::weights::{Bf16, Codes, F16, F32, Factors, Mxfp4, Numbers, Q4, Q4K, Q4Min, Q5K, Q6K, Q8, Q8Min};

/// How weights lie, as the table of `plan/layout.rs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the table says it
pub enum Format {
    F32,
    F16,
    Bf16,
    Q8,
    Q8Min,
    Q4,
    Q4Min,
    Q4K,
    Q5K,
    Q6K,
    Mxfp4,
}

/// A plane of weights.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Bytes of a row.
    pub row: usize,
}

/// The rows to multiply.
struct Rows<'a> {
    codes: Plane<'a>,
    scales: Plane<'a>,
    count: usize,
    row: &'a dyn Fn(usize) -> usize,
}

impl<'a> Rows<'a> {
    /// The bytes of a row in both planes.
    fn bytes(&self, i: usize) -> (&'a [u8], &'a [u8]) {
        let row = (self.row)(i);
        let of = |plane: Plane<'a>| &plane.bytes[row * plane.row..][..plane.row];
        (of(self.codes), of(self.scales))
    }
}

/// The products of `count` rows, of which `row` says which, with each of `inputs`: for each input, a value for each row. Integer
/// weights meet inputs rounded to 16 bits; other weights meet f32.
pub fn products(
    format: Format,
    codes: Plane<'_>,
    scales: Plane<'_>,
    count: usize,
    row: &dyn Fn(usize) -> usize,
    inputs: &[Vec<f32>],
) -> Vec<Vec<f32>> {
    let rows = &Rows { codes, scales, count, row };
    match format {
        Format::F32 => dispatch(OfNumbers::<F32>::new(rows, inputs)),
        Format::F16 => dispatch(OfNumbers::<F16>::new(rows, inputs)),
        Format::Bf16 => dispatch(OfNumbers::<Bf16>::new(rows, inputs)),
        Format::Q8 => dispatch(OfCodes::<Q8>::new(rows, inputs)),
        Format::Q8Min => dispatch(OfCodes::<Q8Min>::new(rows, inputs)),
        Format::Q4 => dispatch(OfCodes::<Q4>::new(rows, inputs)),
        Format::Q4Min => dispatch(OfCodes::<Q4Min>::new(rows, inputs)),
        Format::Q4K => dispatch(OfCodes::<Q4K>::new(rows, inputs)),
        Format::Q5K => dispatch(OfCodes::<Q5K>::new(rows, inputs)),
        Format::Q6K => dispatch(OfCodes::<Q6K>::new(rows, inputs)),
        Format::Mxfp4 => dispatch(OfCodes::<Mxfp4>::new(rows, inputs)),
    }
}

/// Four inputs, group by group.
struct Four {
    codes: Vec<[[[I16x8; 2]; 2]; 4]>,
    scales: Vec<F32x4>,
    sums: Vec<F32x4>,
}

impl Four {
    fn new(inputs: &[Input; 4]) -> Self {
        let groups = inputs[0].codes.len();
        let each = |of: fn(&Input) -> &[f32]| {
            let four = |g: usize| F32x4::new([0, 1, 2, 3].map(|n| of(&inputs[n])[g]));
            (0..groups).map(four).collect()
        };
        Self {
            codes: (0..groups).map(|g| [0, 1, 2, 3].map(|n| inputs[n].codes[g])).collect(),
            scales: each(|input| &input.scales),
            sums: each(|input| &input.sums),
        }
    }
}

/// The products of rows of codes with inputs.
struct OfCodes<'a, C> {
    rows: &'a Rows<'a>,
    inputs: Vec<Input>,
    layout: PhantomData<C>,
}

impl<'a, C: Codes> OfCodes<'a, C> {
    fn new(rows: &'a Rows<'a>, inputs: &[Vec<f32>]) -> Self {
        let inputs = inputs.iter().map(|x| Input::new(x, C::ORDER)).collect();
        Self { rows, inputs, layout: PhantomData }
    }
}

impl<C: Codes> Work for OfCodes<'_, C> {
    type Made = Vec<Vec<f32>>;

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) -> Vec<Vec<f32>> {
        let (fours, rest) = self.inputs.as_chunks::<4>();
        let tiles: Vec<Four> = fours.iter().map(Four::new).collect();
        let mut made = vec![vec![0.0f32; self.rows.count]; self.inputs.len()];
        let groups = self.rows.codes.row / C::BYTES;
        let mut factors = Vec::new();
        let shared = if tiles.is_empty() { 0 } else { BLOCK }; // rows whose factors several inputs meet
        for block in blocks(self.rows.count) {
            factors.clear();
            for i in block.clone().take(shared) {
                let (_, scales) = self.rows.bytes(i);
                factors.extend((0..groups).map(|g| C::factors(scales, g)));
            }
            for (tiles, made) in tiles.chunks(2).zip(made.chunks_mut(8)) {
                for (i, factors) in block.clone().zip(factors.chunks_exact(groups)) {
                    let (codes, scales) = self.rows.bytes(i);
                    let sums = match tiles {
                        [a, b] => code_sums::<W, C, 2>(wide, codes, scales, factors, [a, b]),
                        [a] => [code_sums::<W, C, 1>(wide, codes, scales, factors, [a])[0]; 2],
                        _ => unreachable!("two at most"),
                    };
                    let of_tiles = made.iter_mut().zip(sums.as_flattened()).take(4 * tiles.len());
                    of_tiles.for_each(|(made, sum)| made[i] = *sum);
                }
            }
            for (input, made) in rest.iter().zip(&mut made[4 * tiles.len()..]) {
                for i in block.clone() {
                    let (codes, scales) = self.rows.bytes(i);
                    made[i] = code_sum::<W, C>(wide, codes, scales, input);
                }
            }
        }
        made
    }
}

/// The sums of products of a group's codes with an input's.
#[inline(always)]
fn dot<W: Wide>(wide: W, [ab, cd]: [W::Integers; 2], [first, last]: &[[I16x8; 2]; 2]) -> W::Sums {
    ab.dot(wide.load(first)).add(cd.dot(wide.load(last)))
}

/// The products of a row with `N` times four inputs.
#[inline(always)]
fn code_sums<W: Wide, C: Codes, const N: usize>(
    wide: W,
    codes: &[u8],
    scales: &[u8],
    factors: &[Factors],
    inputs: [&Four; N],
) -> [[f32; 4]; N] {
    let mut sums = [F32x4::splat(0.0); N];
    for (g, (group, factors)) in codes.chunks_exact(C::BYTES).zip(factors).enumerate() {
        let own = C::codes(wide, group, scales, g);
        for (sum, four) in sums.iter_mut().zip(inputs) {
            let x = &four.codes[g];
            let dots = [dot(wide, own, &x[0]), dot(wide, own, &x[1]), dot(wide, own, &x[2]), dot(wide, own, &x[3])];
            let scaled = scaled::<W, C>(dots, [factors.scale, factors.second].map(F32x4::splat));
            *sum = sum.add(scaled.mul(four.scales[g])).add(four.sums[g].mul(F32x4::splat(factors.minimum)));
        }
    }
    sums.map(F32x4::values)
}

/// Four sums of products times their scales: those of groups' first and last 16 weights, which may be the same.
#[inline(always)]
fn scaled<W: Wide, C: Codes>(dots: [W::Sums; 4], [scale, second]: [F32x4; 2]) -> F32x4 {
    if C::HALVES {
        let [first, last] = W::Sums::half_sums(dots);
        return first.to_floats().mul(scale).add(last.to_floats().mul(second));
    }
    W::Sums::sums(dots).to_floats().mul(scale)
}

/// The sums of products of the codes of a group with an input's, where group `n` of those given is `first + n` of the row.
#[inline(always)]
fn group_dot<W: Wide, C: Codes>(
    wide: W,
    codes: &[u8],
    scales: &[u8],
    first: usize,
    n: usize,
    x: &[[[I16x8; 2]; 2]],
) -> W::Sums {
    dot(wide, C::codes(wide, &codes[n * C::BYTES..][..C::BYTES], scales, first + n), &x[n])
}

/// The product of a row with an input, four groups at a time.
#[inline(always)]
fn code_sum<W: Wide, C: Codes>(wide: W, codes: &[u8], scales: &[u8], input: &Input) -> f32 {
    let groups = input.codes.len();
    let mut sum = F32x4::splat(0.0);
    let fours = codes.chunks_exact(4 * C::BYTES).zip(input.codes.chunks_exact(4));
    let factors = input.scales.chunks_exact(4).zip(input.sums.chunks_exact(4));
    for (i, ((codes, x), (scale, sums))) in fours.zip(factors).enumerate() {
        let [scale, sums] = [scale, sums].map(|four| F32x4::new(four.try_into().expect("four")));
        let dots = [
            group_dot::<W, C>(wide, codes, scales, 4 * i, 0, x),
            group_dot::<W, C>(wide, codes, scales, 4 * i, 1, x),
            group_dot::<W, C>(wide, codes, scales, 4 * i, 2, x),
            group_dot::<W, C>(wide, codes, scales, 4 * i, 3, x),
        ];
        let [own, second, minimum] = C::four_factors(wide, scales, 4 * i);
        let scaled = scaled::<W, C>(dots, [own.mul(scale), second.mul(scale)]);
        sum = sum.add(scaled).add(minimum.mul(sums));
    }
    let at = groups / 4 * 4;
    let last = match groups - at {
        0 => F32x4::splat(0.0),
        1 => last_groups::<W, C, 1>(wide, codes, scales, at, input),
        2 => last_groups::<W, C, 2>(wide, codes, scales, at, input),
        _ => last_groups::<W, C, 3>(wide, codes, scales, at, input),
    };
    sum.add(last).values().iter().sum()
}

/// The products of the last `N` groups of a row, from group `at` on, which are fewer than four.
#[inline(always)]
fn last_groups<W: Wide, C: Codes, const N: usize>(
    wide: W,
    codes: &[u8],
    scales: &[u8],
    at: usize,
    input: &Input,
) -> F32x4 {
    let zero = wide.twice(I16x8::splat(0));
    let mut dots = [zero.dot(zero); 4];
    let [mut own, mut second, mut minimum] = [[0.0; 4]; 3];
    for n in 0..N {
        let factors = C::factors(scales, at + n);
        let (scale, sum) = (input.scales[at + n], input.sums[at + n]);
        dots[n] = group_dot::<W, C>(wide, codes, scales, 0, at + n, &input.codes);
        (own[n], second[n], minimum[n]) = (factors.scale * scale, factors.second * scale, factors.minimum * sum);
    }
    scaled::<W, C>(dots, [F32x4::new(own), F32x4::new(second)]).add(F32x4::new(minimum))
}

/// Rows that some inputs meet before others do: so many stay in the processor's nearest cache.
const BLOCK: usize = 16;
/// Inputs that meet the weights of a row of numbers together.
const TILE: usize = 8;

/// The products of rows of numbers with inputs.
struct OfNumbers<'a, F> {
    rows: &'a Rows<'a>,
    /// Inputs, eight numbers at a time.
    inputs: Vec<Vec<[F32x4; 2]>>,
    layout: PhantomData<F>,
}

impl<'a, F: Numbers> OfNumbers<'a, F> {
    fn new(rows: &'a Rows<'a>, inputs: &[Vec<f32>]) -> Self {
        let width = rows.codes.row / F::BYTES * 8;
        let padded = |x: &Vec<f32>| {
            let mut padded = x.clone();
            padded.resize(width, 0.0);
            let (eights, _) = padded.as_chunks::<8>();
            eights.iter().map(|eight| bytemuck::must_cast::<_, [[f32; 4]; 2]>(*eight).map(F32x4::new)).collect()
        };
        Self { rows, inputs: inputs.iter().map(padded).collect(), layout: PhantomData }
    }
}

impl<F: Numbers> Work for OfNumbers<'_, F> {
    type Made = Vec<Vec<f32>>;

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) -> Vec<Vec<f32>> {
        let (tiles, rest) = self.inputs.as_chunks::<TILE>();
        let mut made = vec![vec![0.0f32; self.rows.count]; self.inputs.len()];
        for block in blocks(self.rows.count) {
            for (tile, made) in tiles.iter().zip(made.chunks_exact_mut(TILE)) {
                for i in block.clone() {
                    let sums = number_sums::<W, F, TILE>(wide, self.rows.bytes(i).0, tile);
                    made.iter_mut().zip(sums).for_each(|(made, sum)| made[i] = sum);
                }
            }
            for (one, made) in rest.iter().zip(&mut made[TILE * tiles.len()..]) {
                for i in block.clone() {
                    [made[i]] = number_sums::<W, F, 1>(wide, self.rows.bytes(i).0, std::array::from_ref(one));
                }
            }
        }
        made
    }
}

#[inline(always)]
fn number_sums<W: Wide, F: Numbers, const N: usize>(wide: W, codes: &[u8], inputs: &[Vec<[F32x4; 2]>; N]) -> [f32; N] {
    let mut sums = [wide.floats([F32x4::splat(0.0); 2]); N];
    for (i, bytes) in codes.chunks_exact(F::BYTES).enumerate() {
        let weights = F::eight(wide, bytes);
        for (sum, x) in sums.iter_mut().zip(inputs) {
            *sum = sum.add(weights.mul(wide.load_floats(&x[i])));
        }
    }
    let mut made = [0.0; N];
    for (made, sum) in made.iter_mut().zip(sums) {
        let [a, b] = sum.halves();
        *made = a.add(b).values().iter().sum();
    }
    made
}

/// The rows in blocks.
fn blocks(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(BLOCK).map(move |start| start..count.min(start + BLOCK))
}

#[cfg(test)]
mod tests {
    use super::super::lanes::tests::{Random, on_pairs};
    use super::*;

    #[test]
    fn wide_vectors_make_the_same_bits() {
        let mut random = Random(2);
        // Without the highest bit of the exponent, floats are finite.
        let mut byte = |i: usize| random.next() as u8 & if i % 2 == 1 { 0xbf } else { 0xff };
        let bytes: Vec<u8> = (0..3 * 24 * 128).map(&mut byte).collect();
        // Bytes of a group's codes, and of eight groups' scales.
        let formats = [
            (Format::F32, 128, 0),
            (Format::F16, 64, 0),
            (Format::Bf16, 64, 0),
            (Format::Q8, 32, 16),
            (Format::Q8Min, 32, 32),
            (Format::Q4, 16, 16),
            (Format::Q4Min, 16, 32),
            (Format::Q4K, 16, 16),
            (Format::Q5K, 16, 48),
            (Format::Q6K, 16, 84),
            (Format::Mxfp4, 16, 8),
        ];
        for ((format, codes, scales), groups) in formats.into_iter().flat_map(|f| [24, 22, 3].map(|groups| (f, groups)))
        {
            let codes = Plane { bytes: &bytes, row: groups * codes };
            let scales = Plane { bytes: &bytes, row: groups.div_ceil(8) * scales };
            for n in [1, 3, 4, 8, 15] {
                let mut row = || (0..32 * groups).map(|_| random.next() as i16 as f32 / 3000.0).collect();
                let inputs: Vec<Vec<f32>> = (0..n).map(|_| row()).collect();
                let made = || -> Vec<u32> {
                    let made = products(format, codes, scales, 3, &|i| 2 - i, &inputs);
                    made.concat().into_iter().map(f32::to_bits).collect()
                };
                let wide = made();
                assert_eq!(wide.len(), 3 * n);
                assert_eq!(wide, on_pairs(made), "{format:?}, {groups} groups, {n} inputs");
            }
        }
    }
}
