//! Weights on their way to the GPU: published rows become the layout of a part, `Q8` or `Q4`, or are moved to their places as numbers.

use super::{CpuMemory, Kernel, Params, params, shader};
use crate::plan::{Access, Arrival, Binding, GROUP, Layout, Part, QuantizeJob, Step, e4m3_product};

/// See `shaders/quantize.wgsl`.
pub static KERNEL: Kernel = Kernel {
    name: "quantize",
    shader: shader!("quantize", "published"),
    reads_weights: false,
    variants: &[],
    params: PublishedParams::FIELDS,
    reference,
    cpu: None,
    small: None,
};
/// See `shaders/arrange.wgsl`.
pub static ARRANGE: Kernel = Kernel {
    name: "arrange",
    shader: shader!("arrange", "published"),
    reads_weights: false,
    variants: &[],
    params: PublishedParams::FIELDS,
    reference: arrange_reference,
    cpu: None,
    small: None,
};

params!(PublishedParams { k: u32, groups: u32 });

/// Workgroups of a dispatch; each goes on until the job is done.
const GRID: u32 = 512;

/// Rows and columns of a block of `F8_E4M3` that share a factor.
const FACTOR_BLOCK: u32 = 128;

/// Fills rows of a part of a matrix, as a [`QuantizeJob`] says.
#[derive(Debug, Clone, Copy)]
pub struct Quantize<'a> {
    /// Where they go: in layout `Q8` or `Q4`, or as the numbers they are.
    pub part: &'a Part,
    /// Weights in a row.
    pub k: usize,
    /// Where they come from.
    pub from: Arrival,
}

impl Quantize<'_> {
    /// The step.
    pub fn step(&self, label: &str) -> Step {
        let Self { part, k, from } = *self;
        let read = |slot, buffer| Binding { slot, buffer, access: Access::Read };
        let write = |slot, buffer| Binding { slot, buffer, access: Access::ReadWrite };
        let mut bindings = vec![read(1, from.job), write(2, part.codes), read(4, from.input), read(5, from.factors)];
        let (kernel, constant) = if part.layout.can_quantize() {
            bindings.insert(2, write(3, part.scales.expect("both layouts have scales")));
            (&KERNEL, ("FOUR_BITS", part.layout == Layout::Q4))
        } else {
            assert!(!part.layout.has_scales(), "{label}: {:?}", part.layout);
            (&ARRANGE, ("HALVES", part.layout != Layout::F32))
        };
        Step {
            label: label.to_owned(),
            kernel: kernel.name,
            shader: kernel.shader,
            constants: vec![(constant.0, f64::from(u8::from(constant.1)))],
            bindings,
            params: PublishedParams { k: k as u32, groups: Layout::groups(k) as u32 }.words(),
            grid: [GRID, 1, 1],
            detail: format!("[{},{k}] → {}", part.rows.len(), part.layout.name()),
        }
    }
}

fn reference(step: &Step, memory: &mut CpuMemory) {
    fill(step, memory, false);
}

fn arrange_reference(step: &Step, memory: &mut CpuMemory) {
    fill(step, memory, true);
}

