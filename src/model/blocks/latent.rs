//! Multi-head latent attention (arXiv 2405.04434), input norm and residual included. The cache holds a latent and the part of
//! the key that turns; W_uk is absorbed into the queries and W_uv applied after, in prefill as in decode.

use crate::gpu::{BufferId, Matrix, Vector};
use crate::kernels::{
    self, Epilogue, LatentAppend, LatentQuery, LatentShape, LatentValue, MAX_KEY_DIM, MAX_VALUE_DIM, Matmul, Matvec,
    Norm, RmsNorm, Span,
};
use crate::model::build::MlaScratch;
use crate::model::{Builder, LayerCache, Mode, Recorder};
use crate::{Error, FormatKind, Result};

/// What the norms of latents add to the mean square: a constant of the class, whatever the config says of the others.
const LATENT_EPS: f32 = 1e-6;

/// `x += W_o · W_uv · attend(W_ukᵀ · q, latents)`
pub struct LatentAttention {
    label: String,
    norm: RmsNorm,
    queries: Queries,
    kv_a: Matrix,
    kv_a_bias: Option<Vector>,
    kv_a_norm: RmsNorm,
    kv_b: Matrix,
    o: Matrix,
    o_bias: Option<Vector>,
    shape: LatentShape,
    cache: LayerCache,
    table: BufferId,
    scale: f32,
    scratch: MlaScratch,
}

enum Queries {
    /// `W_q · n`
    Plain(Matrix),
    /// `W_qb · norm(W_qa · n + bias)`
    Latent { a: Matrix, bias: Option<Vector>, norm: RmsNorm, b: Matrix },
}

