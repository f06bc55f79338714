//! The matrices and vectors of attention, MLPs and norms, each from one published tensor or from some that are fused.

use super::Builder;
use crate::kernels::RmsNorm;
use crate::plan::{Activation, Layout, Matrix, Vector};
use crate::weights::load::{Fuse, Piece, Task};
use crate::weights::repack::{layout_for, unquantised};
use crate::{Error, Result};

impl Builder<'_> {
    /// A published matrix `[rows, k]`.
    pub fn matrix(&mut self, label: &str, role: &[&str; 1], rows: usize, k: usize) -> Result<Matrix> {
        self.stacked(label, &[(role[0].to_owned(), rows)], k)
    }

    /// Published matrices `[rows, k]`, one below the other. Each keeps its layout.
    pub fn stacked(&mut self, label: &str, roles: &[(String, usize)], k: usize) -> Result<Matrix> {
        let mut stretches: Vec<(usize, Layout)> = Vec::new();
        let mut sources = Vec::new();
        for (role, rows) in roles {
            let (layout, name) = self.layout(role, &[*rows, k])?;
            sources.push(name);
            match stretches.last_mut() {
                Some((n, last)) if *last == layout => *n += rows,
                _ => stretches.push((*rows, layout)),
            }
        }
        let matrix = self.declare(label, k, &stretches)?;
        let sources = sources.iter().map(|name| self.whole(name)).collect();
        self.load(&matrix, vec![Piece { first: 0, sources, fuse: Fuse::Stack }]);
        Ok(matrix)
    }

    /// Gate and up, rows taking turns where both have one layout (`true`), else one below the other. The two are published
    /// apart, or as one with the gates above.
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
        // Rows that are quantised here take no turns with rows that were published so.
        let published = |b: &Self, name: &str| !(gate.can_quantize() && b.is_unquantised(name));
        let interleave = gate == up && published(self, &gate_name) == published(self, &up_name);
        let stretches = if interleave { vec![(2 * rows, gate)] } else { vec![(rows, gate), (rows, up)] };
        let matrix = self.declare(label, k, &stretches)?;
        if !interleave && self.scratch.gate_up.is_none() {
            let chunk = self.scratch.x.rows;
            self.scratch.gate_up = Some(Activation::declare(&mut self.buffers, "gate up", chunk, 2 * rows));
        }
        let fuse = if interleave { Fuse::Interleave } else { Fuse::Stack };
        let sources = vec![self.whole(&gate_name), self.whole(&up_name)];
        self.load(&matrix, vec![Piece { first: 0, sources, fuse }]);
        Ok((matrix, interleave))
    }

    /// Published vectors, one after the other.
    pub fn vector(&mut self, label: &str, roles: &[(String, usize)]) -> Result<Vector> {
        self.vector_fused(label, roles, false, 0.0)
    }

    /// Published vectors of one length, their values taking turns if `interleave`, and `add` added to each.
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

    /// The name of a published vector.
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

    /// Published tensors of constants, of any shape and all alike, as one vector; the values of several take turns.
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

    /// The weight of an RMS norm.
    pub fn gain(&mut self, label: &str, role: &str, len: usize) -> Result<Vector> {
        self.vector_fused(label, &[(role.to_owned(), len)], false, self.config.norm_offset)
    }

    /// An RMS norm over the hidden width.
    pub fn norm(&mut self, label: &str, role: &str) -> Result<RmsNorm> {
        let gain = self.gain(label, role, self.config.hidden_size)?;
        Ok(RmsNorm { gain, eps: self.config.rms_norm_eps as f32 })
    }
}
