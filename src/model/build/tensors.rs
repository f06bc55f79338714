//! What a checkpoint's tensors are called, shaped and made of, and how matrices are loaded from them.

use super::Builder;
use crate::kernels::Quantize;
use crate::plan::{Arrival, Layout, Matrix, Part, QuantizeJob, Role};
use crate::weights::dtype::Dtype;
use crate::weights::load::{BLOCK, FP8_BLOCK, Form, Fuse, Piece, Quantizer, Slice, Task, factor_bytes, input_bytes};
use crate::weights::repack::{layout_for, unquantised};
use crate::weights::{Format, TensorEntry};
use crate::{Error, FormatKind, Result};

impl<'a> Builder<'a> {
    /// Whether the checkpoint has a tensor with this role.
    pub fn has(&self, role: &str) -> bool {
        self.names.candidates(role).iter().any(|name| self.checkpoint.tensors.contains_key(name))
    }

    /// Whether the config declares which biases exist; GGUF metadata does not.
    pub fn names_biases(&self) -> bool {
        self.checkpoint.format == Format::Safetensors
    }

    /// The error for a tensor that is missing.
    pub fn missing(&self, role: &str) -> Error {
        let name = &self.names.candidates(role)[0];
        Error::format(FormatKind::MissingTensor, &self.checkpoint.id, format!("tensor {name:?} is missing"))
    }

