//! Multi-head latent attention (arXiv 2405.04434), input norm and residual included. The cache holds the latent and the
//! RoPE part of the key. W_uk is absorbed into the queries and W_uv is applied to the results, head by head, in prefill as
//! in decode; attention reads one cache as keys and as values.
//!
//! Expanded keys and values would need less arithmetic in long chunks only. For T queries over a context of n, a head of V2
//! multiplies `T·n·(576 + 512)` absorbed, and `T·n·(192 + 128) + n·512·256` expanded, besides reading and writing what it
//! expands. The two are equal at about 170 queries; chunks of these models have 64.
//!
//! W_dkv shares a matrix with W_q or W_dq. Where W_uk and W_uv are published apart they stay two matrices, and a W_uk that
//! is published transposed is transposed on load.

use crate::kernels::{
    self, Epilogue, LatentQuery, LatentShape, LatentValue, Latents, MAX_KEY_DIM, MAX_VALUE_DIM, Matmul, Matvec, Norm,
    RmsNorm, Span,
};
use crate::model::build::MlaScratch;
use crate::model::{Builder, LayerCache, Mode, Recorder};
use crate::plan::{BufferId, GROUP, Matrix, Vector};
use crate::{Error, FormatKind, Result};

/// The epsilon of the latents' norms: a constant of the model class, whatever the config sets for other norms.
const LATENT_EPS: f32 = 1e-6;

/// `x += W_o · W_uv · attend(W_ukᵀ · q, latents)`
pub struct LatentAttention {
    label: String,
    norm: RmsNorm,
    /// W_dkv, then W_q or W_dq.
    down: Matrix,
    down_bias: Option<Vector>,
    /// The queries' norm and W_uq, if queries have a latent too.
    q_up: Option<(RmsNorm, Matrix)>,
    /// Offset of the queries, or of their latent, in a row of the product of `down`.
    q_from: usize,
    kv_a_norm: RmsNorm,
    /// W_uk and W_uv; the same matrix if they are stored as one tensor.
    k_b: Matrix,
    v_b: Matrix,
    o: Matrix,
    o_bias: Option<Vector>,
    shape: LatentShape,
    cache: LayerCache,
    table: BufferId,
    scale: f32,
    scratch: MlaScratch,
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
        let q_width = heads * (shape.nope + rotary);
        let queries = match mla.q_lora_rank {
            None => (role("q"), q_width),
            Some(rank) => (role("q_a"), rank),
        };
        let q_from = shape.width().next_multiple_of(GROUP);
        let down = b.stacked_apart(&name("down"), [(role("kv_a"), shape.width()), queries], q_from, hidden)?;
        let down_bias = match biases {
            false => None,
            true => {
                let latent = mla.q_lora_rank.map(|rank| (role("q_a.bias"), rank));
                let all = [Some((role("kv_a.bias"), shape.width())), latent];
                Some(b.vector_apart(&name("down.bias"), all, q_from, down.rows)?)
            }
        };
        let q_up = match mla.q_lora_rank {
            None => None,
            Some(rank) => {
                let gain = b.gain(&name("q_a_norm"), &role("q_a_norm"), rank)?;
                let up = b.matrix(&name("q_b"), &[&role("q_b")], q_width, rank)?;
                Some((RmsNorm { gain, eps }, up.shifted((heads * shape.width()).next_multiple_of(GROUP))))
            }
        };
        let kv_a_norm = RmsNorm { gain: b.gain(&name("kv_a_norm"), &role("kv_a_norm"), shape.rank)?, eps };
        let [k_b, v_b] = if b.has(&role("k_b")) {
            let k = b.transposed_units(&name("k_b"), &role("k_b"), [heads, shape.rank, shape.nope])?;
            [k, b.in_units(&name("v_b"), &role("v_b"), &[heads, shape.value_dim, shape.rank])?]
        } else {
            let both = b.in_units(&name("kv_b"), &role("kv_b"), &[heads * shape.head_rows(), shape.rank])?;
            [both.clone(), both]
        };
        let o = b.stacked(&name("o"), &[(role("o"), hidden)], heads * shape.value_dim)?;
        let o_bias = match biases {
            true => Some(b.vector(&name("o.bias"), &[(role("o.bias"), hidden)])?),
            false => None,
        };
        let (table, _) = b.rope(i);
        let (cache, scratch) = (b.kv.layers[i], b.mla_scratch(mla));
        Ok(Self {
            norm,
            down,
            down_bias,
            q_up,
            q_from,
            kv_a_norm,
            k_b,
            v_b,
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

    /// Appends the block's steps.
    pub fn record(&self, r: &mut Recorder<'_>) {
        let label = |s: &str| format!("{}.{s}", self.label);
        let (shape, s) = (self.shape, self.scratch);
        let epilogue = Epilogue { bias: self.down_bias, ..Epilogue::default() };
        r.linear(&label("down"), &self.down, Some(self.norm), r.scratch.x, s.down, epilogue);
        let (x, out) = (r.rows(s.down), r.rows(s.query));
        let queries = match &self.q_up {
            None => kernels::Queries::InX(self.q_from),
            Some((norm, up)) => {
                let (epilogue, from) = (Epilogue::default(), self.q_from);
                match r.mode {
                    Mode::Decode => {
                        let product = Matvec { w: up, x, from, y: out, norm: Some(*norm), epilogue };
                        r.plan.push(product.steps(&label("q_b"), &r.control));
                    }
                    Mode::Prefill => {
                        let normed = r.rows(s.q_a.expect("declared with the weights"));
                        let norm = Norm { x, from, y: normed, norm: *norm, add: false };
                        r.plan.push([norm.step(&label("q_b.norm"), &r.control)]);
                        r.plan.push(Matmul { w: up, x: normed, y: out, epilogue }.steps(&label("q_b"), &r.control));
                    }
                }
                kernels::Queries::InOut((shape.heads * shape.width()).next_multiple_of(GROUP))
            }
        };
        let query = LatentQuery {
            shape,
            w: &self.k_b,
            x,
            queries,
            out,
            norm: self.kv_a_norm,
            table: self.table,
            cache: self.cache.keys,
            format: r.kv_format,
        };
        r.plan.push(query.steps(&label("query"), &r.control));
        let attention = kernels::Attention {
            q: out,
            k_cache: self.cache.keys,
            v_cache: self.cache.keys,
            capacity: self.cache.tokens,
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
        let splits = attention.splits();
        let x = if r.mode == Mode::Decode && splits > 1 {
            r.plan.push([attention.split(&label("attend"), &r.control, r.scratch.partials)]);
            Latents::Splits(r.scratch.partials, splits)
        } else {
            r.plan.push([attention.whole(&label("attend"), &r.control)]);
            Latents::Rows(r.rows(s.latent))
        };
        let y = r.rows(s.values);
        r.plan.push(LatentValue { shape, w: &self.v_b, x, y }.steps(&label("value"), &r.control));
        r.add_product(&label("o"), &self.o, s.values, self.o_bias, None);
    }
}
