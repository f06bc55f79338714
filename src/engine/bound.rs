//! A generation within a constraint: what may come next, and what must.
//!
//! Reasoning is free. The answer after it is bound from its first token: each token is sampled under the mask that the tokens
//! before it leave, and what the grammar leaves no choice about is not sampled at all but inserted, in the tokens that the model
//! would write it in. White space between reasoning and answer belongs to neither.

use super::constraint::Matcher;
use super::output::Output;
use super::request::{Mask, Next};
use crate::text::Stage;
use crate::{Error, Result};

/// The constraint of a running generation.
pub(super) struct Bound {
    matcher: Box<dyn Matcher>,
    /// The tokens that end an answer.
    ends: Vec<u32>,
    /// Tokens of the vocabulary.
    vocabulary: usize,
    /// Whether the output has been in reasoning, after which white space may come before the answer.
    reasoned: bool,
    /// Tokens that are not the grammar's and may come next: those that open the reasoning, or white space after it.
    beside: Vec<u32>,
    /// Whether forced tokens are inserted; otherwise they are sampled, as the only ones that the mask has.
    jumps: bool,
    /// The mask of the next token.
    mask: Option<Mask>,
    error: Option<Error>,
}

impl Bound {
    /// A constraint over a vocabulary of so many tokens.
    pub fn new(matcher: Box<dyn Matcher>, ends: &[u32], vocabulary: usize, jumps: bool) -> Self {
        let ends = ends.to_vec();
        Self { matcher, ends, vocabulary, reasoned: false, beside: Vec::new(), jumps, mask: None, error: None }
    }

    /// The mask of the next token.
    pub fn mask(&self) -> Option<Mask> {
        self.mask.clone()
    }

    /// Fails if the matcher has.
    pub fn check(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Takes a sampled token, before the output reads its text.
    pub fn take(&mut self, output: &mut Output<'_>, id: u32) {
        if output.stage() == Stage::Free || self.ends.contains(&id) || self.beside.contains(&id) {
            return;
        }
        output.begin_answer();
        self.error = self.matcher.consume(id).err();
    }

    /// What comes next, where at most `limit` tokens come in all. Forced tokens are in the output when this returns.
    pub fn next(&mut self, output: &mut Output<'_>, limit: usize) -> Next {
        self.follow(output, limit).unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            Next::Stop
        })
    }

    fn follow(&mut self, output: &mut Output<'_>, limit: usize) -> Result<Next> {
        self.check()?;
        let stage = output.stage();
        if stage == Stage::Free {
            return Ok(self.free());
        }
        // White space is dropped once: a model that goes on with it would never begin.
        let gap = stage == Stage::Gap && std::mem::take(&mut self.reasoned);
        self.beside = match stage {
            Stage::Start => output.openers(),
            _ if gap => output.white_space(),
            _ => Vec::new(),
        };
        let mut inserted = Vec::new();
        if self.beside.is_empty() && self.jumps {
            inserted = self.forced(output, limit)?;
            for (i, &id) in inserted.iter().enumerate() {
                output.begin_answer();
                if output.insert(id) {
                    inserted.truncate(i + 1);
                    return Ok(Next::Stop);
                }
            }
        }
        if self.matcher.must_end() {
            return Ok(Next::Stop);
        }
        let mut words = self.matcher.mask()?;
        self.beside.retain(|&id| words[id as usize / 32] >> (id % 32) & 1 == 0);
        for &id in &self.beside {
            words[id as usize / 32] |= 1 << (id % 32);
        }
        if words.iter().all(|word| *word == 0) {
            if self.matcher.may_end() {
                return Ok(Next::Stop);
            }
            let message = "no token of the model can go on with it".into();
            return Err(Error::Constraint { message, keyword: None, path: None });
        }
        self.mask = Some(Mask { words, once: true });
        Ok(Next::Insert(inserted, self.mask.clone()))
    }

    /// Free tokens: all but those that end the output, since the answer is still to come.
    fn free(&mut self) -> Next {
        if std::mem::replace(&mut self.reasoned, true) {
            return Next::Go;
        }
        self.beside.clear();
        let mut words = vec![u32::MAX; self.vocabulary.div_ceil(32)];
        for &id in &self.ends {
            words[id as usize / 32] &= !(1 << (id % 32));
        }
        self.mask = Some(Mask { words, once: false });
        Next::Insert(Vec::new(), self.mask.clone())
    }

    /// The tokens that must come next, as many as there is room for. The matcher has taken them.
    fn forced(&mut self, output: &Output<'_>, limit: usize) -> Result<Vec<u32>> {
        let bytes = self.matcher.forced();
        let mut ids = output.spell(&bytes);
        ids.truncate(self.matcher.settled(&ids));
        ids.truncate(limit - output.ids.len());
        ids.iter().try_for_each(|&id| self.matcher.consume(id))?;
        Ok(ids)
    }
}
