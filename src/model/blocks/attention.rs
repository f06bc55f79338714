//! Grouped-query attention with rotary position embeddings, including input norm and residual addition.

use crate::Result;
use crate::kernels::{self, Epilogue, QkNorm, RmsNorm, RopeAppend, Span, Temperature};
use crate::model::{Builder, LayerCache, Mode, Recorder};
use crate::plan::{BufferId, Matrix, Vector};

/// Whether and how queries and keys are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QkNormKind {
    /// They are not normalised.
    #[default]
    None,
    /// Each head by itself.
    PerHead,
    /// All heads together.
    AllHeads,
    /// Each head by itself, without weights, in layers that use RoPE (Llama 4).
    PerHeadUnweighted,
}

/// Which optional parts an architecture's attention has in addition to its projections.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttentionParts {
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// A bias on the output.
    pub o_bias: bool,
    /// An RMS norm of queries and keys.
    pub qk_norm: QkNormKind,
    /// An RMS norm of the output, before it is added to the residual stream.
    pub post_norm: bool,
    /// An attention sink per head: a learned logit in the softmax that has no value.
    pub sinks: bool,
}

/// `x += W_o · attend(rope(W_qkv · norm(x)))`
pub struct Attention {
    label: String,
    norm: RmsNorm,
    qkv: Matrix,
    qkv_bias: Option<Vector>,
    o: Matrix,
    o_bias: Option<Vector>,
    qk_norm: Option<QkNorm>,
    post_norm: Option<RmsNorm>,
    sinks: Option<Vector>,
    temperature: Option<Temperature>,
    cache: LayerCache,
    span: Span,
    rope_table: BufferId,
    rotary_dim: usize,
}

impl Attention {
    /// Declares layer `i`'s weights.
    pub fn new(b: &mut Builder<'_>, i: usize, parts: AttentionParts) -> Result<Self> {
        let (hidden, head_dim) = (b.config.hidden_size, b.config.head_dim);
        let (q, kv) = (b.config.num_heads * head_dim, b.config.num_kv_heads * head_dim);
        let label = format!("l{i}.attn");
        let role = |r: &str| format!("{i}.{r}");
        let norm = b.norm(&format!("{label}.norm"), &role("attn_norm"))?;
        // The projections are stored as one tensor or as three.
        let projections = match b.has(&role("qkv")) {
            true => vec![(role("qkv"), q + 2 * kv)],
            false => vec![(role("q"), q), (role("k"), kv), (role("v"), kv)],
        };
        let qkv = b.stacked(&format!("{label}.qkv"), &projections, hidden)?;
        let qkv_bias = if parts.qkv_bias {
            let biases = match b.has(&role("qkv.bias")) {
                true => vec![(role("qkv.bias"), q + 2 * kv)],
                false => vec![(role("q.bias"), q), (role("k.bias"), kv), (role("v.bias"), kv)],
            };
            Some(b.vector(&format!("{label}.qkv.bias"), &biases)?)
        } else {
            None
        };
        let o = b.stacked(&format!("{label}.o"), &[(role("o"), hidden)], q)?;
        // GGUF metadata does not declare biases: their presence is the only sign.
        let o_bias = parts.o_bias && (b.names_biases() || b.has(&role("o.bias")));
        let o_bias =
            if o_bias { Some(b.vector(&format!("{label}.o.bias"), &[(role("o.bias"), hidden)])?) } else { None };
        let (rope_table, rotary_dim) = b.rope(i);
        let widths = match parts.qk_norm {
            QkNormKind::None | QkNormKind::PerHeadUnweighted => None,
            QkNormKind::PerHead => Some([head_dim; 2]),
            QkNormKind::AllHeads => Some([q, kv]),
        };
        let qk_norm = match widths {
            None if parts.qk_norm == QkNormKind::PerHeadUnweighted && rotary_dim > 0 => {
                let ones = b.ones(head_dim);
                Some(QkNorm { q: ones, k: ones, eps: b.config.rms_norm_eps as f32 })
            }
            None => None,
            Some([q, k]) => {
                let q = b.gain(&format!("{label}.q_norm"), &role("q_norm"), q)?;
                let k = b.gain(&format!("{label}.k_norm"), &role("k_norm"), k)?;
                Some(QkNorm { q, k, eps: b.config.rms_norm_eps as f32 })
            }
        };
        let post_norm = match parts.post_norm {
            true => Some(b.norm(&format!("{label}.post_norm"), &role("attn_post_norm"))?),
            false => None,
        };
        let sinks = match parts.sinks {
            true => Some(b.vector(&format!("{label}.sinks"), &[(role("sinks"), b.config.num_heads)])?),
            false => None,
        };
        let span = b.config.span(i);
        let temperature = b.config.temperature.filter(|_| rotary_dim == 0);
        let cache = b.kv.layers[i];
        Ok(Self {
            norm,
            qkv,
            qkv_bias,
            o,
            o_bias,
            qk_norm,
            post_norm,
            sinks,
            temperature,
            cache,
            span,
            rope_table,
            rotary_dim,
            label,
        })
    }

    /// Appends the block's steps.
    pub fn record(&self, r: &mut Recorder<'_>) {
        let label = |s: &str| format!("{}.{s}", self.label);
        let config = r.config;
        let (x, qkv, q, out) = (r.scratch.x, r.scratch.qkv, r.scratch.q, r.scratch.attention);
        r.linear(
            &label("qkv"),
            &self.qkv,
            Some(self.norm),
            x,
            qkv,
            Epilogue { bias: self.qkv_bias, ..Epilogue::default() },
        );
        let rope = RopeAppend {
            qkv: r.rows(qkv),
            q: r.rows(q),
            table: self.rope_table,
            k_cache: self.cache.keys,
            v_cache: self.cache.values,
            capacity: self.cache.tokens,
            format: r.kv_format,
            heads: config.num_heads,
            kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            rotary_dim: self.rotary_dim,
            interleaved: config.rope.interleaved,
            qk_norm: self.qk_norm,
            temperature: self.temperature,
        };
        r.plan.push([rope.step(&label("rope"), &r.control)]);
        let attention = kernels::Attention {
            q: r.rows(q),
            k_cache: self.cache.keys,
            v_cache: self.cache.values,
            capacity: self.cache.tokens,
            out: r.rows(out),
            format: r.kv_format,
            heads: config.num_heads,
            kv_heads: config.num_kv_heads,
            key_dim: config.head_dim,
            value_dim: config.head_dim,
            value_row: config.head_dim,
            span: self.span,
            scale: config.attention_scale.unwrap_or_else(|| 1.0 / (config.head_dim as f64).sqrt()) as f32,
            sinks: self.sinks,
        };
        match r.mode {
            Mode::Decode => r.plan.push(attention.decode(&label("attend"), &r.control, r.scratch.partials)),
            Mode::Prefill => r.plan.push([attention.whole(&label("attend"), &r.control)]),
        }
        r.add_product(&label("o"), &self.o, out, self.o_bias, self.post_norm);
    }
}
