//! The matrices and scratch of latent attention.

use super::Builder;
use super::experts::Stack;
use super::scratch::MlaScratch;
use crate::model::config::MlaConfig;
use crate::plan::{Activation, GROUP, Matrix, Vector};
use crate::weights::dtype::Dtype;
use crate::weights::load::{Form, Fuse, Piece, Slice, Task};
use crate::weights::repack::{layout_for, unquantised};
use crate::{Error, Result};

impl Builder<'_> {
    /// A stored matrix that is only split between whole units, the heads of latent attention: `[heads · rows, k]` or
    /// `[heads, rows, k]`.
    pub(in crate::model) fn in_units(&mut self, label: &str, role: &str, shape: &[usize]) -> Result<Matrix> {
        let published = self.layout(role, shape)?;
        let (units, k) = (self.config.num_heads, shape[shape.len() - 1]);
        let rows = shape[..shape.len() - 1].iter().product::<usize>() / units;
        let pieces = vec![Piece { first: 0, sources: vec![self.whole(&published.1)], fuse: Fuse::Stack }];
        let stack = Stack { experts: units, shape: [rows, k], layouts: vec![published], pieces, interleaved: 0 };
        self.stack(label, stack, false)
    }

    /// A tensor stored as `[units, k, rows]`, each unit transposed on load: `[units · rows, k]`. Values that are stored
    /// quantised along the other dimension are kept as f32.
    pub(in crate::model) fn transposed_units(&mut self, label: &str, role: &str, shape: [usize; 3]) -> Result<Matrix> {
        let [units, k, rows] = shape;
        let entry = self.entry(role, &shape)?;
        let (name, dtype) = (entry.name.clone(), entry.dtype);
        if layout_for(dtype).is_none() {
            return Err(Error::Dtype { tensor: name, dtype: dtype.name().to_owned() });
        }
        let dtype = if unquantised(dtype) { dtype } else { Dtype::F32 };
        let published = (self.note(role, dtype, units * rows, k)?, name);
        let form = |unit: usize| Form::Columns { first: (unit * k) as u64, k: k as u64 };
        let transposed = |unit| Slice { tensor: published.1.clone(), rows: 0..rows as u64, form: form(unit) };
        let pieces = vec![Piece { first: 0, sources: (0..units).map(transposed).collect(), fuse: Fuse::Stack }];
        let stack = Stack { experts: units, shape: [rows, k], layouts: vec![published], pieces, interleaved: 0 };
        self.stack(label, stack, false)
    }

    /// Two stored matrices `[rows, k]`, concatenated along rows with the second from row `at` on. Rows between them are
    /// zero.
    pub(in crate::model) fn stacked_apart(
        &mut self,
        label: &str,
        [first, second]: [(String, usize); 2],
        at: usize,
        k: usize,
    ) -> Result<Matrix> {
        let upper = self.layout(&first.0, &[first.1, k])?;
        let lower = self.layout(&second.0, &[second.1, k])?;
        let segments = match self.first_mismatch([&upper, &lower].into_iter()) {
            None => vec![(at + second.1, upper.0)],
            Some(_) => vec![(at, upper.0), (second.1, lower.0)],
        };
        let matrix = self.declare(label, k, &segments)?;
        let piece = |first, name: &str| Piece { first, sources: vec![self.whole(name)], fuse: Fuse::Stack };
        let pieces = vec![piece(0, &upper.1), piece(at, &lower.1)];
        self.load(&matrix, pieces);
        Ok(matrix)
    }

    /// The biases of a matrix from [`Self::stacked_apart`]; zeros for rows without a bias.
    pub(in crate::model) fn vector_apart(
        &mut self,
        label: &str,
        parts: [Option<(String, usize)>; 2],
        at: usize,
        rows: usize,
    ) -> Result<Vector> {
        let vector = Vector::declare(&mut self.buffers, label, rows);
        for (part, first) in parts.into_iter().zip([0, at]) {
            let Some((role, len)) = part else { continue };
            let entry = self.entry(&role, &[len])?;
            if !unquantised(entry.dtype) {
                return Err(Error::Dtype { tensor: entry.name.clone(), dtype: entry.dtype.name().to_owned() });
            }
            let sources = vec![entry.name.clone()];
            self.tasks.push(Task::Vector { vector, first, sources, fuse: Fuse::Stack, add: 0.0 });
        }
        Ok(vector)
    }

    /// The activations of latent attention, shared by all layers.
    pub(in crate::model) fn mla_scratch(&mut self, mla: MlaConfig) -> MlaScratch {
        if let Some(scratch) = self.scratch.mla {
            return scratch;
        }
        let (chunk, heads, rotary) = (self.scratch.x.rows, self.config.num_heads, self.config.head_dim);
        let (q, query) = (heads * (mla.qk_nope_head_dim + rotary), heads * (mla.kv_lora_rank + rotary));
        let first = (mla.kv_lora_rank + rotary).next_multiple_of(GROUP);
        let mut declare = |label: &str, width| Activation::declare(&mut self.buffers, label, chunk, width);
        let scratch = MlaScratch {
            down: declare("latents", first + mla.q_lora_rank.unwrap_or(q)),
            q_a: mla.q_lora_rank.map(|rank| declare("q latent, normed", rank)),
            query: declare(
                "absorbed q",
                if mla.q_lora_rank.is_some() { query.next_multiple_of(GROUP) + q } else { query },
            ),
            latent: declare("attended latents", heads * mla.kv_lora_rank),
            values: declare("values", heads * mla.v_head_dim),
        };
        self.scratch.mla = Some(scratch);
        scratch
    }
}
