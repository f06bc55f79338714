//! How the matrices and scratch of mixtures and of latent attention are declared.

use super::build::{Builder, MlaScratch, MoeScratch};
use super::config::{MlaConfig, MoeConfig};
use crate::gpu::{Activation, Layout, Matrix, Role};
use crate::kernels::Route;
use crate::weights::load::{Fuse, Piece, Slice};
use crate::weights::repack::becomes;
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
    /// published as one tensor, as two, or as two for each expert.
    pub(super) fn experts_up(&mut self, label: &str, layer: usize, moe: &MoeConfig) -> Result<Matrix> {
        let (experts, inner, hidden) = (moe.experts, moe.inner, self.config.hidden_size);
        let role = |role: &str| format!("{layer}.{role}");
        let n = inner as u64;
        let slice = |tensor: &str, first: u64| Slice { tensor: tensor.to_owned(), rows: first..first + n };
        let (mut layouts, mut turns) = (Vec::new(), Vec::new());
        if self.has(&role("experts.gate_up")) {
            let (layout, name) = self.layout(&role("experts.gate_up"), &[experts, 2 * inner, hidden])?;
            layouts.push((layout, name.clone()));
            turns.extend((0..experts as u64).map(|e| vec![slice(&name, 2 * e * n), slice(&name, (2 * e + 1) * n)]));
        } else if self.has(&role("experts.gate")) {
            let gate = self.layout(&role("experts.gate"), &[experts, inner, hidden])?;
            let up = self.layout(&role("experts.up"), &[experts, inner, hidden])?;
            turns.extend((0..experts as u64).map(|e| vec![slice(&gate.1, e * n), slice(&up.1, e * n)]));
            layouts.extend([gate, up]);
        } else {
            for e in 0..experts {
                let gate = self.layout(&role(&format!("expert.{e}.gate")), &[inner, hidden])?;
                let up = self.layout(&role(&format!("expert.{e}.up")), &[inner, hidden])?;
                turns.push(vec![slice(&gate.1, 0), slice(&up.1, 0)]);
                layouts.extend([gate, up]);
            }
        }
        let pieces = turns
            .into_iter()
            .enumerate()
            .map(|(e, sources)| Piece { first: e * 2 * inner, sources, fuse: Fuse::Interleave })
            .collect();
        self.experts(label, experts, experts - moe.top_k, [2 * inner, hidden], &layouts, pieces)
    }

    /// The other half, `[experts · hidden, inner]`.
    pub(super) fn experts_down(&mut self, label: &str, layer: usize, moe: &MoeConfig) -> Result<Matrix> {
        let (experts, inner, hidden) = (moe.experts, moe.inner, self.config.hidden_size);
        let whole = format!("{layer}.experts.down");
        let layouts = if self.has(&whole) {
            vec![self.layout(&whole, &[experts, hidden, inner])?]
        } else {
            let role = |e| format!("{layer}.expert.{e}.down");
            (0..experts).map(|e| self.layout(&role(e), &[hidden, inner])).collect::<Result<_>>()?
        };
        let sources = layouts.iter().map(|(_, name)| self.whole(name)).collect();
        let pieces = vec![Piece { first: 0, sources, fuse: Fuse::Stack }];
        self.experts(label, experts, experts - moe.top_k, [hidden, inner], &layouts, pieces)
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
        let made = |name: &str| becomes(self.checkpoint.tensors[name].dtype, *layout);
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
