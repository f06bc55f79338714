//! Plans how a pack stores each tensor: quantised exactly as a load on the device would do it.

use std::collections::{BTreeMap, BTreeSet};

use minke::model::Model;
use minke::plan::{GROUP, Layout, Matrix};
use minke::weights::load::{Form, Fuse, Piece, Slice, Task, read_slice};
use minke::weights::{Checkpoint, Dtype, Format, Planes, TensorEntry, becomes, quantize_rows};
use minke::{Error, Result};

/// Bytes of unquantised weights that are quantised at once.
const BLOCK: u64 = 4 << 20;

/// A tensor of the pack.
pub struct Packed<'a> {
    /// The tensor's name; a tensor that is stored transposed gets another name when it is transposed back.
    pub name: String,
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: Vec<u64>,
    /// Size in bytes.
    pub bytes: u64,
    entry: &'a TensorEntry,
    quantized: Option<Quantized>,
}

/// How a tensor is quantised.
#[derive(Clone, PartialEq)]
struct Quantized {
    layout: Layout,
    /// The tensor's rows, `k` wide: all of them, or expert by expert if it is stored transposed.
    k: usize,
    slices: Vec<Slice>,
}

/// A tensor that is kept unquantised although a load would quantise it, and why.
pub struct Kept {
    pub tensor: String,
    pub k: usize,
}

/// The tensors of a pack, in the order of loading.
pub struct Plan<'a> {
    pub tensors: Vec<Packed<'a>>,
    pub kept: Vec<Kept>,
    /// The number and bytes of tensors that a load does not use and a pack omits.
    pub unused: (usize, u64),
}

impl<'a> Plan<'a> {
    /// Plans the pack of a checkpoint, given the model that a load would build from it.
    pub fn new(checkpoint: &'a Checkpoint, model: &Model) -> Result<Self> {
        let (mut order, mut made) = (Vec::new(), BTreeMap::<&str, Option<Quantized>>::new());
        for task in &model.tasks {
            match task {
                // Vectors are kept unquantised.
                Task::Vector { sources, .. } => sources.iter().for_each(|name| {
                    order.push(name.as_str());
                    made.insert(name, None);
                }),
                Task::Matrix { matrix, pieces, .. } => {
                    for (slice, layout) in pieces.iter().flat_map(|piece| layouts(matrix, piece)) {
                        order.push(&slice.tensor);
                        let dtype = dtype_of(checkpoint, slice);
                        let wanted = layout.filter(|layout| becomes(dtype, *layout));
                        let wanted = wanted.map(|layout| quantized(checkpoint, slice, layout, matrix.k));
                        match made.get(slice.tensor.as_str()) {
                            // If a tensor is used twice, both uses must agree.
                            Some(known) if *known != wanted => made.insert(&slice.tensor, None),
                            _ => made.insert(&slice.tensor, wanted),
                        };
                    }
                }
            }
        }
        let mut kept = Vec::new();
        for (tensor, quantized) in &mut made {
            if let Some(Quantized { k, .. }) = quantized.take_if(|q| !q.k.is_multiple_of(GROUP)) {
                kept.push(Kept { tensor: (*tensor).to_owned(), k });
            }
        }
        // Scale factors of tensors that are kept unchanged.
        for task in &model.tasks {
            let Task::Matrix { pieces, .. } = task else { continue };
            for slice in pieces.iter().flat_map(|piece| &piece.sources) {
                if let (Form::Fp8 { scales } | Form::Mxfp4 { scales }, None) =
                    (&slice.form, &made[slice.tensor.as_str()])
                {
                    order.push(scales);
                }
            }
        }
        // Other readers must be able to read the GGUF file, too.
        if checkpoint.format == Format::Gguf {
            order.extend(checkpoint.tensors.keys().map(String::as_str));
        }
        let mut seen = BTreeSet::new();
        order.retain(|name| seen.insert(*name));
        let tensors = order
            .iter()
            .map(|name| packed(&checkpoint.tensors[*name], made.get(name).cloned().flatten()))
            .collect::<Result<_>>()?;
        let unused = checkpoint.tensors.values().filter(|entry| !seen.contains(entry.name.as_str()));
        let unused = unused.fold((0, 0), |(n, bytes), entry| (n + 1, bytes + entry.bytes()));
        Ok(Self { tensors, kept, unused })
    }
}

/// The sources of a piece, each with the layout of its rows if all of them have the same.
fn layouts<'a>(matrix: &'a Matrix, piece: &'a Piece) -> impl Iterator<Item = (&'a Slice, Option<Layout>)> {
    let mut first = piece.first;
    let rows = |slice: &Slice| (slice.rows.end - slice.rows.start) as usize;
    let all: usize = piece.sources.iter().map(rows).sum();
    piece.sources.iter().map(move |slice| {
        let made = match piece.fuse {
            Fuse::Interleave => piece.first..piece.first + all,
            Fuse::Stack => first..first + rows(slice),
        };
        first += rows(slice);
        let mut parts = matrix.parts.iter().filter(|p| p.rows.start < made.end && made.start < p.rows.end);
        let layout = parts.next().map(|part| part.layout);
        (slice, layout.filter(|layout| parts.all(|part| part.layout == *layout)))
    })
}

