//! The matrices and scratch of mixtures of experts.

use super::Builder;
use super::scratch::{MAX_SHARED, MoeScratch, most_entries};
use crate::kernels::{Router, Sorted};
use crate::model::config::MoeConfig;
use crate::plan::{Activation, BufferId, GROUP, Layout, Matrix, Role, Units, Vector};
use crate::weights::load::{Form, Fuse, Piece, Slice, Task};
use crate::weights::repack::unquantised;
use crate::{Error, FormatKind, Result};

/// Experts that are stacked into one matrix.
pub(super) struct Stack {
    /// The number of experts.
    pub experts: usize,
    /// Rows and columns of each expert.
    pub shape: [usize; 2],
    /// Layouts and names of the source tensors.
    pub layouts: Vec<(Layout, String)>,
    /// The pieces to load, by expert.
    pub pieces: Vec<Piece>,
    /// Experts at the start whose rows are interleaved.
    pub interleaved: usize,
}

impl Stack {
    /// Appends these experts to `first`.
    fn after(self, mut first: Self) -> Self {
        let rows = first.experts * first.shape[0];
        first.pieces.extend(self.pieces.into_iter().map(|piece| Piece { first: piece.first + rows, ..piece }));
        first.layouts.extend(self.layouts);
        first.experts += self.experts;
        assert_eq!(self.interleaved, 0, "interleaved experts are the first");
        first
    }
}

/// How a model family stores the experts of a layer as one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FusedExperts {
    /// Rows of gates and ups are interleaved; otherwise gates go before ups.
    pub interleaved: bool,
    /// The tensor is stored transposed, `[experts, k, rows]`. If `k` and `rows` differ, the shape itself decides.
    pub transposed: bool,
}

/// How the experts of a layer are laid out in one tensor.
enum WholeExperts {
    /// By rows, in the tensor with this role.
    Rows(String),
    /// Transposed: their layout on the GPU, and the tensor's name.
    Columns((Layout, String)),
}

/// The matrices of a mixture: gates and ups interleaved, and downs.
pub(in crate::model) struct ExpertMatrices {
    pub up: Matrix,
    pub down: Matrix,
    /// The matrices of the shared expert.
    pub shared: SharedMatrices,
}

/// Where the shared expert's weights are.
pub(in crate::model) enum SharedMatrices {
    /// There is no shared expert.
    None,
    /// The shared expert is split into this many experts, the first in the matrices.
    Merged(usize),
    /// The shared expert has matrices of its own.
    Apart { up: Matrix, down: Matrix },
}

