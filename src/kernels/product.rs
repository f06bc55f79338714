//! Products of rows of weights with rows of inputs: in f64 for references, and by vectors for the kernels' forms for
//! processors.

use std::ops::Range;

use minke_vector::{Format, Plane, products};

use super::CpuMemory;
use super::interpret::Division;
use crate::plan::{Layout, Share, Step};

/// The rows of a part of a matrix.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// How they lie.
    pub layout: Layout,
    /// The codes plane.
    pub codes: &'a [u8],
    /// The scales plane, empty where the layout has none.
    pub scales: &'a [u8],
    /// Weights of a row.
    pub k: usize,
    /// The division of the rows; `None` where all are here.
    pub division: Option<&'a Division>,
}

impl<'a> Weights<'a> {
    /// The rows of a unit of `count` rows that this worker multiplies.
    pub fn own(&self, count: usize) -> Range<usize> {
        self.division.map_or(0..count, |division| division.share.of_rows(count))
    }

    /// The products of this worker's rows of a unit of `count` rows with each of `inputs`, in f64: for each input, a value for each
    /// of its rows. `row` says where such a row lies among those held here, which are so many of each unit.
    pub fn exact(&self, count: usize, row: &dyn Fn(usize, usize) -> usize, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let own = self.own(count).len();
        exact(self, own, &|r| row(r, own), inputs)
    }

    /// The same by vectors: of integer weights with inputs rounded to 16 bits, of other weights in f32.
    pub fn fast(&self, count: usize, row: &dyn Fn(usize, usize) -> usize, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let own = self.own(count).len();
        fast(self, own, &|r| row(r, own), inputs)
    }

    /// The bytes of a row in both planes.
    fn row(&self, row: usize) -> (&'a [u8], &'a [u8]) {
        let (codes, scales) = (self.layout.code_row_bytes(self.k), self.layout.scale_row_bytes(self.k));
        (&self.codes[row * codes..][..codes], &self.scales[row * scales..][..scales])
    }
}

/// Makes what workers have made of the rows of a step's weights known to all. A unit has `rows` rows, of which `rows_of_one` make one
/// value; the values of a unit for one input begin at one of `starts` of the output.
pub fn gather_outputs(step: &Step, memory: &mut CpuMemory, rows: usize, rows_of_one: usize, starts: &[usize]) {
    let Some(division) = memory.division_of(step.buffer(2)).cloned() else { return };
    let part = |share: Share| {
        let own = share.of_rows(rows);
        own.start / rows_of_one..own.end / rows_of_one
    };
    division.gather_parts(memory.floats_mut(step.buffer(5)), starts, part);
}

/// The products of `count` rows, of which `row` says which, with each of `inputs`, in f64: for each input, a value for each row.
fn exact(weights: &Weights<'_>, count: usize, row: &dyn Fn(usize) -> usize, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut products = vec![Vec::with_capacity(count); inputs.len()];
    for i in 0..count {
        let (codes, scales) = weights.row(row(i));
        let w = weights.layout.dequantize_row(weights.k, codes, scales);
        for (x, products) in inputs.iter().zip(&mut products) {
            products.push(w.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum());
        }
    }
    products
}

/// The same by vectors: of integer weights with inputs rounded to 16 bits, of other weights in f32.
fn fast(weights: &Weights<'_>, count: usize, row: &dyn Fn(usize) -> usize, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let Weights { layout, codes, scales, k, .. } = *weights;
    let codes = Plane { bytes: codes, row: layout.code_row_bytes(k) };
    let scales = Plane { bytes: scales, row: layout.scale_row_bytes(k) };
    products(format(layout), codes, scales, count, row, inputs)
}

fn format(layout: Layout) -> Format {
    match layout {
        Layout::F32 => Format::F32,
        Layout::F16 => Format::F16,
        Layout::Bf16 => Format::Bf16,
        Layout::Q8 => Format::Q8,
        Layout::Q8Min => Format::Q8Min,
        Layout::Q4 => Format::Q4,
        Layout::Q4Min => Format::Q4Min,
        Layout::Q4K => Format::Q4K,
        Layout::Q5K => Format::Q5K,
        Layout::Q6K => Format::Q6K,
        Layout::Mxfp4 => Format::Mxfp4,
    }
}