/// The format of a slice's rows after conversion.
fn dtype_of(checkpoint: &Checkpoint, slice: &Slice) -> Dtype {
    match slice.form {
        Form::Rows | Form::Columns { .. } => checkpoint.tensors[&slice.tensor].dtype,
        Form::Fp8 { .. } => Dtype::F32,
        Form::Mxfp4 { .. } => Dtype::Mxfp4,
    }
}

/// How to quantise the whole tensor of a slice, in rows as wide as those in which a load forms groups.
fn quantized(checkpoint: &Checkpoint, slice: &Slice, layout: Layout, width: usize) -> Quantized {
    let entry = &checkpoint.tensors[&slice.tensor];
    let Form::Columns { k, .. } = slice.form else {
        let stored = entry.k() as usize;
        // A stored row may hold several rows of the matrix: groups are contiguous if these are whole groups.
        let k = if width.is_multiple_of(GROUP) { stored } else { width };
        let slices = vec![Slice { rows: 0..entry.rows() * (stored / k) as u64, ..slice.clone() }];
        return Quantized { layout, k, slices };
    };
    let expert =
        |e| Slice { tensor: slice.tensor.clone(), rows: 0..entry.k(), form: Form::Columns { first: e * k, k } };
    Quantized { layout, k: k as usize, slices: (0..entry.rows() / k).map(expert).collect() }
}

fn packed(entry: &TensorEntry, quantized: Option<Quantized>) -> Result<Packed<'_>> {
    let Some(q) = quantized else {
        let (name, dtype, shape) = (entry.name.clone(), entry.dtype, entry.shape.clone());
        return Ok(Packed { name, dtype, shape, bytes: entry.bytes(), entry, quantized: None });
    };
    let dtype = if q.layout == Layout::Q4 { Dtype::Q4_0 } else { Dtype::Q8_0 };
    let (mut name, mut shape) = (entry.name.clone(), entry.shape.clone());
    if let Form::Columns { .. } = q.slices[0].form {
        name += ".weight"; // the name that linear layers have, which store rows
        let last = shape.len() - 1;
        shape.swap(last - 1, last);
    }
    let bytes = dtype.bytes(entry.elements());
    let bytes = bytes.ok_or_else(|| Error::Dtype { tensor: name.clone(), dtype: dtype.name().to_owned() })?;
    Ok(Packed { name, dtype, shape, bytes, entry, quantized: Some(q) })
}

impl Packed<'_> {
    /// Reads the tensor's bytes, a block at a time.
    pub async fn read<E: From<Error>>(
        &self,
        checkpoint: &Checkpoint,
        write: &mut dyn FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Some(Quantized { layout, k, slices }) = &self.quantized else {
            let mut range = self.entry.range.clone();
            while !range.is_empty() {
                let end = range.end.min(range.start + BLOCK);
                write(&checkpoint.shards[self.entry.shard].read(range.start..end).await?)?;
                range.start = end;
            }
            return Ok(());
        };
        let step = (BLOCK / (*k as u64 * 4)).max(1);
        for slice in slices {
            // A tensor that is stored transposed is transposed as a whole.
            let step = if let Form::Columns { .. } = slice.form { slice.rows.end } else { step };
            let mut start = slice.rows.start;
            while start < slice.rows.end {
                let end = slice.rows.end.min(start + step);
                let (dtype, bytes) = read_slice(checkpoint, slice, *k, start..end).await?;
                let mut planes = Planes::default();
                quantize_rows(dtype, *layout, *k, &bytes, &mut planes);
                write(&blocks(&planes, *layout, *k))?;
                start = end;
            }
        }
        Ok(())
    }
}

/// Converts rows in a layout with one scale per group to blocks: the scale, then the codes.
fn blocks(planes: &Planes, layout: Layout, k: usize) -> Vec<u8> {
    let (groups, codes) = (k / GROUP, layout.code_row_bytes(k) / (k / GROUP));
    let rows = planes.codes.chunks_exact(groups * codes).zip(planes.scales.chunks_exact(layout.scale_row_bytes(k)));
    let mut out = Vec::with_capacity(planes.codes.len() + planes.scales.len());
    for (row, scales) in rows {
        for (codes, scale) in row.chunks_exact(codes).zip(scales.chunks_exact(2)) {
            out.extend_from_slice(scale);
            out.extend_from_slice(codes);
        }
    }
    out
}