/// Fills the rows of the step's job: with codes and scales, or with `numbers` as they are.
fn fill(step: &Step, memory: &mut CpuMemory, numbers: bool) {
    let job: QuantizeJob = memory.read(step.buffer(1));
    let groups = PublishedParams::of(step).groups as usize;
    let value = |memory: &CpuMemory, at: usize| match job.numbers {
        0 => memory.floats(step.buffer(4))[at],
        1 => bytemuck::cast_slice::<u8, half::f16>(memory.bytes(step.buffer(4)))[at].to_f32(),
        2 => bytemuck::cast_slice::<u8, half::bf16>(memory.bytes(step.buffer(4)))[at].to_f32(),
        _ => {
            let stored = job.origin + at as u32;
            let (row, column) = (stored / job.width / FACTOR_BLOCK, stored % job.width / FACTOR_BLOCK);
            let factor = memory.floats(step.buffer(5))[(row * job.across + column) as usize];
            e4m3_product(memory.bytes(step.buffer(4))[at], factor)
        }
    };
    for row in 0..job.rows {
        let at = |i: u32| (job.base + row * job.row_stride + i * job.stride) as usize;
        let group = job.first_group as usize;
        let Some(out) = memory.local_row(step.buffer(2), (job.first_row + row * job.row_step) as usize) else {
            continue;
        };
        if numbers {
            let width = if step.constant("HALVES") == 1.0 { 2 } else { 4 };
            let mut bytes: Vec<u8> = match width {
                2 => (0..job.k).flat_map(|i| memory.bytes(step.buffer(4))[2 * at(i)..][..2].to_vec()).collect(),
                _ => (0..job.k).flat_map(|i| value(memory, at(i)).to_le_bytes()).collect(),
            };
            bytes.resize((job.k as usize).next_multiple_of(GROUP) * width, 0);
            memory.write(step.buffer(2), ((out * groups + group) * GROUP * width) as u64, &bytes);
            continue;
        }
        let layout = if step.constant("FOUR_BITS") == 1.0 { Layout::Q4 } else { Layout::Q8 };
        let values: Vec<f32> = (0..job.k).map(|i| value(memory, at(i))).collect();
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        layout.quantize_row(&values, &mut codes, &mut scales);
        let bytes = layout.code_group_bytes();
        memory.write(step.buffer(2), ((out * groups + group) * bytes) as u64, &codes);
        memory.write(step.buffer(3), (out * groups.next_multiple_of(2) * 2 + group * 2) as u64, &scales);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{self, Bench};
    use crate::kernels::{Epilogue, Matvec};
    use crate::plan::{Matrix, Role};

    /// Numbers of all kinds in an order that puts odd ones into some groups only.
    fn numbers(n: usize, wild: bool) -> Vec<f32> {
        let mut values = testing::normals(n as u64, n);
        values.iter_mut().enumerate().for_each(|(i, v)| *v *= [0.02, 1e-4, 3e-6, 40.0, 1.0][i / 32 % 5]);
        let odd = [0.0, -0.0, 1e-40, 6e-8, 65504.0, -3e4, 0.5, -0.5, 1e6, f32::INFINITY, f32::NAN, 3e38, 2e-38];
        for (i, v) in values.iter_mut().enumerate() {
            if wild && i % 29 == 7 {
                *v = odd[i / 29 % odd.len()];
            }
            if i / 32 % 7 == 3 {
                *v = [1.0, -1.0, 0.5, 0.25][i % 4] * 0.125; // ties
            }
        }
        values
    }

    fn arrival(b: &mut Bench, bytes: usize) -> Arrival {
        Arrival {
            input: b.buffers.add("input", bytes as u64, Role::Scratch),
            job: b.buffers.add("job", size_of::<QuantizeJob>() as u64, Role::Scratch),
            factors: b.buffers.add("factors", 4096, Role::Scratch),
        }
    }

    fn check(layout: Layout, numbers_kind: u32, [rows, k]: [usize; 2], wild: bool) {
        let mut b = Bench::new(1, 8);
        let m = Matrix::declare(&mut b.buffers, "w", k, &[(2 * rows + 3, layout)], 1 << 30).unwrap();
        let from = arrival(&mut b, rows * k * 4);
        let values = numbers(rows * k, wild);
        let bytes: Vec<u8> = match numbers_kind {
            0 => bytemuck::cast_slice(&values).to_vec(),
            1 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        };
        let mut padded = bytes.clone();
        padded.resize(bytes.len().next_multiple_of(4), 0);
        b.set(from.input, &padded);
        let what = QuantizeJob { first_row: 3, row_step: 2, ..QuantizeJob::whole(numbers_kind, rows, k) };
        b.set(from.job, bytemuck::bytes_of(&what));
        b.plan.push([Quantize { part: &m.parts[0], k, from }.step("quantize")]);
        let note = format!("{layout:?} of numbers {numbers_kind}, [{rows},{k}]");
        b.check_exact(m.parts[0].codes, &note);
        b.check_exact(m.parts[0].scales.unwrap(), &note);
        if !wild {
            // A product with it is a product with the same codes in f64.
            let x = b.activation("x", 1, k);
            let y = b.scratch("y", 1, m.rows);
            b.plan.push(
                Matvec { w: &m, x, from: 0, y, norm: None, epilogue: Epilogue::default() }.steps("w", &b.control),
            );
            b.check(y.buffer, 1e-3, &note);
        }
    }

    #[test]
    fn the_same_bits_as_the_reference() {
        for layout in [Layout::Q8, Layout::Q4] {
            for kind in 0..3 {
                for shape in [[1, 1], [3, 31], [5, 32], [4, 33], [7, 63], [6, 65], [9, 576], [2, 1000]] {
                    check(layout, kind, shape, true);
                    check(layout, kind, shape, false);
                }
            }
        }
    }

    /// Each in a group of its own: subnormals, infinities and NaNs among them.
    #[test]
    fn every_f16_and_bf16_is_read_as_what_it_is() {
        const COUNT: usize = 1 << 16;
        let every: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for layout in [Layout::Q8, Layout::Q4] {
            for numbers in [1, 2] {
                let mut b = Bench::new(1, 8);
                let m = Matrix::declare(&mut b.buffers, "w", 1, &[(COUNT, layout)], 1 << 30).unwrap();
                let from = arrival(&mut b, every.len());
                b.set(from.input, &every);
                b.set(from.job, bytemuck::bytes_of(&QuantizeJob::whole(numbers, COUNT, 1)));
                b.plan.push([Quantize { part: &m.parts[0], k: 1, from }.step("quantize")]);
                b.check_exact(m.parts[0].codes, &format!("{layout:?} of numbers {numbers}"));
                b.check_exact(m.parts[0].scales.unwrap(), &format!("{layout:?} of numbers {numbers}"));
            }
        }
    }

    /// Columns of stored rows in two jobs, as experts are published transposed; rows are interleaved.
    #[test]
    fn columns_become_rows() {
        for (layout, kind) in [
            (Layout::Q8, 2u32),
            (Layout::Q4, 1),
            (Layout::Q4, 0),
            (Layout::F32, 0),
            (Layout::F16, 1),
            (Layout::Bf16, 2),
        ] {
            for ([k, columns], cut) in [([160, 7], 64), ([97, 40], 64), ([64, 130], 64), ([33, 3], 0)] {
                let mut b = Bench::new(1, 8);
                let m = Matrix::declare(&mut b.buffers, "w", k, &[(2 * columns + 1, layout)], 1 << 30).unwrap();
                let width = if kind == 0 { 4 } else { 2 };
                let mut bytes: Vec<u8> = match kind {
                    0 => bytemuck::cast_slice(&numbers(k * columns, false)).to_vec(),
                    1 => {
                        numbers(k * columns, false).iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
                    }
                    _ => numbers(k * columns, false)
                        .iter()
                        .flat_map(|&v| half::bf16::from_f32(v).to_le_bytes())
                        .collect(),
                };
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                for stored in [0..cut, cut..k] {
                    if stored.is_empty() {
                        continue;
                    }
                    let from = arrival(&mut b, bytes.len());
                    b.set(from.input, &bytes);
                    let job = QuantizeJob {
                        first_row: 1,
                        row_step: 2,
                        first_group: (stored.start / GROUP) as u32,
                        base: (stored.start * columns) as u32,
                        row_stride: 1,
                        stride: columns as u32,
                        ..QuantizeJob::whole(kind, columns, stored.len())
                    };
                    b.set(from.job, bytemuck::bytes_of(&job));
                    b.plan.push([Quantize { part: &m.parts[0], k, from }.step("columns")]);
                }
                let note = format!("{layout:?} of numbers {kind}, columns of [{k},{columns}]");
                b.check_exact(m.parts[0].codes, &note);
                if let Some(scales) = m.parts[0].scales {
                    b.check_exact(scales, &note);
                }
                // The first row that is made is the first column.
                if layout == Layout::F16 || layout == Layout::Bf16 {
                    let (got, _) = b.run(m.parts[0].codes);
                    let row = &got[layout.code_row_bytes(k)..];
                    let column: Vec<u8> = (0..k).flat_map(|i| bytes[i * columns * width..][..width].to_vec()).collect();
                    assert_eq!(row[..k * width], column, "{note}");
                }
            }
        }
    }

    /// Every code with factors of all kinds, from the middle of a block of rows.
    #[test]
    fn e4m3_is_the_same_as_on_the_host() {
        for layout in [Layout::Q8, Layout::Q4, Layout::F32] {
            for ([rows, k], width, origin_row) in [([9, 300], 300, 120), ([6, 64], 192, 0), ([256, 33], 33, 0)] {
                let mut b = Bench::new(1, 8);
                let m = Matrix::declare(&mut b.buffers, "w", k, &[(rows, layout)], 1 << 30).unwrap();
                let from = arrival(&mut b, rows * k);
                // Odd factors come one to a run of codes, so that most groups keep numbers.
                let codes: Vec<u8> =
                    (0..rows * k).map(|i| if i < 600 { (i % 256) as u8 } else { (i * 7 % 127) as u8 }).collect();
                b.set(from.input, &codes);
                let factors: Vec<f32> = [1.37e-2, -2.9, 1e-41, 3e38, 1.2e-38, 0.0, f32::INFINITY, 7e-5]
                    .into_iter()
                    .cycle()
                    .take(1024)
                    .collect();
                b.set(from.factors, bytemuck::cast_slice(&factors));
                let job = QuantizeJob {
                    width,
                    origin: origin_row * width,
                    across: width.div_ceil(FACTOR_BLOCK),
                    ..QuantizeJob::whole(3, rows, k)
                };
                b.set(from.job, bytemuck::bytes_of(&job));
                b.plan.push([Quantize { part: &m.parts[0], k, from }.step("e4m3")]);
                let note = format!("{layout:?} of e4m3 [{rows},{k}]");
                b.check_exact(m.parts[0].codes, &note);
                if let Some(scales) = m.parts[0].scales {
                    b.check_exact(scales, &note);
                }
            }
        }
    }

    #[test]
    fn e4m3_products_are_ieee_products() {
        for code in 0..=255u8 {
            for factor in [1.0f32, 0.1, 3.3e-4, -7.77, 1.234_567_9e10, 1e-37, 2e38] {
                let exact = f64::from(e4m3_product(code, 1.0)) * f64::from(factor);
                let (got, want) = (e4m3_product(code, factor), exact as f32);
                let normal = want == 0.0 || want.abs() >= f32::MIN_POSITIVE || want.is_nan();
                assert!(
                    if normal { got.to_bits() == want.to_bits() || want.is_nan() && got.is_nan() } else { got == 0.0 },
                    "{code} {factor}"
                );
            }
        }
        assert_eq!([0x38, 0xb8, 0x01, 0x7e, 0x00].map(|c| e4m3_product(c, 1.0)), [1.0, -1.0, 1.0 / 512.0, 448.0, 0.0]);
        assert!(e4m3_product(0x7f, 1.0).is_nan() && e4m3_product(0xff, 1.0).is_nan());
    }
}
