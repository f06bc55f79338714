//! How the matrices and scratch of mixtures and of latent attention are declared.

use super::build::{Builder, MlaScratch, MoeScratch};
use super::config::{MlaConfig, MoeConfig};
use crate::gpu::{Activation, GROUP, Layout, Matrix, Role};
use crate::kernels::Route;
use crate::weights::load::{Form, Fuse, Piece, Slice};
use crate::weights::repack::unquantised;
use crate::{Error, FormatKind, Result};

impl Builder<'_> {
    /// The scratch of the model's mixtures, all alike: `logits` of the router and `entries` of a token.
    pub(super) fn moe_scratch(&mut self, moe: &MoeConfig, logits: usize, entries: usize) -> MoeScratch {
        if let Some(scratch) = self.scratch.moe {
            return scratch;
        }
        let chunk = self.scratch.x.rows;
        let slots = self.buffers.add("slots", moe.experts as u64 * 4, Role::Weights);
        let places: Vec<u32> = (0..moe.experts as u32).collect();
        self.constants.push((slots, bytemuck::cast_slice(&places).to_vec()));
        let mut declare = |label: &str, rows, width| Activation::declare(&mut self.buffers, label, rows, width);
        let scratch = MoeScratch {
            logits: declare("router logits", chunk, logits),
            h: declare("experts", chunk * moe.top_k, moe.inner),
            shared: moe.shared_inner.map(|inner| declare("shared expert", chunk, inner)),
            routing: Route::declare(&mut self.buffers, chunk, entries),
            slots,
        };
        self.scratch.moe = Some(scratch);
        scratch
    }

    /// Gates and ups of all experts of a layer, `[experts · 2 inner, hidden]`, taking turns within an expert. They are
    /// published as one tensor, as two, or as two for each expert; `turning` says that they take turns in one that is
    /// published transposed.
    pub(super) fn experts_up(&mut self, label: &str, layer: usize, moe: &MoeConfig, turning: bool) -> Result<Matrix> {
        let (experts, inner, hidden) = (moe.experts, moe.inner, self.config.hidden_size);
        let role = |role: &str| format!("{layer}.{role}");
        let n = inner as u64;
        let slice = |b: &Self, tensor: &str, first: u64| b.slice(tensor, first..first + n);
        let (mut layouts, mut turns) = (Vec::new(), Vec::new());
        if let Some(columns) = self.columns(&role("experts.gate_up.columns"), [experts, hidden, 2 * inner])? {
            // Gates before ups (Llama 4), or taking turns already (gpt-oss).
            let (layout, name) = columns;
            let column = |e: u64, rows| {
                let form = Form::Columns { first: e * hidden as u64, k: hidden as u64 };
                Slice { tensor: name.clone(), rows, form }
            };
            let of = |e| match turning {
                true => vec![column(e, 0..2 * n)],
                false => vec![column(e, 0..n), column(e, n..2 * n)],
            };
            turns.extend((0..experts as u64).map(of));
            layouts.push((layout, name));
        } else if self.has(&role("experts.gate_up.blocks")) {
            let shape = [experts, 2 * inner, hidden / GROUP, GROUP / 2];
            let (layout, name) = self.packed(&role("experts.gate_up.blocks"), &shape)?;
            let whole = |e: u64| vec![self.slice(&name, 2 * e * n..2 * (e + 1) * n)];
            turns.extend((0..experts as u64).map(whole));
            layouts.push((layout, name));
        } else if self.has(&role("experts.gate_up")) {
            let (layout, name) = self.layout(&role("experts.gate_up"), &[experts, 2 * inner, hidden])?;
            layouts.push((layout, name.clone()));
            turns.extend(
                (0..experts as u64).map(|e| vec![slice(self, &name, 2 * e * n), slice(self, &name, (2 * e + 1) * n)]),
            );
        } else if self.has(&role("experts.gate")) {
            let gate = self.layout(&role("experts.gate"), &[experts, inner, hidden])?;
            let up = self.layout(&role("experts.up"), &[experts, inner, hidden])?;
            turns.extend((0..experts as u64).map(|e| vec![slice(self, &gate.1, e * n), slice(self, &up.1, e * n)]));
            layouts.extend([gate, up]);
        } else {
            for e in 0..experts {
                let gate = self.layout(&role(&format!("expert.{e}.gate")), &[inner, hidden])?;
                let up = self.layout(&role(&format!("expert.{e}.up")), &[inner, hidden])?;
                turns.push(vec![slice(self, &gate.1, 0), slice(self, &up.1, 0)]);
                layouts.extend([gate, up]);
            }
        }
        let pieces = turns
            .into_iter()
            .enumerate()
            .map(|(e, sources)| {
                let fuse = if sources.len() == 1 { Fuse::Stack } else { Fuse::Interleave };
                Piece { first: e * 2 * inner, sources, fuse }
            })
            .collect();
        self.experts(label, experts, experts - moe.top_k, [2 * inner, hidden], &layouts, pieces)
    }

    /// The other half, `[experts · hidden, inner]`.
    pub(super) fn experts_down(&mut self, label: &str, layer: usize, moe: &MoeConfig) -> Result<Matrix> {
        let (experts, inner, hidden) = (moe.experts, moe.inner, self.config.hidden_size);
        let whole = format!("{layer}.experts.down");
        if let Some(columns) = self.columns(&format!("{whole}.columns"), [experts, inner, hidden])? {
            let form = |e: usize| Form::Columns { first: (e * inner) as u64, k: inner as u64 };
            let column = |e| Slice { tensor: columns.1.clone(), rows: 0..hidden as u64, form: form(e) };
            let pieces = vec![Piece { first: 0, sources: (0..experts).map(column).collect(), fuse: Fuse::Stack }];
            return self.experts(label, experts, experts - moe.top_k, [hidden, inner], &[columns], pieces);
        }
        let blocks = format!("{whole}.blocks");
        let layouts = if self.has(&blocks) {
            vec![self.packed(&blocks, &[experts, hidden, inner / GROUP, GROUP / 2])?]
        } else if self.has(&whole) {
            vec![self.layout(&whole, &[experts, hidden, inner])?]
        } else {
            let role = |e| format!("{layer}.expert.{e}.down");
            (0..experts).map(|e| self.layout(&role(e), &[hidden, inner])).collect::<Result<_>>()?
        };
        let sources = layouts.iter().map(|(_, name)| self.whole(name)).collect();
        let pieces = vec![Piece { first: 0, sources, fuse: Fuse::Stack }];
        self.experts(label, experts, experts - moe.top_k, [hidden, inner], &layouts, pieces)
    }

    /// A tensor of experts that is published transposed, `[experts, k, rows]`, if it is there: its layout and name.
    fn columns(&mut self, role: &str, shape: [usize; 3]) -> Result<Option<(Layout, String)>> {
        if !self.has(role) {
            return Ok(None);
        }
        let [experts, k, rows] = shape;
        let entry = self.entry(role, &shape)?;
        let (name, dtype) = (entry.name.clone(), entry.dtype);
        if !unquantised(dtype) {
            return Err(Error::Dtype { tensor: name, dtype: dtype.name().to_owned() });
        }
        Ok(Some((self.note(role, dtype, experts * rows, k)?, name)))
    }

    /// A tensor of 4-bit floats, `[experts, rows, groups, bytes]`: its layout and name.
    fn packed(&mut self, role: &str, shape: &[usize; 4]) -> Result<(Layout, String)> {
        let entry = self.entry(role, shape)?;
        let (name, dtype) = (entry.name.clone(), self.made_of(entry)?);
        let [experts, rows, groups, _] = *shape;
        self.used.insert(name.clone(), (experts * rows * groups * GROUP) as u64); // two weights a byte
        Ok((self.note(role, dtype, experts * rows, groups * GROUP)?, name))
    }

    /// Gate and up of the part that every token goes to, `[2 inner, hidden]`, taking turns: one expert of its own.
    pub(super) fn shared_up(&mut self, label: &str, layer: usize, inner: usize) -> Result<Matrix> {
        let hidden = self.config.hidden_size;
        let gate = self.layout(&format!("{layer}.shared.gate"), &[inner, hidden])?;
        let up = self.layout(&format!("{layer}.shared.up"), &[inner, hidden])?;
        let sources = vec![self.whole(&gate.1), self.whole(&up.1)];
        let pieces = vec![Piece { first: 0, sources, fuse: Fuse::Interleave }];
        self.experts(label, 1, 0, [2 * inner, hidden], &[gate, up], pieces)
    }

    /// Its other half, `[hidden, inner]`.
    pub(super) fn shared_down(&mut self, label: &str, layer: usize, inner: usize) -> Result<Matrix> {
        let hidden = self.config.hidden_size;
        let down = self.layout(&format!("{layer}.shared.down"), &[hidden, inner])?;
        let pieces = vec![Piece { first: 0, sources: vec![self.whole(&down.1)], fuse: Fuse::Stack }];
        self.experts(label, 1, 0, [hidden, inner], &[down], pieces)
    }

    /// A published matrix `[units · rows, k]` whose parts hold whole units: the heads of latent attention.
    pub(super) fn in_units(&mut self, label: &str, role: &str, [units, rows, k]: [usize; 3]) -> Result<Matrix> {
        let published = self.layout(role, &[units * rows, k])?;
        let pieces = vec![Piece { first: 0, sources: vec![self.whole(&published.1)], fuse: Fuse::Stack }];
        self.experts(label, units, 0, [rows, k], &[published], pieces)
    }

    /// The scratch of latent attention, the same in all layers.
    pub(super) fn mla_scratch(&mut self, mla: MlaConfig) -> MlaScratch {
        if let Some(scratch) = self.scratch.mla {
            return scratch;
        }
        let (chunk, heads, rotary) = (self.scratch.x.rows, self.config.num_heads, self.config.head_dim);
        let mut declare = |label: &str, width| Activation::declare(&mut self.buffers, label, chunk, width);
        let scratch = MlaScratch {
            q_a: mla.q_lora_rank.map(|rank| [declare("q latent", rank), declare("q latent, normed", rank)]),
            q: declare("latent q", heads * (mla.qk_nope_head_dim + rotary)),
            kv_a: declare("kv latent", mla.kv_lora_rank + rotary),
            query: declare("absorbed q", heads * (mla.kv_lora_rank + rotary)),
            latent: declare("attended latents", heads * mla.kv_lora_rank),
            values: declare("values", heads * mla.v_head_dim),
        };
        self.scratch.mla = Some(scratch);
        scratch
    }

    /// A matrix of `[rows, k]` for each expert, of which `idle` are not used by a token.
    fn experts(
        &mut self,
        label: &str,
        experts: usize,
        idle: usize,
        [rows, k]: [usize; 2],
        layouts: &[(Layout, String)],
        pieces: Vec<Piece>,
    ) -> Result<Matrix> {
        let (layout, first) = &layouts[0];
        let made = |name: &str| layout.can_quantize() && self.is_unquantised(name);
        let other = layouts.iter().find(|(other, name)| other != layout || made(name) != made(first));
        if let Some((_, name)) = other {
            let message = format!("tensors {first:?} and {name:?} of one mixture are quantised differently");
            return Err(Error::format(FormatKind::UnsupportedFeature, &self.checkpoint.id, message));
        }
        let stretches = [(experts * rows, *layout)];
        let matrix = Matrix::declare_in_units(&mut self.buffers, label, k, &stretches, rows, self.max_binding)?;
        self.inactive += (idle * rows * k) as u64;
        self.load(&matrix, pieces);
        Ok(matrix)
    }
}
