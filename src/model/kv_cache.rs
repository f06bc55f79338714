//! The KV cache: keys and values `[tokens, kv_heads, head_dim]` for each layer, or one latent for both.
//!
//! A layer with a sliding window or chunked attention keeps what its queries can still see: the window and the rest of a
//! prefill chunk. Its buffers are rings: a position is stored at its remainder modulo the number of tokens kept. Steps of
//! decode that are queued and then taken back must not overwrite anything that is needed again, so rings have room for them
//! too.

use super::ModelConfig;
use crate::kernels::{KvFormat, Span};
use crate::plan::{BufferId, Buffers, DividedRows, Role};

/// Decode steps that may be in flight at once. Ring buffers have room for them: if they are rolled back because the
/// sequence continues differently, the span that its queries attend to is still intact.
pub const QUEUED_STEPS: usize = 3;

/// The KV cache of one layer.
#[derive(Debug, Clone, Copy)]
pub struct LayerCache {
    /// Keys after RoPE; with latent attention, latents and the RoPE part of the key.
    pub keys: BufferId,
    /// Values.
    pub values: BufferId,
    /// Tokens that the cache holds.
    pub tokens: usize,
}

/// A buffer of a KV cache. The bytes of a position are contiguous, in the slot given by the position modulo the tokens
/// held.
#[derive(Debug, Clone, Copy)]
pub struct KvBuffer {
    /// The GPU buffer.
    pub buffer: BufferId,
    /// Tokens it holds.
    pub tokens: usize,
    /// Bytes per token.
    pub token_bytes: u64,
    /// Which positions the layer's queries attend to.
    pub span: Span,
}

/// The caches of all layers.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// The cache of each layer.
    pub layers: Vec<LayerCache>,
    /// Every buffer, in the order of the layers.
    pub buffers: Vec<KvBuffer>,
    /// How numbers are stored.
    pub format: KvFormat,
}

/// Computes the size of a model's KV cache for a context length.
#[derive(Debug, Clone)]
pub struct KvSizes {
    /// The attention span of each layer.
    spans: Vec<Span>,
    /// Rows per token, and the width of a row in keys and in values; 0 if there are no separate values.
    rows: usize,
    widths: [usize; 2],
    /// Query heads that read a row; `None` for latents, which all heads read.
    readers: Option<usize>,
    format: KvFormat,
    /// Tokens that may be written before their queries are evaluated.
    written: usize,
}

impl KvSizes {
    /// The sizes for a model that is fed at most `chunk` tokens at once.
    pub fn new(config: &ModelConfig, format: KvFormat, chunk: usize) -> Self {
        let spans = (0..config.num_layers).map(|layer| config.span(layer)).collect();
        let rows = if config.mla.is_some() { 1 } else { config.num_kv_heads };
        let widths = config.kv_widths().map(|width| width / rows);
        let readers = config.mla.is_none().then(|| config.num_heads / rows);
        Self { spans, rows, widths, readers, format, written: chunk.max(QUEUED_STEPS) }
    }

    /// Tokens that a layer holds: if a query attends to `n` positions, those of the first query of a chunk plus the
    /// rest of the chunk.
    fn tokens(&self, span: Span, context: usize) -> usize {
        span.most().map_or(context, |n| context.min((n - 1).saturating_add(self.written)))
    }

    /// Bytes of one row of `width` values per token, for `tokens` tokens.
    fn bytes(&self, tokens: u64, width: usize) -> u64 {
        tokens * self.format.bytes(self.rows, width)
    }

    /// The tokens that each layer holds.
    fn all_tokens(&self, context: usize) -> impl Iterator<Item = u64> + '_ {
        self.spans.iter().map(move |&span| self.tokens(span, context) as u64)
    }

    /// Bytes of the largest buffer.
    pub fn largest(&self, context: usize) -> u64 {
        let [keys, values] = self.widths;
        self.all_tokens(context).max().map_or(0, |tokens| self.bytes(tokens, keys.max(values)))
    }

    /// Bytes of all buffers.
    pub fn total(&self, context: usize) -> u64 {
        self.widths.iter().map(|&width| self.bytes(self.all_tokens(context).sum(), width)).sum()
    }

    /// Whether each buffer fits one binding and all of them fit the budget.
    pub fn fit(&self, context: usize, max_binding: u64, budget: u64) -> bool {
        self.largest(context) <= max_binding && self.total(context) <= budget
    }

    /// Declares the cache buffers of all layers.
    pub fn declare(&self, buffers: &mut Buffers, context: usize) -> KvCache {
        let mut all = Vec::new();
        let layer = |(i, &span): (usize, &Span)| {
            let tokens = self.tokens(span, context);
            let mut add = |name: &str, width| {
                let buffer = buffers.add(format!("l{i}.{name}"), self.bytes(tokens as u64, width), Role::Kv);
                if let Some(readers) = self.readers {
                    let bytes = self.format.bytes(1, width) as usize;
                    let rows = DividedRows { bytes, unit: self.rows, units: tokens, interleaved: 0, readers };
                    buffers.divide(buffer, rows);
                }
                all.push(KvBuffer { buffer, tokens, token_bytes: self.bytes(1, width), span });
                buffer
            };
            let keys = add("keys", self.widths[0]);
            let values = if self.widths[1] > 0 { add("values", self.widths[1]) } else { keys };
            LayerCache { keys, values, tokens }
        };
        let layers = self.spans.iter().enumerate().map(layer).collect();
        KvCache { layers, buffers: all, format: self.format }
    }
}

/// If an f16 cache would hold fewer tokens than this, and fewer than the model supports, the default is q8, which holds
/// nearly twice as many.
pub const AMPLE_CONTEXT: usize = 8192;

/// The requested format, or the default one; `fits` says whether a number of tokens fits in a format.
pub fn kv_format(
    asked: Option<KvFormat>,
    context: Option<usize>,
    own: usize,
    fits: impl Fn(KvFormat, usize) -> bool,
) -> KvFormat {
    let wanted = context.unwrap_or(AMPLE_CONTEXT).min(own);
    asked.unwrap_or(if fits(KvFormat::F16, wanted) { KvFormat::F16 } else { KvFormat::Q8 })
}

/// The largest context length, at most `most`, for which `fits` holds; 1 if there is none.
pub fn largest_context(most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (1, most.max(1));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gpt-oss-20b: 24 layers of 8 heads of 64, every other one with a window of 128.
    #[test]
    fn a_model_with_windows_in_half_of_its_layers() {
        let spans = (0..24).map(|i| if i % 2 == 0 { Span::Window(128) } else { Span::All }).collect();
        let sizes = KvSizes { spans, rows: 8, widths: [64; 2], readers: Some(4), format: KvFormat::F16, written: 64 };
        let token = 2 * 512 * 2;
        assert_eq!(sizes.total(100), 24 * 100 * token, "all of a short context");
        assert_eq!(sizes.total(131_072), 12 * (131_072 + 127 + 64) * token);
        assert_eq!(sizes.largest(131_072), 131_072 * token / 2);
        let context = largest_context(131_072, |n| sizes.total(n) <= 1 << 30);
        assert_eq!(context as u64, (1 << 30) / (12 * token) - 191, "twice what whole caches would leave");
        assert!(sizes.total(context) <= 1 << 30 && sizes.total(context + 1) > 1 << 30);
        assert_eq!(largest_context(9, |_| false), 1);
        assert_eq!(largest_context(9, |_| true), 9);
    }
}
