//! Products of rows of weights with rows of inputs.

use super::input::Input;
use super::lanes::{F32x4, I16x8, I32x4};
use super::weights::{Bf16, Codes, F16, F32, Mxfp4, Numbers, Q4, Q4K, Q4Min, Q5K, Q6K, Q8, Q8Min};

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
        Format::F32 => of_numbers::<F32>(rows, inputs),
        Format::F16 => of_numbers::<F16>(rows, inputs),
        Format::Bf16 => of_numbers::<Bf16>(rows, inputs),
        Format::Q8 => of_codes::<Q8>(rows, inputs),
        Format::Q8Min => of_codes::<Q8Min>(rows, inputs),
        Format::Q4 => of_codes::<Q4>(rows, inputs),
        Format::Q4Min => of_codes::<Q4Min>(rows, inputs),
        Format::Q4K => of_codes::<Q4K>(rows, inputs),
        Format::Q5K => of_codes::<Q5K>(rows, inputs),
        Format::Q6K => of_codes::<Q6K>(rows, inputs),
        Format::Mxfp4 => of_codes::<Mxfp4>(rows, inputs),
    }
}

/// Four inputs, group by group.
struct Four {
    codes: Vec<[[I16x8; 4]; 4]>,
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

fn of_codes<C: Codes>(rows: &Rows<'_>, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let inputs: Vec<Input> = inputs.iter().map(|x| Input::new(x, C::ORDER)).collect();
    let mut fours = inputs.chunks_exact(4);
    let tiles: Vec<Four> = fours.by_ref().map(|four| Four::new(four.try_into().expect("four"))).collect();
    let rest = fours.remainder();
    each_row(rows.count, inputs.len(), |i, out| {
        let (codes, scales) = rows.bytes(i);
        let (of_tiles, of_rest) = out.split_at_mut(4 * tiles.len());
        for (tiles, out) in tiles.chunks(2).zip(of_tiles.chunks_mut(8)) {
            match tiles {
                [a, b] => out.copy_from_slice(code_sums::<C, 2>(codes, scales, [a, b]).as_flattened()),
                [a] => out.copy_from_slice(code_sums::<C, 1>(codes, scales, [a]).as_flattened()),
                _ => unreachable!("two at most"),
            }
        }
        of_rest.iter_mut().zip(rest).for_each(|(out, input)| *out = code_sum::<C>(codes, scales, input));
    })
}

/// The products of a row with `N` times four inputs.
#[inline(always)]
fn code_sums<C: Codes, const N: usize>(codes: &[u8], scales: &[u8], inputs: [&Four; N]) -> [[f32; 4]; N] {
    let mut sums = [F32x4::splat(0.0); N];
    for (g, group) in codes.chunks_exact(C::BYTES).enumerate() {
        let [a, b, c, d] = C::codes(group, scales, g);
        let factors = C::factors(scales, g);
        for (sum, four) in sums.iter_mut().zip(inputs) {
            let (x, scale) = (&four.codes[g], four.scales[g]);
            let scaled = if C::HALVES {
                let first = I32x4::sums([0, 1, 2, 3].map(|n| a.dot(x[n][0]).add(c.dot(x[n][2])))).to_floats();
                let last = I32x4::sums([0, 1, 2, 3].map(|n| b.dot(x[n][1]).add(d.dot(x[n][3])))).to_floats();
                first.mul(F32x4::splat(factors.scale)).add(last.mul(F32x4::splat(factors.second)))
            } else {
                let all = |n: usize| a.dot(x[n][0]).add(b.dot(x[n][1])).add(c.dot(x[n][2]).add(d.dot(x[n][3])));
                I32x4::sums([0, 1, 2, 3].map(all)).to_floats().mul(F32x4::splat(factors.scale))
            };
            *sum = sum.add(scaled.mul(scale)).add(four.sums[g].mul(F32x4::splat(factors.minimum)));
        }
    }
    sums.map(F32x4::values)
}

/// The product of a row with an input, four groups at a time.
#[inline(always)]
fn code_sum<C: Codes>(codes: &[u8], scales: &[u8], input: &Input) -> f32 {
    let groups = input.codes.len();
    if C::HALVES {
        return halved_sum::<C>(codes, scales, input);
    }
    let dot = |group: &[u8], g: usize, x: &[I16x8; 4]| {
        let [a, b, c, d] = C::codes(group, scales, g);
        a.dot(x[0]).add(b.dot(x[1])).add(c.dot(x[2]).add(d.dot(x[3])))
    };
    let mut sum = F32x4::splat(0.0);
    let fours = codes.chunks_exact(4 * C::BYTES).zip(input.codes.chunks_exact(4));
    let factors = input.scales.chunks_exact(4).zip(input.sums.chunks_exact(4));
    for (i, ((codes, x), (scale, sums))) in fours.zip(factors).enumerate() {
        let four = |values: &[f32]| F32x4::new(values.try_into().expect("four"));
        let of = |n: usize| dot(&codes[n * C::BYTES..][..C::BYTES], 4 * i + n, &x[n]);
        let [own, minimum] = C::four_factors(scales, 4 * i);
        let dots = I32x4::sums([of(0), of(1), of(2), of(3)]).to_floats();
        sum = sum.add(dots.mul(own.mul(four(scale)))).add(minimum.mul(four(sums)));
    }
    let mut rest = 0.0;
    for g in groups / 4 * 4..groups {
        let factors = C::factors(scales, g);
        let dot = dot(&codes[g * C::BYTES..][..C::BYTES], g, &input.codes[g]);
        let dot: f32 = dot.to_floats().values().iter().sum();
        rest += dot * factors.scale * input.scales[g] + factors.minimum * input.sums[g];
    }
    sum.values().iter().sum::<f32>() + rest
}

/// The product of a row with an input, where the halves of a group have a scale each.
#[inline(always)]
fn halved_sum<C: Codes>(codes: &[u8], scales: &[u8], input: &Input) -> f32 {
    let mut sum = F32x4::splat(0.0);
    for (g, (group, x)) in codes.chunks_exact(C::BYTES).zip(&input.codes).enumerate() {
        let [a, b, c, d] = C::codes(group, scales, g);
        let (factors, scale) = (C::factors(scales, g), input.scales[g]);
        let first = a.dot(x[0]).add(c.dot(x[2])).to_floats().mul(F32x4::splat(factors.scale * scale));
        let last = b.dot(x[1]).add(d.dot(x[3])).to_floats().mul(F32x4::splat(factors.second * scale));
        sum = sum.add(first.add(last));
    }
    sum.values().iter().sum()
}

/// Inputs that meet the weights of a row together.
const TILE: usize = 8;

fn of_numbers<F: Numbers>(rows: &Rows<'_>, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let width = rows.codes.row / F::BYTES * 8;
    let inputs: Vec<Vec<F32x4>> = inputs
        .iter()
        .map(|x| {
            let mut padded = x.clone();
            padded.resize(width, 0.0);
            padded.chunks_exact(4).map(|four| F32x4::new(four.try_into().expect("four"))).collect()
        })
        .collect();
    each_row(rows.count, inputs.len(), |i, out| {
        let (codes, _) = rows.bytes(i);
        let mut tiles = inputs.chunks_exact(TILE);
        let mut out = out.iter_mut();
        let mut put = |sums: &[f32]| sums.iter().zip(&mut out).for_each(|(sum, out)| *out = *sum);
        for tile in &mut tiles {
            put(&number_sums::<F, TILE>(codes, tile.try_into().expect("a whole tile")));
        }
        for one in tiles.remainder().chunks_exact(1) {
            put(&number_sums::<F, 1>(codes, one.try_into().expect("one")));
        }
    })
}

#[inline(always)]
fn number_sums<F: Numbers, const N: usize>(codes: &[u8], inputs: &[Vec<F32x4>; N]) -> [f32; N] {
    let mut sums = [[F32x4::splat(0.0); 2]; N];
    for (i, bytes) in codes.chunks_exact(F::BYTES).enumerate() {
        let [a, b] = F::eight(bytes);
        for (sums, x) in sums.iter_mut().zip(inputs) {
            sums[0] = sums[0].add(a.mul(x[2 * i]));
            sums[1] = sums[1].add(b.mul(x[2 * i + 1]));
        }
    }
    sums.map(|[a, b]| a.add(b).values().iter().sum())
}

/// Calls `make` for every row, with room for a value for each input; returns the values by input.
fn each_row(count: usize, inputs: usize, make: impl Fn(usize, &mut [f32])) -> Vec<Vec<f32>> {
    let mut values = vec![0.0f32; count * inputs];
    values.chunks_exact_mut(inputs).enumerate().for_each(|(i, values)| make(i, values));
    (0..inputs).map(|n| values.iter().skip(n).step_by(inputs).copied().collect()).collect()
}
