//! Declares a model's weights, buffers and load tasks: the [`Builder`] that architectures use.

use std::collections::BTreeMap;

use super::build_experts::most_entries;
use super::config::RopeFactors;
use super::kv_cache::{KvSizes, kv_format, largest_context};
use super::names::Names;
use super::{KvCache, ModelConfig};
use crate::kernels::{
    Attention, Control, Gate, KvFormat, MAX_VALUE_DIM, Quantize, RmsNorm, Router, Sorted, TOKEN_TILE, rope_table,
    splits,
};
use crate::plan::{Activation, Arrival, BufferId, Buffers, GROUP, Layout, Matrix, Part, QuantizeJob, Role, Vector};
use crate::weights::checkpoint::{Checkpoint, Format, TensorEntry};
use crate::weights::dtype::Dtype;
use crate::weights::load::{BLOCK, FP8_BLOCK, Form, Fuse, Piece, Quantizer, Slice, Task, factor_bytes, input_bytes};
use crate::weights::repack::{layout_for, unquantised};
use crate::{Error, FormatKind, Result};

/// How unquantised weights are quantised at load. Weights that are stored quantised keep their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantization {
    /// They are not quantised.
    None,
    /// `Q8`: 8.5 bits per weight.
    Q8,
    /// `Q4`: 4.5 bits per weight in the layers. The embedding and the head become `Q8`: their errors reach the logits
    /// undiluted, and a token reads only one row of the embedding.
    Q4,
}

impl Quantization {
    fn layout(self, role: &str, published: Layout) -> Layout {
        match self {
            Self::None => published,
            // A router is small, and its errors would select the wrong experts.
            _ if role.ends_with("router") => published,
            Self::Q4 if !matches!(role, "embed" | "head") => Layout::Q4,
            Self::Q8 | Self::Q4 => Layout::Q8,
        }
    }
}

/// Options that determine how a model is laid out on a device.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// Largest storage binding, bytes.
    pub max_binding: u64,
    /// Requested tokens of context; the largest that fits by default.
    pub context_length: Option<usize>,
    /// Number format of the KV cache; by default f16, or q8 if [`AMPLE_CONTEXT`] or the requested context would not fit.
    pub kv_format: Option<KvFormat>,
    /// Bytes that the KV cache may take if no context length is requested.
    pub kv_budget: u64,
    /// Tokens of a prefill chunk, at most.
    pub chunk: usize,
    /// Quantisation of weights that are stored unquantised.
    pub quantization: Quantization,
    /// GGUF's RoPE frequency factors (divisors), if the file has them.
    pub rope_factors: RopeFactors,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            max_binding: 128 << 20,
            context_length: None,
            kv_format: None,
            kv_budget: 1 << 30,
            chunk: 64,
            quantization: Quantization::None,
            rope_factors: RopeFactors::default(),
        }
    }
}

/// LongRoPE's tables for sequences within the model's original context length, and for longer ones (arXiv 2402.13753).
/// Keys rotated by one table do not match queries rotated by the other: when a sequence outgrows the original length,
/// all of it is prefilled again.
#[derive(Debug, Clone)]
pub struct LongRope {
    /// The buffer that holds the table in use; initially the one for short sequences.
    pub table: BufferId,
    /// The original context length, in tokens.
    pub original: usize,
    /// The table's bytes for sequences of at most `original` tokens.
    pub short: Vec<u8>,
    /// The table's bytes for longer sequences.
    pub long: Vec<u8>,
}

/// Rows of logits that are computed together when all rows are requested.
const ALL_ROWS: usize = TOKEN_TILE;

/// Activations, shared by all layers and plans. `[chunk, …]` each.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the shapes suffice
pub struct Scratch {
    /// The residual stream, `[chunk, hidden]`.
    pub x: Activation,
    /// `x` after a norm, `[chunk, hidden]`.
    pub normed: Activation,
    /// `[chunk, (heads + 2 kv_heads) · head_dim]`
    pub qkv: Activation,
    /// Queries after rope, `[chunk, heads · head_dim]`.
    pub q: Activation,
    /// `[chunk, heads · head_dim]`
    pub attention: Activation,
    /// `[chunk, intermediate]`
    pub inner: Activation,
    /// `[chunk, 2 · intermediate]`, if gate and up of some layer are not interleaved.
    pub gate_up: Option<Activation>,
    /// Partial results of decode's attention splits, before their reduction.
    pub partials: BufferId,
    /// Activations of mixtures of experts.
    pub moe: Option<MoeScratch>,
    /// Activations of latent attention.
    pub mla: Option<MlaScratch>,
}

/// Activations of latent attention, `[chunk, …]` each.
#[derive(Debug, Clone, Copy)]
pub struct MlaScratch {
    /// The latent and the RoPE part of the key, then queries or their latent.
    pub down: Activation,
    /// The queries' latent after its norm, if queries have a latent.
    pub q_a: Option<Activation>,
    /// `heads · (rank + rope)`: absorbed queries to score against the cache, then the original queries if they are not
    /// in `down`.
    pub query: Activation,
    /// `heads · rank`
    pub latent: Activation,
    /// `heads · value_dim`
    pub values: Activation,
}