    /// The tensor with a role, which must have exactly this shape.
    pub(super) fn entry(&mut self, role: &str, shape: &[usize]) -> Result<&'a TensorEntry> {
        let names = self.names.candidates(role);
        let known = names.iter().find_map(|name| self.checkpoint.tensors.get(name));
        let entry = known.ok_or_else(|| self.missing(role))?;
        let name = entry.name.clone();
        // A single row may be stored as a vector.
        let found = entry.shape.iter().map(|&d| d as usize).skip_while(|&d| d == 1);
        if !found.eq(shape.iter().copied().skip_while(|&d| d == 1)) {
            return Err(Error::format(
                FormatKind::BadShape,
                self.checkpoint.shards[entry.shard].name(),
                format!("tensor {name:?} has shape {:?}, expected {shape:?}", entry.shape),
            ));
        }
        let packed = if entry.dtype == Dtype::U8 { 2 } else { 1 }; // 4-bit floats
        self.used.insert(name, packed * entry.elements());
        Ok(entry)
    }

    /// The shape of the tensor with a role, if it exists.
    pub(super) fn shape(&self, role: &str) -> Option<Vec<usize>> {
        let names = self.names.candidates(role);
        let entry = names.iter().find_map(|name| self.checkpoint.tensors.get(name))?;
        Some(entry.shape.iter().map(|&d| d as usize).collect())
    }

    /// The layout of a tensor on the GPU, and its name. All dimensions but the last count as rows.
    pub(super) fn layout(&mut self, role: &str, shape: &[usize]) -> Result<(Layout, String)> {
        let entry = self.entry(role, shape)?;
        let (rows, k) = (shape[..shape.len() - 1].iter().product::<usize>(), shape[shape.len() - 1]);
        let (dtype, name) = (self.made_of(entry)?, entry.name.clone());
        let layout = self
            .note(role, dtype, rows, k)
            .map_err(|_| Error::Dtype { tensor: name.clone(), dtype: entry.dtype.name().to_owned() })?;
        Ok((layout, name))
    }

    /// The layout of rows with a stored format; adds their bytes to the statistics.
    pub(super) fn note(&mut self, role: &str, dtype: Dtype, rows: usize, k: usize) -> Result<Layout> {
        let mut layout = layout_for(dtype)
            .ok_or_else(|| Error::Dtype { tensor: role.to_owned(), dtype: dtype.name().to_owned() })?;
        if unquantised(dtype) && k as u64 * 4 <= BLOCK {
            layout = self.quantization.layout(role, layout);
        }
        *self.bytes_by_layout.entry(layout).or_default() += rows as u64 * layout.row_bytes(k) as u64;
        Ok(layout)
    }

    pub(super) fn declare(&mut self, label: &str, k: usize, segments: &[(usize, Layout)]) -> Result<Matrix> {
        Matrix::declare(&mut self.buffers, label, k, segments, self.max_binding)
    }

    /// Adds the load task of a matrix. Weights that have to be quantised, decoded, transposed or interleaved are
    /// processed on the GPU.
    pub(super) fn load(&mut self, matrix: &Matrix, pieces: Vec<Piece>) {
        let sources = || pieces.iter().flat_map(|piece| &piece.sources);
        let columns = |source: &Slice| matches!(source.form, Form::Columns { .. });
        let unquantised = sources().any(|source| columns(source) || self.is_unquantised(&source.tensor));
        let arranged = pieces.iter().any(|piece| piece.fuse == Fuse::Interleave)
            || sources().any(|source| matches!(source.form, Form::Fp8 { .. }) || columns(source));
        let wanted = |part: &Part| {
            let layout = part.layout;
            layout.can_quantize() || arranged && !layout.has_scales() && matrix.k as u64 * 4 <= BLOCK
        };
        let quantizer = |part: &Part| (unquantised && wanted(part)).then(|| self.quantizer(matrix, part));
        let quantizers = matrix.parts.iter().map(quantizer).collect();
        self.tasks.push(Task::Matrix { matrix: matrix.clone(), pieces, quantizers });
    }

    /// Whether a tensor is stored unquantised, so that its rows may be quantised.
    pub(super) fn is_unquantised(&self, name: &str) -> bool {
        self.made_of(&self.checkpoint.tensors[name]).is_ok_and(unquantised)
    }

    /// All rows of a stored tensor.
    pub(super) fn whole(&self, name: &str) -> Slice {
        let entry = &self.checkpoint.tensors[name];
        let rows =
            if entry.dtype == Dtype::U8 { entry.rows() / entry.shape[entry.shape.len() - 2] } else { entry.rows() };
        self.slice(name, 0..rows)
    }

    /// A range of rows of a stored tensor. The names of block-scaled tensors determine those of their scales.
    pub(super) fn slice(&self, name: &str, rows: std::ops::Range<u64>) -> Slice {
        let form = match self.checkpoint.tensors[name].dtype {
            Dtype::F8_E4M3 => Form::Fp8 { scales: format!("{name}_scale_inv") },
            Dtype::U8 => Form::Mxfp4 { scales: name.replace("_blocks", "_scales") },
            _ => Form::Rows,
        };
        Slice { tensor: name.to_owned(), rows, form }
    }

    /// The format of a tensor's rows once its scales are applied or attached.
    pub(super) fn made_of(&self, entry: &TensorEntry) -> Result<Dtype> {
        let unknown = || Error::Dtype { tensor: entry.name.clone(), dtype: entry.dtype.name().to_owned() };
        match entry.dtype {
            Dtype::F8_E4M3 => {
                let scales = self.checkpoint.tensors.get(&format!("{}_scale_inv", entry.name)).ok_or_else(unknown)?;
                let blocks: Vec<u64> = entry.shape.iter().map(|d| d.div_ceil(FP8_BLOCK)).collect();
                if !unquantised(scales.dtype) || scales.shape != blocks {
                    let message = format!(
                        "tensor {:?} is {} {:?}, expected numbers {blocks:?}",
                        scales.name,
                        scales.dtype.name(),
                        scales.shape
                    );
                    return Err(Error::format(
                        FormatKind::BadShape,
                        self.checkpoint.shards[scales.shard].name(),
                        message,
                    ));
                }
                Ok(Dtype::F32)
            }
            Dtype::U8 if entry.name.ends_with("_blocks") => {
                let name = entry.name.replace("_blocks", "_scales");
                let scales = self.checkpoint.tensors.get(&name).ok_or_else(unknown)?;
                if scales.dtype != Dtype::U8 || scales.shape != entry.shape[..entry.shape.len() - 1] {
                    let message = format!("tensor {name:?} is {} {:?}", scales.dtype.name(), scales.shape);
                    return Err(Error::format(
                        FormatKind::BadShape,
                        self.checkpoint.shards[scales.shard].name(),
                        message,
                    ));
                }
                Ok(Dtype::Mxfp4)
            }
            other => Ok(other),
        }
    }

    fn quantizer(&mut self, matrix: &Matrix, part: &Part) -> Quantizer {
        let tensors = &self.checkpoint.tensors;
        let from = *self.arrival.get_or_insert_with(|| {
            let mut add = |label: &str, bytes: u64| self.buffers.add(label, bytes, Role::Scratch);
            let factors = tensors.values().filter(|t| t.dtype == Dtype::F8_E4M3).map(factor_bytes).max();
            Arrival {
                input: add("quantize.input", tensors.values().map(input_bytes).max().unwrap_or(BLOCK)),
                job: add("quantize.job", size_of::<QuantizeJob>() as u64),
                factors: add("quantize.factors", factors.unwrap_or(0)),
            }
        });
        let step = Quantize { part, k: matrix.k, from }.step(&matrix.label);
        Quantizer { step, from }
    }
}
