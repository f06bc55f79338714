//! The matrices and vectors of attention, MLPs and norms, each from one published tensor or from some that are fused.

use super::Builder;
use crate::kernels::RmsNorm;
use crate::plan::{Activation, Layout, Matrix, Vector};
use crate::weights::load::{Fuse, Piece, Task};
use crate::weights::repack::{layout_for, unquantised};
use crate::{Error, Result};

impl Builder<'_> {
    /// A stored matrix `[rows, k]`.
    pub fn matrix(&mut self, label: &str, role: &[&str; 1], rows: usize, k: usize) -> Result<Matrix> {
        self.stacked(label, &[(role[0].to_owned(), rows)], k)
    }

    /// Stored matrices `[rows, k]`, concatenated along rows. Each keeps its layout.
    pub fn stacked(&mut self, label: &str, roles: &[(String, usize)], k: usize) -> Result<Matrix> {
        let mut segments: Vec<(usize, Layout)> = Vec::new();
        let mut sources = Vec::new();
        for (role, rows) in roles {
            let (layout, name) = self.layout(role, &[*rows, k])?;
            sources.push(name);
            match segments.last_mut() {
                Some((n, last)) if *last == layout => *n += rows,
                _ => segments.push((*rows, layout)),
            }
        }
        let matrix = self.declare(label, k, &segments)?;
        let sources = sources.iter().map(|name| self.whole(name)).collect();
        self.load(&matrix, vec![Piece { first: 0, sources, fuse: Fuse::Stack }]);
        Ok(matrix)
    }

    /// Gate and up: rows interleaved if both have the same layout (`true`), else concatenated. They are stored as two
    /// tensors, or as one with the gate rows first.
    pub fn gate_up(&mut self, label: &str, layer: usize, rows: usize, k: usize) -> Result<(Matrix, bool)> {
        let role = |role: &str| format!("{layer}.{role}");
        if self.has(&role("gate_up")) && !self.has(&role("gate")) {
            let (layout, tensor) = self.layout(&role("gate_up"), &[2 * rows, k])?;
            let matrix = self.declare(label, k, &[(2 * rows, layout)])?;
            let half = |rows| self.slice(&tensor, rows);
            let n = rows as u64;
            let sources = vec![half(0..n), half(n..2 * n)];
            self.load(&matrix, vec![Piece { first: 0, sources, fuse: Fuse::Interleave }]);
            return Ok((matrix, true));
        }
        let (gate, gate_name) = self.layout(&role("gate"), &[rows, k])?;
        let (up, up_name) = self.layout(&role("up"), &[rows, k])?;
        // Rows that are quantised at load are not interleaved with rows that are stored quantised.
        let published = |b: &Self, name: &str| !(gate.can_quantize() && b.is_unquantised(name));
        let interleave = gate == up && published(self, &gate_name) == published(self, &up_name);
        let segments = if interleave { vec![(2 * rows, gate)] } else { vec![(rows, gate), (rows, up)] };
        let matrix = self.declare(label, k, &segments)?;
        if !interleave && self.scratch.gate_up.is_none() {
            let chunk = self.scratch.x.rows;
            self.scratch.gate_up = Some(Activation::declare(&mut self.buffers, "gate up", chunk, 2 * rows));
        }
        let fuse = if interleave { Fuse::Interleave } else { Fuse::Stack };
        let sources = vec![self.whole(&gate_name), self.whole(&up_name)];
        self.load(&matrix, vec![Piece { first: 0, sources, fuse }]);
        Ok((matrix, interleave))
    }

    /// Stored vectors, concatenated.
    pub fn vector(&mut self, label: &str, roles: &[(String, usize)]) -> Result<Vector> {
        self.vector_fused(label, roles, false, 0.0)
    }

    /// Stored vectors of one length, concatenated or interleaved, with `add` added to each value.
    pub fn vector_fused(
        &mut self,
        label: &str,
        roles: &[(String, usize)],
        interleave: bool,
        add: f32,
    ) -> Result<Vector> {
        let mut sources = Vec::new();
        for (role, len) in roles {
            sources.push(self.published_vector(role, *len)?);
        }
        let vector = Vector::declare(&mut self.buffers, label, roles.iter().map(|(_, n)| n).sum());
        let fuse = if interleave { Fuse::Interleave } else { Fuse::Stack };
        self.tasks.push(Task::Vector { vector, first: 0, sources, fuse, add });
        Ok(vector)
    }

    /// The name of a stored vector.
    pub(super) fn published_vector(&mut self, role: &str, len: usize) -> Result<String> {
        let entry = self.entry(role, &[len])?;
        match layout_for(entry.dtype).is_none_or(|l| l.has_scales()) {
            true => Err(Error::Dtype { tensor: entry.name.clone(), dtype: entry.dtype.name().to_owned() }),
            false => Ok(entry.name.clone()),
        }
    }

    /// A vector of ones.
    pub fn ones(&mut self, len: usize) -> Vector {
        let vector = Vector::declare(&mut self.buffers, "ones", len);
        self.constants.push((vector.buffer, bytemuck::cast_slice(&vec![1f32; len]).to_vec()));
        vector
    }

    /// Stored tensors of one shape, flattened to one vector; the values of several tensors are interleaved.
    pub fn flat(&mut self, label: &str, roles: &[String], shape: &[usize]) -> Result<Vector> {
        let mut sources = Vec::new();
        for role in roles {
            let entry = self.entry(role, shape)?;
            if !unquantised(entry.dtype) {
                return Err(Error::Dtype { tensor: entry.name.clone(), dtype: entry.dtype.name().to_owned() });
            }
            sources.push(entry.name.clone());
        }
        let vector = Vector::declare(&mut self.buffers, label, roles.len() * shape.iter().product::<usize>());
        self.tasks.push(Task::Vector { vector, first: 0, sources, fuse: Fuse::Interleave, add: 0.0 });
        Ok(vector)
    }

    /// The weight of an RMS norm. Some families publish it minus 1 (`norm_offset`).
    pub fn gain(&mut self, label: &str, role: &str, len: usize) -> Result<Vector> {
        self.vector_fused(label, &[(role.to_owned(), len)], false, self.config.norm_offset)
    }

    /// An RMS norm over the hidden width.
    pub fn norm(&mut self, label: &str, role: &str) -> Result<RmsNorm> {
        let gain = self.gain(label, role, self.config.hidden_size)?;
        Ok(RmsNorm { gain, eps: self.config.rms_norm_eps as f32 })
    }
}
