//! Products of rows of weights with rows of inputs: in f64 for references, and by vectors for the kernels' forms for
//! processors.

use minke_vector::{Format, Plane, products};

use super::interpret::Division;
use crate::plan::Layout;

/// The products of some rows with inputs: for each input, a value for each row.
type Products<T> = fn(&Weights<'_>, count: usize, row: &dyn Fn(usize) -> usize, inputs: &[Vec<T>]) -> Vec<Vec<T>>;

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
    /// The products of the rows of a unit, of which there are `count`, with each of `inputs`, in f64: for each input, a value for each
    /// row. `row` says where a row of the unit lies among those held here, which are so many of each unit.
    pub fn exact(&self, count: usize, row: &dyn Fn(usize, usize) -> usize, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        self.products(exact, count, row, inputs)
    }

    /// The same by vectors: of integer weights with inputs rounded to 16 bits, of other weights in f32.
    pub fn fast(&self, count: usize, row: &dyn Fn(usize, usize) -> usize, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        self.products(fast, count, row, inputs)
    }

    fn products<T: bytemuck::Pod>(
        &self,
        products: Products<T>,
        count: usize,
        row: &dyn Fn(usize, usize) -> usize,
        inputs: &[Vec<T>],
    ) -> Vec<Vec<T>> {
        let Some(division) = self.division else {
            return products(self, count, &|r| row(r, count), inputs);
        };
        let own = division.share.of_rows(count);
        let made = products(self, own.len(), &|r| row(r, own.len()), inputs);
        // Row after row, so that each worker's are a block.
        let n = inputs.len();
        let mut all = vec![T::zeroed(); count * n];
        for (i, values) in made.iter().enumerate() {
            values.iter().enumerate().for_each(|(r, value)| all[(own.start + r) * n + i] = *value);
        }
        division.gather(&mut all, own.start * n..own.end * n);
        (0..n).map(|i| all.iter().skip(i).step_by(n).copied().collect()).collect()
    }

    /// The bytes of a row in both planes.
    fn row(&self, row: usize) -> (&'a [u8], &'a [u8]) {
        let (codes, scales) = (self.layout.code_row_bytes(self.k), self.layout.scale_row_bytes(self.k));
        (&self.codes[row * codes..][..codes], &self.scales[row * scales..][..scales])
    }
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
