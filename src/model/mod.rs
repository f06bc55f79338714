//! Turns a checkpoint's config and tensors into a [`Model`]: buffers to allocate, weights to load and plans to run.
//!
//! Adding an architecture is one file here, one row in `families.rs`, the defaults of its configuration class
//! (`config/defaults.py` writes them), one golden case.

mod blocks;
mod build;
pub mod config;
mod deepseek;
mod families;
mod gemma3;
mod gpt_oss;
mod kv_cache;
mod llama;
mod llama4;
mod moe;
mod names;
mod phi3;
mod qwen2;
mod qwen3;
mod record;
mod smollm3;

pub use build::{Builder, CHUNK, LongRope, ModelOptions, Quantization, Scratch, suited_chunk};
pub use config::ModelConfig;
pub use families::{ARCHITECTURES, Architecture, architecture, architecture_name};
pub use kv_cache::{AMPLE_CONTEXT, KvBuffer, KvCache, LayerCache, QUEUED_STEPS};
pub use record::{Layers, Mode, Recorder};

use crate::Result;
use crate::kernels::{Control, Embed, Epilogue, KvFormat, Matmul, Matvec, RmsNorm, Sample, Variants, suited};
use crate::plan::{Activation, Buffers, Matrix, Plan, Role};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::load::Task;

/// The recorded plans of a model, which share their buffers.
#[derive(Debug, Clone)]
pub struct Plans {
    /// Decodes one token: embedding, layers, head, sampling.
    pub decode: Plan,
    /// Prefills a chunk of tokens: embedding and layers.
    pub prefill: Plan,
    /// After `prefill`: computes the logits of its last token.
    pub head: Plan,
    /// After `head`: samples the next token.
    pub sample: Plan,
    /// After a `prefill` of at most [`Model::all_logits`] rows: computes the logits of all of its tokens.
    pub all_rows: Plan,
}

impl Plans {
    /// All plans.
    pub fn all(&self) -> [&Plan; 5] {
        [&self.decode, &self.prefill, &self.head, &self.sample, &self.all_rows]
    }

    /// The plans with kernel variants substituted.
    pub fn suited(&self, variants: Variants) -> Self {
        let [decode, prefill, head, sample, all_rows] = self.all().map(|plan| suited(plan, variants));
        Self { decode, prefill, head, sample, all_rows }
    }
}

/// The description of a model before anything is allocated or loaded: plain data.
pub struct Model {
    /// The model's config.
    pub config: ModelConfig,
    /// All buffers to allocate.
    pub buffers: Buffers,
    /// The load tasks that fill the weight buffers.
    pub tasks: Vec<Task>,
    /// The plans to run.
    pub plans: Plans,
    /// The control buffers.
    pub control: Control,
    /// The buffers of the KV cache.
    pub kv: Vec<KvBuffer>,
    /// Initial contents of buffers that are computed, not loaded, such as RoPE tables.
    pub constants: Vec<(crate::plan::BufferId, Vec<u8>)>,
    /// LongRoPE's tables, if the context is longer than the model's original one.
    pub long_rope: Option<LongRope>,
    /// Tokens that the KV cache holds.
    pub context_length: usize,
    /// The number format of the KV cache.
    pub kv_format: KvFormat,
    /// Tokens of a prefill chunk.
    pub chunk: usize,
    /// The logits of the `all_rows` plan, `[rows, vocabulary]` f32.
    pub all_logits: Activation,
    /// The number of weights, each counted once.
    pub parameters: u64,
    /// The number of active weights per token, without the experts that it is not routed to.
    pub active_parameters: u64,
    /// The names of the matrices' layouts, such as `q4_min`, ordered by bytes held.
    pub quantization: String,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("config", &self.config).field("context_length", &self.context_length).finish()
    }
}

impl Model {
    /// Declares the model of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Architecture`], [`Error::Dtype`], [`Error::Format`] where tensors are missing or misshapen,
    /// [`Error::BufferLimit`] where the device's bindings are too small for it.
    pub fn new(checkpoint: &Checkpoint, config: &ModelConfig, options: ModelOptions) -> Result<Self> {
        let architecture = architecture(&config.architecture)?;
        let mut b = Builder::new(checkpoint, config, options)?;
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);

