//! The KV cache: for each layer `[context, kv_heads, head_dim]` keys and as many values.

use crate::gpu::{BufferId, Buffers, Role};
use crate::kernels::KvFormat;

/// One layer's cache.
#[derive(Debug, Clone, Copy)]
pub struct LayerCache {
    /// Keys, rotated.
    pub keys: BufferId,
    /// Values.
    pub values: BufferId,
}

/// The caches of all layers.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// By layer.
    pub layers: Vec<LayerCache>,
    /// How numbers are stored.
    pub format: KvFormat,
}

impl KvCache {
    /// Bytes of one token in one buffer of one layer.
    pub fn token_bytes(format: KvFormat, kv_heads: usize, head_dim: usize) -> u64 {
        (kv_heads * head_dim * format.bytes()) as u64
    }

    /// Declares caches for `context` tokens.
    pub fn declare(
        buffers: &mut Buffers,
        layers: usize,
        context: usize,
        format: KvFormat,
        kv_heads: usize,
        head_dim: usize,
    ) -> Self {
        let bytes = context as u64 * Self::token_bytes(format, kv_heads, head_dim);
        let layers = (0..layers)
            .map(|i| LayerCache {
                keys: buffers.add(format!("l{i}.keys"), bytes, Role::Kv),
                values: buffers.add(format!("l{i}.values"), bytes, Role::Kv),
            })
            .collect();
        Self { layers, format }
    }
}