impl LatentAttention {
    /// Declares layer `i`'s weights.
    pub fn new(b: &mut Builder<'_>, i: usize) -> Result<Self> {
        let mla = b.config.mla.expect("a model with latent attention has its facts");
        let config = &b.config;
        let (hidden, heads, rotary, eps) = (config.hidden_size, config.num_heads, config.head_dim, LATENT_EPS);
        let biases = config.attention_bias;
        let shape = LatentShape {
            heads,
            rank: mla.kv_lora_rank,
            nope: mla.qk_nope_head_dim,
            rotary,
            value_dim: mla.v_head_dim,
            interleaved: config.rope.interleaved,
        };
        if shape.width() > MAX_KEY_DIM || shape.rank > MAX_VALUE_DIM || !shape.rank.is_multiple_of(4) {
            let message = format!("a latent of {} + {rotary}; at most {MAX_VALUE_DIM} + 64, in fours", shape.rank);
            return Err(Error::format(FormatKind::UnsupportedFeature, &b.checkpoint.id, message));
        }
        let scale = config.attention_scale.expect("latent attention has its scale") as f32;
        let label = format!("l{i}.attn");
        let name = |s: &str| format!("{label}.{s}");
        let role = |r: &str| format!("{i}.{r}");
        let norm = b.norm(&name("norm"), &role("attn_norm"))?;
        let bias = |b: &mut Builder<'_>, r: &str, n: usize| match biases {
            true => b.vector(&name(r), &[(role(r), n)]).map(Some),
            false => Ok(None),
        };
        let q_width = heads * (shape.nope + rotary);
        let queries = match mla.q_lora_rank {
            None => Queries::Plain(b.stacked(&name("q"), &[(role("q"), q_width)], hidden)?),
            Some(rank) => Queries::Latent {
                a: b.stacked(&name("q_a"), &[(role("q_a"), rank)], hidden)?,
                bias: bias(b, "q_a.bias", rank)?,
                norm: RmsNorm { gain: b.gain(&name("q_a_norm"), &role("q_a_norm"), rank)?, eps },
                b: b.stacked(&name("q_b"), &[(role("q_b"), q_width)], rank)?,
            },
        };
        let kv_a = b.stacked(&name("kv_a"), &[(role("kv_a"), shape.width())], hidden)?;
        let kv_a_bias = bias(b, "kv_a.bias", shape.width())?;
        let kv_a_norm = RmsNorm { gain: b.gain(&name("kv_a_norm"), &role("kv_a_norm"), shape.rank)?, eps };
        let kv_b = b.in_units(&name("kv_b"), &role("kv_b"), [heads, shape.head_rows(), shape.rank])?;
        let o = b.stacked(&name("o"), &[(role("o"), hidden)], heads * shape.value_dim)?;
        let o_bias = bias(b, "o.bias", hidden)?;
        let (table, _) = b.rope(i);
        let (cache, scratch) = (b.kv.layers[i], b.mla_scratch(mla));
        Ok(Self {
            norm,
            queries,
            kv_a,
            kv_a_bias,
            kv_a_norm,
            kv_b,
            o,
            o_bias,
            shape,
            cache,
            table,
            scale,
            scratch,
            label,
        })
    }

    /// Appends the steps.
    pub fn record(&self, r: &mut Recorder<'_>) {
        let label = |s: &str| format!("{}.{s}", self.label);
        let (shape, s) = (self.shape, self.scratch);
        let x = r.scratch.x;
        match &self.queries {
            Queries::Plain(w) => r.linear(&label("q"), w, Some(self.norm), x, s.q, Epilogue::default()),
            Queries::Latent { a, bias, norm, b } => {
                let [q_a, normed] = s.q_a.expect("declared with the weights");
                r.linear(&label("q_a"), a, Some(self.norm), x, q_a, Epilogue { bias: *bias, ..Epilogue::default() });
                let (x, y, normed) = (r.rows(q_a), r.rows(s.q), r.rows(normed));
                let epilogue = Epilogue::default();
                match r.mode {
                    Mode::Decode => {
                        let product = Matvec { w: b, x, y, norm: Some(*norm), epilogue };
                        r.plan.push(product.steps(&label("q_b"), &r.control));
                    }
                    Mode::Prefill => {
                        let norm = Norm { x, y: normed, norm: *norm, add: false };
                        r.plan.push([norm.step(&label("q_b.norm"), &r.control)]);
                        r.plan.push(Matmul { w: b, x: normed, y, epilogue }.steps(&label("q_b"), &r.control));
                    }
                }
            }
        }
        let epilogue = Epilogue { bias: self.kv_a_bias, ..Epilogue::default() };
        r.linear(&label("kv_a"), &self.kv_a, Some(self.norm), x, s.kv_a, epilogue);
        let append = LatentAppend {
            shape,
            x: r.rows(s.kv_a),
            norm: self.kv_a_norm,
            table: self.table,
            cache: self.cache.keys,
            format: r.kv_format,
        };
        r.plan.push([append.step(&label("append"), &r.control)]);
        let (q, out) = (r.rows(s.q), r.rows(s.query));
        let query = LatentQuery { shape, w: &self.kv_b, q, out, table: self.table };
        r.plan.push(query.steps(&label("query"), &r.control));
        let attention = kernels::Attention {
            q: out,
            k_cache: self.cache.keys,
            v_cache: self.cache.keys,
            out: r.rows(s.latent),
            format: r.kv_format,
            heads: shape.heads,
            kv_heads: 1,
            key_dim: shape.width(),
            value_dim: shape.rank,
            value_row: shape.width(),
            span: Span::All,
            scale: self.scale,
            sinks: None,
        };
        match r.mode {
            Mode::Decode => r.plan.push(attention.decode(&label("attend"), &r.control, r.scratch.partials)),
            Mode::Prefill => r.plan.push([attention.prefill(&label("attend"), &r.control)]),
        }
        let (x, y) = (r.rows(s.latent), r.rows(s.values));
        r.plan.push(LatentValue { shape, w: &self.kv_b, x, y }.steps(&label("value"), &r.control));
        r.join(&label("o"), &self.o, s.values, self.o_bias, None);
    }
}