/// Activations of a mixture of experts.
#[derive(Debug, Clone, Copy)]
pub struct MoeScratch {
    /// Logits, then each token's entries.
    pub router: Router,
    /// The entries sorted by expert.
    pub sorted: Sorted,
    /// `[chunk · entries, inner]`
    pub h: Activation,
    /// `[chunk · entries, hidden]`
    pub z: Activation,
    /// `[chunk, shared inner]`, if the shared expert has matrices of its own.
    pub shared: Option<Activation>,
}

/// Collects a model's buffers and load tasks.
pub struct Builder<'a> {
    /// The facts.
    pub config: ModelConfig,
    pub(super) buffers: Buffers,
    pub(super) tasks: Vec<Task>,
    pub(super) constants: Vec<(BufferId, Vec<u8>)>,
    pub(super) control: Control,
    pub(super) scratch: Scratch,
    /// The KV caches of all layers.
    pub kv: KvCache,
    pub(super) context_length: usize,
    /// The gated activation of MLPs.
    pub gate: Gate,
    rope_table: BufferId,
    local_rope_table: BufferId,
    pub(super) long_rope: Option<LongRope>,
    pub(super) max_binding: u64,
    quantization: Quantization,
    /// Staging buffers for stored weights that the GPU quantises or rearranges.
    arrival: Option<Arrival>,
    pub(super) checkpoint: &'a Checkpoint,
    names: Names,
    bytes_by_layout: BTreeMap<Layout, u64>,
    pub(super) used: BTreeMap<String, u64>,
    /// The number of weights in experts that a token is not routed to.
    pub(super) inactive: u64,
}

