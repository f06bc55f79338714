//! The KV cache: keys and values `[tokens, kv_heads, head_dim]` for each layer, or one latent for both.
//!
//! A layer with a sliding window or chunked attention keeps what its queries can still see: the window and the rest of a
//! prefill chunk. Its buffers are rings: a position is stored at its remainder modulo the number of tokens kept. Steps of
//! decode that are queued and then taken back must not overwrite anything that is needed again, so rings have room for them
//! too.

use super::ModelConfig;
use crate::kernels::{KvFormat, Span};
use crate::plan::{BufferId, Buffers, Role};

/// Steps of decode that may be under way at once: after a token from which the sequence goes another way than they did,
/// what its queries see is still there.
pub const QUEUED_STEPS: usize = 3;

/// One layer's cache.
#[derive(Debug, Clone, Copy)]
pub struct LayerCache {
    /// Keys, rotated; with latent attention, latents and the part of the key that turns.
    pub keys: BufferId,
    /// Values.
    pub values: BufferId,
    /// Tokens it holds.
    pub tokens: usize,
}

/// A buffer of a cache: the bytes of a position lie together, at its remainder by the tokens held.
#[derive(Debug, Clone, Copy)]
pub struct KvBuffer {
    /// Where they lie.
    pub buffer: BufferId,
    /// Tokens it holds.
    pub tokens: usize,
    /// Bytes of each.
    pub token_bytes: u64,
    /// What its layer's queries see.
    pub span: Span,
}

/// The caches of all layers.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// By layer.
    pub layers: Vec<LayerCache>,
    /// Every buffer, in the order of the layers.
    pub buffers: Vec<KvBuffer>,
    /// How numbers are stored.
    pub format: KvFormat,
}

/// How large the caches of a model are, by the context.
#[derive(Debug, Clone)]
pub struct KvSizes {
    /// Of each layer.
    spans: Vec<Span>,
    /// Rows of a token, and the widths of one: as keys, and as values beside them, 0 where there are none.
    rows: usize,
    widths: [usize; 2],
    format: KvFormat,
    /// Tokens that are written before their queries look.
    written: usize,
}

impl KvSizes {
    /// Of a model that is fed `chunk` tokens at once, at most.
    pub fn new(config: &ModelConfig, format: KvFormat, chunk: usize) -> Self {
        let spans = (0..config.num_layers).map(|layer| config.span(layer)).collect();
        let rows = if config.mla.is_some() { 1 } else { config.num_kv_heads };
        let widths = config.kv_widths().map(|width| width / rows);
        Self { spans, rows, widths, format, written: chunk.max(QUEUED_STEPS) }
    }

    /// Tokens that a layer keeps: where its first query of a chunk sees `n`, those and the rest of the chunk.
    fn tokens(&self, span: Span, context: usize) -> usize {
        span.most().map_or(context, |n| context.min((n - 1).saturating_add(self.written)))
    }

    /// Bytes of a head's width for each of so many tokens.
    fn bytes(&self, tokens: u64, width: usize) -> u64 {
        tokens * self.format.bytes(self.rows, width)
    }

    /// The tokens that each layer keeps.
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

    /// Whether each buffer is one binding and all of them stay within the budget.
    pub fn fit(&self, context: usize, max_binding: u64, budget: u64) -> bool {
        self.largest(context) <= max_binding && self.total(context) <= budget
    }

    /// Declares the caches.
    pub fn declare(&self, buffers: &mut Buffers, context: usize) -> KvCache {
        let mut all = Vec::new();
        let layer = |(i, &span): (usize, &Span)| {
            let tokens = self.tokens(span, context);
            let mut add = |name: &str, width| {
                let buffer = buffers.add(format!("l{i}.{name}"), self.bytes(tokens as u64, width), Role::Kv);
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

/// The tokens of context that a cache of f16 is to hold; where it would hold fewer, and fewer than the model takes, one of q8
/// holds nearly twice as many.
pub const AMPLE_CONTEXT: usize = 8192;

/// The format that was asked for, or the one that is chosen where `fits` says whether so many tokens fit in a format.
pub fn kv_format(
    asked: Option<KvFormat>,
    context: Option<usize>,
    own: usize,
    fits: impl Fn(KvFormat, usize) -> bool,
) -> KvFormat {
    let wanted = context.unwrap_or(AMPLE_CONTEXT).min(own);
    asked.unwrap_or(if fits(KvFormat::F16, wanted) { KvFormat::F16 } else { KvFormat::Q8 })
}

/// The largest context, of at most `most`, for which `fits` holds; 1 where it holds for none.
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
    fn a_model_of_which_half_the_layers_have_a_window() {
        let spans = (0..24).map(|i| if i % 2 == 0 { Span::Window(128) } else { Span::All }).collect();
        let sizes = KvSizes { spans, rows: 8, widths: [64; 2], format: KvFormat::F16, written: 64 };
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
