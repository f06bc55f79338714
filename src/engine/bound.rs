//! A generation within constraints: what may come next, and what must.
//!
//! Reasoning is free. The answer after it may be bound from its first token; calls of tools are bound from the token on with which
//! the model begins them. Where a constraint holds, each token is sampled under the mask that the tokens before it leave, and what
//! the grammar leaves no choice about is not sampled at all but inserted, in the tokens that the model would write it in. White space
//! between reasoning and answer belongs to neither.

use super::binding::{Binding, BoundCalls};
use super::constraint::Matcher;
use super::output::Output;
use super::request::{Mask, Next};
use crate::text::Stage;
use crate::{Error, Result};

/// The constraints of a running generation.
pub(super) struct Bound {
    binding: Binding,
    /// The match of the calls that have begun.
    call: Option<Box<dyn Matcher>>,
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
    /// Constraints over a vocabulary of so many tokens.
    pub fn new(binding: Binding, ends: &[u32], vocabulary: usize, jumps: bool) -> Self {
        Self {
            binding,
            call: None,
            ends: ends.to_vec(),
            vocabulary,
            reasoned: false,
            beside: Vec::new(),
            jumps,
            mask: None,
            error: None,
        }
    }

    /// The mask of the next token.
    pub fn mask(&self) -> Option<Mask> {
        self.mask.clone()
    }

    /// Fails if a matcher has.
    pub fn check(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Takes a sampled token, before the output reads its text.
    pub fn take(&mut self, output: &mut Output<'_>, id: u32) {
        if self.ends.contains(&id) {
            return;
        }
        let matcher = match (&mut self.call, &mut self.binding.answer) {
            (Some(call), _) => call,
            (None, Some(answer)) if output.stage() != Stage::Free && !self.beside.contains(&id) => {
                output.begin_answer();
                answer
            }
            _ => return,
        };
        self.error = matcher.consume(id).err();
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
        if self.call.is_none() {
            self.call = match &mut self.binding.calls {
                Some(calls) => calls.begun(output)?,
                None => None,
            };
        }
        let calls = self.call.is_some();
        self.beside.clear();
        if !calls && self.binding.answer.is_none() {
            return Ok(Next::Go);
        }
        if !calls {
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
        }
        let Some(matcher) = self.call.as_mut().or(self.binding.answer.as_mut()) else { return Ok(Next::Go) };
        let mut inserted = Vec::new();
        if self.beside.is_empty() && self.jumps {
            inserted = forced(matcher.as_mut(), output, limit)?;
            for (i, &id) in inserted.iter().enumerate() {
                if !calls {
                    output.begin_answer();
                }
                if output.insert(id) {
                    inserted.truncate(i + 1);
                    return Ok(Next::Stop);
                }
            }
        }
        if matcher.must_end() {
            if !calls || self.binding.calls.as_ref().is_some_and(BoundCalls::end_the_answer) {
                return Ok(Next::Stop);
            }
            self.call = None;
            self.mask = Some(Mask { words: vec![u32::MAX; self.vocabulary.div_ceil(32)], once: false });
            return Ok(Next::Insert(inserted, self.mask.clone()));
        }
        let mut words = matcher.mask()?;
        self.beside.retain(|&id| words[id as usize / 32] >> (id % 32) & 1 == 0);
        for &id in &self.beside {
            words[id as usize / 32] |= 1 << (id % 32);
        }
        if words.iter().all(|word| *word == 0) {
            if matcher.may_end() {
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
}

/// The tokens that must come next, as many as there is room for. The matcher has taken them.
fn forced(matcher: &mut dyn Matcher, output: &Output<'_>, limit: usize) -> Result<Vec<u32>> {
    let bytes = matcher.forced();
    let mut ids = output.spell(&bytes);
    ids.truncate(matcher.settled(&ids));
    ids.truncate(limit - output.ids.len());
    ids.iter().try_for_each(|&id| matcher.consume(id))?;
    Ok(ids)
}