        // A stored head is used, whatever the config says; if either the head or the embedding is missing, the other
        // serves as both.
        let tied = config.tie_word_embeddings || b.may_tie();
        let embed = if tied && !b.has("embed") && b.has("head") { "head" } else { "embed" };
        let embed = b.matrix(embed, &[embed], vocabulary, hidden)?;
        let layers = (architecture.build)(&mut b)?;
        let norm = b.norm("norm", "norm")?;
        let head = match (b.has("embed"), b.has("head")) {
            (true, true) => b.matrix("head", &["head"], vocabulary, hidden)?,
            _ if tied => embed.clone(),
            _ => return Err(b.missing("head")),
        };

        let all_rows = b.all_rows();
        let all_logits = Activation::declare(&mut b.buffers, "all logits", all_rows, vocabulary);
        let plans = record(&mut b, &embed, layers.as_ref(), norm, &head, all_logits);
        let quantization = b.quantization();
        let parameters = b.parameters();
        let active_parameters = parameters - b.inactive;
        let Builder { buffers, tasks, constants, control, kv, scratch, context_length, long_rope, .. } = b;
        Ok(Self {
            config: config.clone(),
            buffers,
            tasks,
            plans,
            control,
            kv: kv.buffers,
            constants,
            long_rope,
            context_length,
            kv_format: kv.format,
            chunk: scratch.x.rows,
            all_logits,
            parameters,
            active_parameters,
            quantization,
        })
    }
}

impl Model {
    /// Bytes of weights on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes(Role::Weights)
    }

    /// Bytes of the KV cache on the device.
    pub fn kv_bytes(&self) -> u64 {
        self.bytes(Role::Kv)
    }

    fn bytes(&self, role: Role) -> u64 {
        self.buffers.iter().filter(|b| b.role == role).map(|b| b.bytes).sum()
    }
}

fn record(
    b: &mut Builder<'_>,
    embed: &Matrix,
    layers: &dyn Layers,
    norm: RmsNorm,
    head: &Matrix,
    all_logits: Activation,
) -> Plans {
    let control = b.control;
    let x = b.scratch.x;
    let one_row = Activation { rows: 1, ..x };
    let epilogue = Epilogue { factor: (1.0 / b.config.logits_scale) as f32, ..Epilogue::default() };
    let last_row = Matvec { w: head, x, from: 0, y: control.logits, norm: Some(norm), epilogue };
    let head_steps: Vec<_> = last_row.steps("head", &control).collect();
    let sample_steps = Sample.steps("sample", &control);

    let mut decode = Plan::new("decode");
    decode.push(Embed { w: embed, x: one_row, scale: b.config.embedding_scale as f32 }.steps("embed", &control));
    let mut recorder = Recorder::new(Mode::Decode, decode, b);
    layers.record(&mut recorder);
    let mut decode = recorder.plan;
    decode.push(head_steps.clone());
    decode.push(sample_steps.clone());

    let mut prefill = Plan::new("prefill");
    prefill.push(Embed { w: embed, x, scale: b.config.embedding_scale as f32 }.steps("embed", &control));
    let mut recorder = Recorder::new(Mode::Prefill, prefill, b);
    layers.record(&mut recorder);
    let prefill = recorder.plan;

    let mut all_rows = Plan::new("all rows");
    let rows = all_logits.rows;
    let (x, normed) = (Activation { rows, ..x }, Activation { rows, ..b.scratch.normed });
    all_rows.push([crate::kernels::Norm { x, from: 0, y: normed, norm, add: false }.step("norm", &control)]);
    let every_row = Matmul { w: head, x: normed, y: all_logits, epilogue };
    all_rows.push(every_row.steps("head", &control));

    let plan = |label: &str, steps| Plan { label: label.to_owned(), steps };
    Plans { decode, prefill, head: plan("head", head_steps), sample: plan("sample", sample_steps.into()), all_rows }
}
