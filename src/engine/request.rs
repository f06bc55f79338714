//! What the runner is asked for, and what its caller answers to each token.

use super::options::Bias;
use crate::kernels::SamplerOptions;

/// A generation to run.
pub(super) struct Request<'a> {
    /// Ids of the prompt, at least one.
    pub prompt: &'a [u32],
    /// How many leading ids of the prompt are in the KV cache; fewer than all.
    pub cached: usize,
    /// The sampler's options.
    pub sampler: SamplerOptions,
    /// Logit biases.
    pub bias: Bias,
    /// The maximum number of tokens to generate.
    pub limit: usize,
    /// Tokens that were generated before: of a generation that goes on elsewhere, or that a constraint forces.
    pub begun: &'a [u32],
    /// What the first token is chosen from.
    pub mask: Option<Mask>,
}

/// The tokens that the sampler chooses from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mask {
    /// Bit `id % 32` of word `id / 32`, `[vocabulary / 32]`.
    pub words: Vec<u32>,
    /// Whether it holds for the next token only, after which the runner waits for another; otherwise it stays.
    pub once: bool,
}

/// A token from the sampler.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampled {
    pub id: u32,
    /// The log-probability under the model's own distribution; 0 if not requested.
    pub logprob: f32,
    /// Whether the most probable tokens were requested.
    pub ranked: bool,
    /// The most probable tokens with their log-probabilities.
    pub top: Vec<(u32, f32)>,
}

/// How a generation continues after a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// With the next sampled token, under the mask that there is.
    Go,
    /// Not at all: the generation ends.
    Stop,
    /// With these tokens, if there are any, as if they had been sampled; then under another mask, if there is one.
    Insert(Vec<u32>, Option<Mask>),
}

impl Next {
    /// The same after tokens that were inserted before.
    pub(super) fn after(self, inserted: Vec<u32>) -> Self {
        match self {
            Self::Go if !inserted.is_empty() => Self::Insert(inserted, None),
            Self::Insert(ids, mask) => Self::Insert([inserted, ids].concat(), mask),
            Self::Go | Self::Stop => self,
        }
    }
}

impl Sampled {
    /// Decodes a slot of the ring of sampled tokens.
    pub(super) fn of(slot: &[u32], sampler: &SamplerOptions) -> Self {
        let id = slot[0];
        if sampler.logprobs == 0 {
            return Self { id, logprob: 0.0, ranked: false, top: Vec::new() };
        }
        let pair = |p: &[u32]| (p[0], f32::from_bits(p[1]));
        let top = slot[4..].chunks_exact(2).take(slot[3] as usize).map(pair).collect();
        Self { id, logprob: f32::from_bits(slot[2]), ranked: sampler.logprobs > 1, top }
    }
}