impl<'a> Builder<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, config: &ModelConfig, options: ModelOptions) -> Result<Self> {
        let config = config.clone();
        if config.head_dim > MAX_VALUE_DIM || !config.head_dim.is_multiple_of(2) {
            return Err(Error::format(
                FormatKind::UnsupportedFeature,
                &checkpoint.id,
                format!("head_dim is {}; the attention kernel takes even ones up to {MAX_VALUE_DIM}", config.head_dim),
            ));
        }
        let gate = match config.hidden_act.as_str() {
            "silu" => Gate::Silu,
            "gelu_pytorch_tanh" => Gate::GeluTanh,
            other => {
                let message = format!("hidden_act is {other:?}; supported: silu, gelu_pytorch_tanh");
                return Err(Error::format(FormatKind::UnsupportedFeature, &checkpoint.id, message));
            }
        };
        let (hidden, inner, q) = (config.hidden_size, config.intermediate_size, config.num_heads * config.head_dim);
        let qkv = q + 2 * config.num_kv_heads * config.head_dim;
        let of_experts = config.moe.as_ref().map_or(0, |moe| most_entries(moe) * hidden.max(moe.inner));
        let of_latents = config.mla.map_or(0, |mla| {
            config.num_heads * (mla.kv_lora_rank + mla.qk_nope_head_dim + 2 * config.head_dim + GROUP)
        });
        let widest = hidden.max(inner).max(qkv).max(of_experts).max(of_latents).next_multiple_of(GROUP);
        let chunk = options.chunk.min(options.max_binding as usize / (widest * 4)).max(1);
        let fits =
            |format, tokens| KvSizes::new(&config, format, chunk).fit(tokens, options.max_binding, options.kv_budget);
        let own = config.max_position_embeddings;
        let format = kv_format(options.kv_format, options.context_length, own, fits);
        let sizes = KvSizes::new(&config, format, chunk);
        let context_length = context_length(&config, &options, &sizes)?;
        let chunk = chunk.min(context_length);

        let (kv_heads, value_dim) =
            config.mla.map_or((config.num_kv_heads, config.head_dim), |mla| (1, mla.kv_lora_rank));
        let mut buffers = Buffers::default();
        let control = Control::declare(&mut buffers, chunk, config.vocab_size);
        let mut declare = |label: &str, width| Activation::declare(&mut buffers, label, chunk, width);
        let scratch = Scratch {
            x: declare("x", hidden),
            normed: declare("normed", hidden),
            qkv: declare("qkv", qkv),
            q: declare("q", q),
            attention: declare("attention", q),
            inner: declare("inner", inner),
            gate_up: None,
            partials: Attention::declare_partials(
                &mut buffers,
                config.num_heads,
                splits(config.num_heads, kv_heads, value_dim, context_length),
                value_dim,
            ),
            moe: None,
            mla: None,
        };
        let kv = sizes.declare(&mut buffers, context_length);
        let mut constants = Vec::new();
        let mut table = |label: &str, table: Vec<[f32; 2]>| {
            let buffer = buffers.add(label, (table.len() * 8) as u64, Role::Weights);
            constants.push((buffer, bytemuck::cast_slice(&table).to_vec()));
            buffer
        };
        // The inverse frequencies for a sequence of a given length.
        let rotation = |sequence: usize| -> Result<Vec<[f32; 2]>> {
            let (mut inv_freq, scale) = config.rope.inv_freq(sequence);
            if let Some((name, factors)) = options.rope_factors.of(&config.rope.scaling, sequence) {
                let bad = |kind, message: String| Error::format(kind, &checkpoint.id, format!("{name} {message}"));
                let factors = factors.ok_or_else(|| bad(FormatKind::MissingTensor, "is missing".into()))?;
                if factors.len() != inv_freq.len() || factors.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
                    let message = format!("has {} values, not {} positive ones", factors.len(), inv_freq.len());
                    return Err(bad(FormatKind::BadShape, message));
                }
                inv_freq.iter_mut().zip(factors).for_each(|(f, &by)| *f /= f64::from(by));
            }
            Ok(rope_table(&inv_freq, scale, context_length))
        };
        let short = config.rope.scaling.original_length().filter(|&original| original < context_length);
        let first = rotation(short.unwrap_or(context_length))?;
        let long_rope = match short {
            Some(original) => Some((original, rotation(original + 1)?, first.clone())),
            None => None,
        };
        let rope_table_buffer = table("rope table", first);
        let long_rope = long_rope.map(|(original, long, short)| LongRope {
            table: rope_table_buffer,
            original,
            short: bytemuck::cast_slice(&short).to_vec(),
            long: bytemuck::cast_slice(&long).to_vec(),
        });
        let local_rope_table = config.local_rope.as_ref().map_or(rope_table_buffer, |rope| {
            let (inv_freq, scale) = rope.inv_freq(context_length);
            table("local rope table", rope_table(&inv_freq, scale, context_length))
        });
        Ok(Self {
            config,
            buffers,
            tasks: Vec::new(),
            constants,
            control,
            scratch,
            kv,
            context_length,
            gate,
            rope_table: rope_table_buffer,
            local_rope_table,
            long_rope,
            max_binding: options.max_binding,
            quantization: options.quantization,
            arrival: None,
            checkpoint,
            names: Names::of(checkpoint.format, |name| checkpoint.tensors.contains_key(name)),
            bytes_by_layout: BTreeMap::new(),
            used: BTreeMap::new(),
            inactive: 0,
        })
    }

    /// Whether the checkpoint has a tensor with this role.
    pub fn has(&self, role: &str) -> bool {
        self.names.candidates(role).iter().any(|name| self.checkpoint.tensors.contains_key(name))
    }

    /// The RoPE table of a layer and the number of rotated values per head.
    pub fn rope(&self, layer: usize) -> (BufferId, usize) {
        match self.config.rope(layer) {
            None => (self.rope_table, 0),
            Some(rope) if std::ptr::eq(rope, &self.config.rope) => (self.rope_table, rope.rotary_dim),
            Some(rope) => (self.local_rope_table, rope.rotary_dim),
        }
    }

    /// Whether the config declares which biases exist; GGUF metadata does not.
    pub fn names_biases(&self) -> bool {
        self.checkpoint.format == Format::Safetensors
    }

    /// Whether a missing head means tied embeddings, as in GGUF, which has no other way to declare them.
    pub(super) fn may_tie(&self) -> bool {
        self.checkpoint.format == Format::Gguf
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

    /// How many rows of logits one binding holds, at most [`ALL_ROWS`] and at most a chunk.
    pub(super) fn all_rows(&self) -> usize {
        let row = self.control.logits.stride() as u64 * 4;
        ((self.max_binding / row) as usize).clamp(1, ALL_ROWS).min(self.scratch.x.rows)
    }

    pub(super) fn parameters(&self) -> u64 {
        self.used.values().sum()
    }

    pub(super) fn quantization(&self) -> String {
        let mut layouts: Vec<_> = self.bytes_by_layout.iter().collect();
        layouts.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
        layouts.iter().map(|(layout, _)| layout.name()).collect::<Vec<_>>().join("+")
    }
}

/// The context length to allocate: the requested one, or the largest that the model, a binding and the budget allow.
fn context_length(config: &ModelConfig, options: &ModelOptions, sizes: &KvSizes) -> Result<usize> {
    let own = config.max_position_embeddings;
    match options.context_length {
        Some(0) => Err(Error::invalid("contextLength", "must be at least 1")),
        Some(n) if n > own => {
            Err(Error::invalid("contextLength", format!("{n} tokens were requested; the model's limit is {own}")))
        }
        Some(n) if sizes.largest(n) > options.max_binding => Err(Error::BufferLimit {
            what: format!(
                "a KV cache of {n} tokens ({} would fit)",
                largest_context(n, |n| sizes.largest(n) <= options.max_binding)
            ),
            needed: sizes.largest(n),
            limit: options.max_binding,
        }),
        Some(n) => Ok(n),
        None => Ok(largest_context(own, |n| sizes.fit(n, options.max_binding, options.kv_budget))),
    }
}
