//! Teacher-forced log-probabilities of an input, and raw logits.

use super::rules::RULES;
use super::runner::Rows;
use super::{Engine, Input, TokenLogprob};
use crate::kernels::logprobs;
use crate::{Cancel, Error, Result};

pub use super::runner::Rows as LogitRows;

/// The rows that the JavaScript API names "last" and "all".
///
/// # Errors
/// [`Error::InvalidArgument`]
pub fn logit_rows(name: &str) -> Result<LogitRows> {
    match name {
        "last" => Ok(LogitRows::Last),
        "all" => Ok(LogitRows::All),
        _ => Err(RULES.forward.refused("rows", &name)),
    }
}

/// The number of most probable tokens that one call may return, over all positions: what a browser's memory can hold.
const MAX_TOP: usize = 500_000;

impl Engine {
    /// Checks that ids can be fed, before anything is allocated for their logits.
    pub fn check_input(&self, ids: &[u32]) -> Result<()> {
        self.check_ids(ids)
    }

    /// Logits of `ids` from an empty context: `sink` receives each row, `[vocabulary]` f32, in order.
    ///
    /// # Errors
    /// As [`Engine::generate`].
    pub async fn forward(
        &self,
        ids: &[u32],
        rows: LogitRows,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        cancel.check()?;
        let _taken = self.take()?;
        self.check_ids(ids)?;
        self.ready().await?;
        self.take_turn(None, &[]).await?;
        self.runner().logits(ids, rows, cancel, sink).await
    }

    /// The log-probability of each token of the input after the first, given the tokens before it, with the `top`
    /// most probable tokens at each position.
    pub async fn score(&self, input: Input, raw: bool, top: usize, cancel: &Cancel) -> Result<Vec<TokenLogprob>> {
        cancel.check()?;
        let _taken = self.take()?;
        let ids = self.ids_of(input, raw, &[], &Default::default())?;
        self.check_ids(&ids)?;
        let top = top.min(self.info.vocab_size);
        if ids.len() * top > MAX_TOP {
            let message = format!("{top} for each of {} tokens; at most {MAX_TOP} together", ids.len());
            return Err(Error::invalid("top", message));
        }
        self.ready().await?;
        let mut scores = Vec::with_capacity(ids.len() - 1);
        let mut position = 0;
        let mut row = |logits: &[f32]| {
            let next = position + 1;
            if logits.iter().any(|v| !v.is_finite()) {
                return Err(Error::NonFinite { position });
            }
            if let Some(&id) = ids.get(next) {
                scores.push(self.logprob(logits, id, top));
            }
            position = next;
            Ok(())
        };
        self.take_turn(None, &[]).await?;
        self.runner().logits(&ids, Rows::All, cancel, &mut row).await?;
        Ok(scores)
    }

    fn logprob(&self, logits: &[f32], id: u32, top: usize) -> TokenLogprob {
        let (own, most) = logprobs(logits, id, top);
        let most = (top > 0).then(|| most.into_iter().map(|(id, logprob)| self.token_logprob(id, logprob)).collect());
        TokenLogprob { top: most, ..self.token_logprob(id, own) }
    }

    /// A token with its text and bytes.
    pub(super) fn token_logprob(&self, id: u32, logprob: f64) -> TokenLogprob {
        TokenLogprob {
            id,
            token: self.tokenizer.decode(&[id], false),
            bytes: self.tokenizer.token_bytes(id),
            logprob,
            top: None,
        }
    }
}