impl Builder<'_> {
    /// The activations shared by all mixtures of the model; the router has `logits` outputs.
    pub(in crate::model) fn moe_scratch(&mut self, moe: &MoeConfig, logits: usize) -> MoeScratch {
        if let Some(scratch) = self.scratch.moe {
            return scratch;
        }
        let (chunk, hidden) = (self.scratch.x.rows, self.config.hidden_size);
        let entries = most_entries(moe);
        let router = Router::declare(&mut self.buffers, chunk, logits, entries);
        let sorted = Sorted::declare(&mut self.buffers, chunk, entries, moe.experts + MAX_SHARED);
        let mut declare = |label: &str, width| Activation::declare(&mut self.buffers, label, chunk * entries, width);
        let (h, z) = (declare("experts", moe.inner), declare("expert outputs", hidden));
        let scratch = MoeScratch { router, sorted, h, z, shared: None };
        self.scratch.moe = Some(scratch);
        scratch
    }

    /// The activations of a shared expert that has matrices of its own.
    pub(in crate::model) fn shared_scratch(&mut self, inner: usize) -> Activation {
        let chunk = self.scratch.x.rows;
        let scratch = self.scratch.moe.as_mut().expect("declared before");
        *scratch.shared.get_or_insert_with(|| Activation::declare(&mut self.buffers, "shared expert", chunk, inner))
    }

    /// A layer's router table: corrections, if the checkpoint has them, and the experts' slots, numbered from `first`.
    pub(in crate::model) fn route_table(
        &mut self,
        label: &str,
        correction: Option<&str>,
        experts: usize,
        first: usize,
    ) -> Result<BufferId> {
        let table = self.buffers.add(label, experts as u64 * 8, Role::Weights);
        let slots = (first..first + experts).map(|slot| slot as u32);
        let words: Vec<u32> = std::iter::repeat_n(0, experts).chain(slots).collect();
        self.constants.push((table, bytemuck::cast_slice(&words).to_vec()));
        if let Some(role) = correction {
            let sources = vec![self.published_vector(role, experts)?];
            let vector = Vector { buffer: table, len: experts };
            self.tasks.push(Task::Vector { vector, first: 0, sources, fuse: Fuse::Stack, add: 0.0 });
        }
        Ok(table)
    }

    /// The matrices of a layer's mixture. The shared expert is split into additional experts of the same matrices if
    /// its width and layouts allow.
    pub(in crate::model) fn expert_matrices(
        &mut self,
        label: &str,
        layer: usize,
        moe: &MoeConfig,
        fused: FusedExperts,
    ) -> Result<ExpertMatrices> {
        let (up, down) = (self.experts_up(layer, moe, fused)?, self.experts_down(layer, moe, fused)?);
        self.inactive += ((moe.experts - moe.top_k) * 3 * moe.inner * self.config.hidden_size) as u64;
        let [up_label, down_label] = ["up", "down"].map(|s| format!("{label}.{s}"));
        let Some(width) = moe.shared_inner else {
            let (up, down) = (self.experts(&up_label, up)?, self.experts(&down_label, down)?);
            return Ok(ExpertMatrices { up, down, shared: SharedMatrices::None });
        };
        let (shared_up, shared_down) = (self.shared_up(layer, width)?, self.shared_down(layer, width)?);
        if !(self.fits_among(&shared_up, &up, moe, width) && self.fits_among(&shared_down, &down, moe, width)) {
            let [own_up, own_down] = ["up", "down"].map(|s| format!("{label}.shared.{s}"));
            return Ok(ExpertMatrices {
                up: self.experts(&up_label, up)?,
                down: self.experts(&down_label, down)?,
                shared: SharedMatrices::Apart {
                    up: self.experts(&own_up, shared_up)?,
                    down: self.experts(&own_down, shared_down)?,
                },
            });
        }
        let parts = width / moe.inner;
        let (up, down) =
            (up.after(self.split_shared_up(shared_up, moe)), down.after(split_shared_down(shared_down, moe)));
        Ok(ExpertMatrices {
            up: self.experts(&up_label, up)?,
            down: self.experts(&down_label, down)?,
            shared: SharedMatrices::Merged(parts),
        })
    }

    /// Whether the shared expert, split to the width of the routed experts, can be stored in their matrices.
    fn fits_among(&self, shared: &Stack, experts: &Stack, moe: &MoeConfig, width: usize) -> bool {
        let whole = |(_, name): &(Layout, String)| {
            let (block, _) = self.checkpoint.tensors[name].dtype.block();
            (moe.inner as u64).is_multiple_of(block)
        };
        let [rows, k] = experts.shape;
        let layout = experts.layouts[0].0;
        let row = layout.code_row_bytes(k).max(layout.scale_row_bytes(k)) as u64;
        let parts = width / moe.inner;
        let fits = parts as u64 * rows as u64 * row <= self.max_binding;
        width.is_multiple_of(moe.inner)
            && parts <= MAX_SHARED
            && fits
            && (shared.shape[1] == k || shared.layouts.iter().all(whole)) // rows stay whole, or split at block boundaries
            && self.first_mismatch(shared.layouts.iter().chain(&experts.layouts)).is_none()
    }

    /// The shared expert's gate and up projections, split into experts of the usual width.
    fn split_shared_up(&self, shared: Stack, moe: &MoeConfig) -> Stack {
        let [gate, up] = [0, 1].map(|i| shared.layouts[i].1.clone());
        let (experts, n) = (shared.shape[0] / 2 / moe.inner, moe.inner as u64);
        let of = |e: u64| [&gate, &up].map(|name| self.slice(name, e * n..(e + 1) * n)).to_vec();
        let piece = |e: usize| Piece { first: e * 2 * moe.inner, sources: of(e as u64), fuse: Fuse::Interleave };
        Stack { experts, shape: [2 * moe.inner, shared.shape[1]], pieces: (0..experts).map(piece).collect(), ..shared }
    }

    /// Gates and ups of all experts of a layer, `[experts · 2 inner, hidden]`, interleaved within an expert. They are
    /// stored as one tensor, as two tensors, or as two tensors per expert.
    fn experts_up(&mut self, layer: usize, moe: &MoeConfig, fused: FusedExperts) -> Result<Stack> {
        let (experts, inner, hidden) = (moe.experts, moe.inner, self.config.hidden_size);
        let interleaved = fused.interleaved;
        let role = |role: &str| format!("{layer}.{role}");
        let n = inner as u64;
        let slice = |b: &Self, tensor: &str, first: u64| b.slice(tensor, first..first + n);
        let (mut layouts, mut sources) = (Vec::new(), Vec::new());
        let whole = self.whole_experts(&role("experts.gate_up"), [experts, 2 * inner, hidden], fused)?;
        if let Some(WholeExperts::Columns(columns)) = whole {
            // Columns hold gates before ups (Llama 4), or already interleaved (gpt-oss).
            let (layout, name) = columns;
            let column = |e: u64, rows| {
                let form = Form::Columns { first: e * hidden as u64, k: hidden as u64 };
                Slice { tensor: name.clone(), rows, form }
            };
            let of = |e| match interleaved {
                true => vec![column(e, 0..2 * n)],
                false => vec![column(e, 0..n), column(e, n..2 * n)],
            };
            sources.extend((0..experts as u64).map(of));
            layouts.push((layout, name));
        } else if let Some(WholeExperts::Rows(role)) = whole {
            let (layout, name) = self.layout(&role, &[experts, 2 * inner, hidden])?;
            let of = |e: u64| match interleaved {
                true => vec![self.slice(&name, 2 * e * n..2 * (e + 1) * n)],
                false => vec![slice(self, &name, 2 * e * n), slice(self, &name, (2 * e + 1) * n)],
            };
            sources.extend((0..experts as u64).map(of));
            layouts.push((layout, name));
        } else if self.has(&role("experts.gate_up.blocks")) {
            let shape = [experts, 2 * inner, hidden / GROUP, GROUP / 2];
            let (layout, name) = self.packed(&role("experts.gate_up.blocks"), &shape)?;
            let whole = |e: u64| vec![self.slice(&name, 2 * e * n..2 * (e + 1) * n)];
            sources.extend((0..experts as u64).map(whole));
            layouts.push((layout, name));
        } else if self.has(&role("experts.gate_up")) {
            let (layout, name) = self.layout(&role("experts.gate_up"), &[experts, 2 * inner, hidden])?;
            layouts.push((layout, name.clone()));
            sources.extend(
                (0..experts as u64).map(|e| vec![slice(self, &name, 2 * e * n), slice(self, &name, (2 * e + 1) * n)]),
            );
        } else if self.has(&role("experts.gate")) {
            let gate = self.layout(&role("experts.gate"), &[experts, inner, hidden])?;
            let up = self.layout(&role("experts.up"), &[experts, inner, hidden])?;
            sources.extend((0..experts as u64).map(|e| vec![slice(self, &gate.1, e * n), slice(self, &up.1, e * n)]));
            layouts.extend([gate, up]);
        } else {
            for e in 0..experts {
                let gate = self.layout(&role(&format!("expert.{e}.gate")), &[inner, hidden])?;
                let up = self.layout(&role(&format!("expert.{e}.up")), &[inner, hidden])?;
                sources.push(vec![slice(self, &gate.1, 0), slice(self, &up.1, 0)]);
                layouts.extend([gate, up]);
            }
        }
        let pieces = sources
            .into_iter()
            .enumerate()
            .map(|(e, sources)| {
                let fuse = if sources.len() == 1 { Fuse::Stack } else { Fuse::Interleave };
                Piece { first: e * 2 * inner, sources, fuse }
            })
            .collect();
        Ok(Stack { experts, shape: [2 * inner, hidden], layouts, pieces, interleaved: 0 })
    }

    /// Down projections of all experts of a layer, `[experts · hidden, inner]`.
    fn experts_down(&mut self, layer: usize, moe: &MoeConfig, fused: FusedExperts) -> Result<Stack> {
        let (experts, inner, hidden) = (moe.experts, moe.inner, self.config.hidden_size);
        let whole = format!("{layer}.experts.down");
        let rows = self.whole_experts(&whole, [experts, hidden, inner], fused)?;
        if let Some(WholeExperts::Columns(columns)) = rows {
            let form = |e: usize| Form::Columns { first: (e * inner) as u64, k: inner as u64 };
            let column = |e| Slice { tensor: columns.1.clone(), rows: 0..hidden as u64, form: form(e) };
            let pieces = vec![Piece { first: 0, sources: (0..experts).map(column).collect(), fuse: Fuse::Stack }];
            return Ok(Stack { experts, shape: [hidden, inner], layouts: vec![columns], pieces, interleaved: 0 });
        }
        let blocks = format!("{whole}.blocks");
        let layouts = if let Some(WholeExperts::Rows(role)) = rows {
            vec![self.layout(&role, &[experts, hidden, inner])?]
        } else if self.has(&blocks) {
            vec![self.packed(&blocks, &[experts, hidden, inner / GROUP, GROUP / 2])?]
        } else if self.has(&whole) {
            vec![self.layout(&whole, &[experts, hidden, inner])?]
        } else {
            let role = |e| format!("{layer}.expert.{e}.down");
            (0..experts).map(|e| self.layout(&role(e), &[hidden, inner])).collect::<Result<_>>()?
        };
        let sources = layouts.iter().map(|(_, name)| self.whole(name)).collect();
        let pieces = vec![Piece { first: 0, sources, fuse: Fuse::Stack }];
        Ok(Stack { experts, shape: [hidden, inner], layouts, pieces, interleaved: 0 })
    }

    /// The experts of one tensor, `[experts, rows, k]` or, transposed, `[experts, k, rows]`; `None` if there is no such
    /// tensor.
    fn whole_experts(&mut self, role: &str, shape: [usize; 3], fused: FusedExperts) -> Result<Option<WholeExperts>> {
        // Packs store experts by rows, however the original tensor was stored.
        let rows = format!("{role}.rows");
        if self.has(&rows) {
            return Ok(Some(WholeExperts::Rows(rows)));
        }
        let role = format!("{role}.whole");
        if !self.has(&role) {
            return Ok(None);
        }
        let [experts, rows, k] = shape;
        let transposed = [experts, k, rows];
        let found = self.shape(&role);
        if rows != k && found == Some(vec![experts, rows, k]) || rows == k && !fused.transposed {
            return Ok(Some(WholeExperts::Rows(role)));
        }
        let entry = self
            .entry(&role, if fused.transposed || found == Some(transposed.to_vec()) { &transposed } else { &shape })?;
        let (name, dtype) = (entry.name.clone(), entry.dtype);
        if !unquantised(dtype) {
            return Err(Error::Dtype { tensor: name, dtype: dtype.name().to_owned() });
        }
        Ok(Some(WholeExperts::Columns((self.note(&role, dtype, experts * rows, k)?, name))))
    }

    /// The layout and name of a tensor of 4-bit floats, `[experts, rows, groups, bytes]`.
    fn packed(&mut self, role: &str, shape: &[usize; 4]) -> Result<(Layout, String)> {
        let entry = self.entry(role, shape)?;
        let (name, dtype) = (entry.name.clone(), self.made_of(entry)?);
        let [experts, rows, groups, _] = *shape;
        self.used.insert(name.clone(), (experts * rows * groups * GROUP) as u64); // two weights per byte
        Ok((self.note(role, dtype, experts * rows, groups * GROUP)?, name))
    }

    /// The shared expert's gate and up projections, `[2 width, hidden]`, interleaved, as one expert.
    fn shared_up(&mut self, layer: usize, width: usize) -> Result<Stack> {
        let hidden = self.config.hidden_size;
        let gate = self.layout(&format!("{layer}.shared.gate"), &[width, hidden])?;
        let up = self.layout(&format!("{layer}.shared.up"), &[width, hidden])?;
        let sources = vec![self.whole(&gate.1), self.whole(&up.1)];
        let pieces = vec![Piece { first: 0, sources, fuse: Fuse::Interleave }];
        Ok(Stack { experts: 1, shape: [2 * width, hidden], layouts: vec![gate, up], pieces, interleaved: 0 })
    }

    /// The shared expert's down projection, `[hidden, width]`.
    fn shared_down(&mut self, layer: usize, width: usize) -> Result<Stack> {
        let hidden = self.config.hidden_size;
        let down = self.layout(&format!("{layer}.shared.down"), &[hidden, width])?;
        let pieces = vec![Piece { first: 0, sources: vec![self.whole(&down.1)], fuse: Fuse::Stack }];
        Ok(Stack { experts: 1, shape: [hidden, width], layouts: vec![down], pieces, interleaved: 0 })
    }

    /// The first tensor that cannot share a part with those before it, with the first tensor of all.
    pub(super) fn first_mismatch<'b>(
        &self,
        mut layouts: impl Iterator<Item = &'b (Layout, String)>,
    ) -> Option<[String; 2]> {
        let (layout, first) = layouts.next()?;
        let made = |name: &str| layout.can_quantize() && self.is_unquantised(name);
        let other = layouts.find(|(other, name)| other != layout || made(name) != made(first));
        other.map(|(_, name)| [first.clone(), name.clone()])
    }

    /// Declares the matrix of a stack of experts and its load task.
    pub(super) fn experts(&mut self, label: &str, stack: Stack) -> Result<Matrix> {
        self.stack(label, stack, true)
    }

    /// Declares a matrix of units and its load task. Workers may divide the rows of each unit, if `divided` says so.
    pub(super) fn stack(&mut self, label: &str, stack: Stack, divided: bool) -> Result<Matrix> {
        let Stack { experts, shape: [rows, k], layouts, pieces, interleaved } = stack;
        let units = Units { rows, interleaved, divided };
        if let Some([first, name]) = self.first_mismatch(layouts.iter()) {
            let message = format!("tensors {first:?} and {name:?} of one mixture are quantised differently");
            return Err(Error::format(FormatKind::UnsupportedFeature, &self.checkpoint.id, message));
        }
        let segments = [(experts * rows, layouts[0].0)];
        let matrix = Matrix::declare_in_units(&mut self.buffers, label, k, &segments, units, self.max_binding)?;
        self.load(&matrix, pieces);
        Ok(matrix)
    }
}

/// The shared expert's down projection, split into experts of the usual width. Their rows are interleaved, as the bytes
/// are stored.
fn split_shared_down(shared: Stack, moe: &MoeConfig) -> Stack {
    let [rows, width] = shared.shape;
    let experts = width / moe.inner;
    let mut pieces = shared.pieces;
    pieces[0].sources[0].rows = 0..(rows * experts) as u64;
    Stack { experts, shape: [rows, moe.inner], pieces, interleaved: experts, ..shared }
}
