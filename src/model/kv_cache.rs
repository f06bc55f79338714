//! The KV cache: for each layer `[context, kv_heads, head_dim]` keys and as many values, or one latent for both.

use crate::gpu::{BufferId, Buffers, Role};
use crate::kernels::KvFormat;

/// One layer's cache.
#[derive(Debug, Clone, Copy)]
pub struct LayerCache {
    /// Keys, rotated; with latent attention, latents and the part of the key that turns.
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
    /// Bytes of one token in the larger buffer of a layer, and in both.
    pub fn token_bytes(format: KvFormat, [keys, values]: [usize; 2]) -> [u64; 2] {
        [keys.max(values), keys + values].map(|width| (width * format.bytes()) as u64)
    }

    /// Declares caches for `context` tokens of so many key and value numbers; without values the keys are both.
    pub fn declare(
        buffers: &mut Buffers,
        layers: usize,
        context: usize,
        format: KvFormat,
        [keys, values]: [usize; 2],
    ) -> Self {
        let mut add =
            |name: String, width: usize| buffers.add(name, (context * width * format.bytes()) as u64, Role::Kv);
        let layers = (0..layers)
            .map(|i| {
                let keys = add(format!("l{i}.keys"), keys);
                LayerCache { keys, values: if values > 0 { add(format!("l{i}.values"), values) } else { keys } }
            })
            .collect();
        Self { layers, format }
    }
}
