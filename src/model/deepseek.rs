//! DeepSeek-V2 (arXiv 2405.04434), V3 and R1 (arXiv 2412.19437, 2501.12948), as transformers' `modeling_deepseek_v2.py`
//! and `modeling_deepseek_v3.py` compute them: latent attention, and a mixture of experts after the first dense layers.
//! V3's multi-token prediction layer, which follows the last layer, is ignored.

use super::blocks::{FeedForward, LatentAttention, MlpParts, MoeParts};
use super::{Builder, Layers, Recorder};
use crate::kernels::Scoring;
use crate::{Error, FormatKind, Result};

struct DeepSeek(Vec<(LatentAttention, FeedForward)>);

/// V2: experts are selected by the softmax over all, optionally from a limited number of groups.
pub(super) fn v2(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    build(b, MoeParts::new(Scoring::Softmax, false))
}

/// V3: experts are selected by sigmoids with a correction, from the groups with the highest sum of their two best scores.
pub(super) fn v3(b: &mut Builder<'_>) -> Result<Box<dyn Layers>> {
    build(b, MoeParts { correction: true, ..MoeParts::new(Scoring::Sigmoid, true) })
}

fn build(b: &mut Builder<'_>, moe: MoeParts) -> Result<Box<dyn Layers>> {
    let file = b.checkpoint.config_file().to_owned();
    if b.config.mlp_bias {
        return Err(Error::format(
            FormatKind::UnsupportedFeature,
            file,
            "biases of DeepSeek's MLPs (mlp_bias)".to_owned(),
        ));
    }
    if b.config.mla.is_none() {
        return Err(Error::format(FormatKind::BadConfig, file, "kv_lora_rank is missing".to_owned()));
    }
    let layers = 0..b.config.num_layers;
    let layer = |i| Ok((LatentAttention::new(b, i)?, FeedForward::new(b, i, MlpParts::default(), Some(moe))?));
    Ok(Box::new(DeepSeek(layers.map(layer).collect::<Result<_>>()?)))
}

impl Layers for DeepSeek {
    fn record(&self, r: &mut Recorder<'_>) {
        for (attention, feed_forward) in &self.0 {
            attention.record(r); //    x += attention(norm(x))
            feed_forward.record(r); // x += mlp(norm(x))
        }
    }
}
