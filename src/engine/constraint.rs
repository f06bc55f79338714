//! Answers within a grammar: what a caller asks for, and the interface of what makes the masks.
//!
//! The engine knows no grammars. A source of masks ([`Grammars`]) compiles a constraint for a model's vocabulary and then says,
//! token by token, what may follow. The package's is `src/constraint/`, which is linked natively and a module of its own in
//! WebAssembly.

use std::pin::Pin;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Result;
use crate::text::Tokenizer;

/// `responseConstraint` of the JavaScript API, in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Constraint {
    /// A JavaScript regular expression that matches the whole answer.
    Regex {
        /// Its source.
        regex: String,
        /// Its flags.
        #[serde(default)]
        flags: String,
    },
    /// JSON that a schema (JSON Schema 2020-12) accepts.
    Json {
        /// The schema.
        json: Value,
    },
    /// One of some texts.
    Choice {
        /// The texts.
        choice: Vec<String>,
    },
    /// A text of a grammar.
    Grammar {
        /// The grammar in Lark's form, as llguidance reads it.
        grammar: String,
    },
}

/// The tokens of a model, for a source of masks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// The bytes of all tokens, one after the other. Those of a token with a meaning of its own are `0xff` and its name; a token
    /// without bytes is never allowed.
    pub bytes: Vec<u8>,
    /// For each token, the number of its bytes.
    pub lengths: Vec<u32>,
    /// The tokens that end an answer.
    pub ends: Vec<u32>,
}

impl Vocabulary {
    /// The vocabulary of a model of `size` tokens, of which `ends` end an answer.
    pub fn new(tokenizer: &Tokenizer, size: usize, ends: &[u32]) -> Self {
        let mut vocabulary = Self { ends: ends.to_vec(), ..Self::default() };
        for id in 0..size as u32 {
            let before = vocabulary.bytes.len();
            let bytes = tokenizer.token_bytes(id);
            if has_meaning(tokenizer, id) {
                vocabulary.bytes.push(0xff);
            }
            vocabulary.bytes.extend(bytes);
            vocabulary.lengths.push((vocabulary.bytes.len() - before) as u32);
        }
        vocabulary
    }
}

/// Whether a token has a meaning of its own, so that it is no text in a grammar: special tokens, and added ones that are not blank.
pub(super) fn has_meaning(tokenizer: &Tokenizer, id: u32) -> bool {
    tokenizer.is_special(id) || tokenizer.added_token(id).is_some_and(|token| !token.trim().is_empty())
}

/// A source of masks, for one vocabulary.
pub trait Grammars {
    /// Begins a match of a constraint. Compiled grammars may be kept.
    ///
    /// # Errors
    /// [`Error::Constraint`](crate::Error::Constraint) where it cannot be honoured, or nothing satisfies it.
    fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Matcher>>;

    /// Whether it can still be used: an instance of WebAssembly that has trapped cannot, and another is started.
    fn usable(&self) -> bool {
        true
    }
}

/// A match in progress. It may begin at any token of an output.
pub trait Matcher {
    /// The tokens that may come next: bit `id % 32` of word `id / 32`, `[vocabulary / 32]`. None are set where only the end is
    /// possible and no token stands for it.
    ///
    /// # Errors
    /// [`Error::Constraint`](crate::Error::Constraint) where the grammar has become too complex.
    fn mask(&mut self) -> Result<Vec<u32>>;

    /// Takes the next token.
    ///
    /// # Errors
    /// [`Error::Constraint`](crate::Error::Constraint) where the grammar does not allow it.
    fn consume(&mut self, id: u32) -> Result<()>;

    /// The bytes that must come next; none where there is a choice.
    fn forced(&mut self) -> Vec<u8>;

    /// Of tokens that spell the beginning of [`Self::forced`], how many are certain whatever follows.
    fn settled(&mut self, ids: &[u32]) -> usize;

    /// Whether the answer may end here.
    fn may_end(&mut self) -> bool;

    /// Whether nothing but the end is possible.
    fn must_end(&self) -> bool;
}

/// A source of masks, when it is there.
pub type Starting = Pin<Box<dyn Future<Output = Result<Rc<dyn Grammars>>>>>;

/// Starts a source of masks for a vocabulary.
pub type StartGrammars = Rc<dyn Fn(Vocabulary) -> Starting>;

/// A match of any of several constraints: those that refuse a token are out.
pub(super) struct Either {
    matchers: Vec<Box<dyn Matcher>>,
}

impl Either {
    pub fn new(matchers: Vec<Box<dyn Matcher>>) -> Self {
        Self { matchers }
    }

    /// The one that is left, if there is only one.
    fn only(&mut self) -> Option<&mut Box<dyn Matcher>> {
        if let [only] = self.matchers.as_mut_slice() { Some(only) } else { None }
    }
}

impl Matcher for Either {
    fn mask(&mut self) -> Result<Vec<u32>> {
        let mut masks = self.matchers.iter_mut().map(|matcher| matcher.mask());
        let mut all = masks.next().unwrap_or_else(|| Ok(Vec::new()))?;
        for mask in masks {
            all.iter_mut().zip(mask?).for_each(|(all, one)| *all |= one);
        }
        Ok(all)
    }

    fn consume(&mut self, id: u32) -> Result<()> {
        let mut refused = Ok(());
        self.matchers.retain_mut(|matcher| {
            let taken = matcher.consume(id);
            let left = taken.is_ok();
            refused = std::mem::replace(&mut refused, Ok(())).and(taken);
            left
        });
        if self.matchers.is_empty() { refused } else { Ok(()) }
    }

    fn forced(&mut self) -> Vec<u8> {
        self.only().map(|matcher| matcher.forced()).unwrap_or_default()
    }

    fn settled(&mut self, ids: &[u32]) -> usize {
        self.only().map_or(0, |matcher| matcher.settled(ids))
    }

    fn may_end(&mut self) -> bool {
        self.matchers.iter_mut().any(|matcher| matcher.may_end())
    }

    fn must_end(&self) -> bool {
        self.matchers.iter().all(|matcher| matcher.must_end())
    }
}
