//! The tokenizer: encodes text to ids and decodes ids to text, with the `tokenizers` crate.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, Model as _, NormalizedString, OffsetType, PreTokenizedString, PreTokenizer as _, Token};

use super::added_tokens::AddedTokens;
use super::stages::Pipeline;
use super::token_text::{Spelling, byte_level_bytes, byte_to_char, piece_byte};
use super::{GgufVocab, TokenizerConfig, gguf_vocab, tokenizer_json, turn_end};
use crate::{Error, FormatKind, Result, Warning, WarningCode};

/// Ids from this on are rejected: no published vocabulary comes near, and tables are sized by ids.
pub(crate) const MAX_ID: u32 = 1 << 22;

/// Maximum bytes of an added token.
const MAX_ADDED_BYTES: usize = 4096;

/// Encodes and decodes text exactly as Hugging Face's `tokenizers`.
///
/// Only BPE models are supported (all current decoder-only language models use one), in byte-level or SentencePiece
/// spelling.
#[derive(Debug)]
pub struct Tokenizer {
    inner: Pipeline,
    spelling: Spelling,
    added: AddedTokens,
    special: HashSet<u32>,
    unknown: Option<u32>,
    /// The vocabulary's size: one more than the largest id.
    size: usize,
    /// A beginning-of-sequence token that `encode` adds, if the configuration requests one that the file does not add.
    forced_bos: Option<u32>,
    chat_bos: Option<u32>,
    warnings: Vec<Warning>,
}

/// The parts that a tokenizer is built from, whatever the file format.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The name of the source file, for errors.
    pub(crate) file: String,
    pub(crate) vocab: Vec<(String, u32)>,
    pub(crate) merges: Vec<(String, String)>,
    pub(crate) unk_token: Option<String>,
    pub(crate) end_of_word_suffix: Option<String>,
    pub(crate) fuse_unk: bool,
    pub(crate) byte_fallback: bool,
    pub(crate) ignore_merges: bool,
    /// The four stages around the model in the form of `tokenizer.json`; null if absent.
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) post_processor: Value,
    pub(crate) decoder: Value,
    pub(crate) added: Vec<(u32, AddedToken)>,
    /// See [`Tokenizer::chat_bos`].
    pub(crate) chat_bos: Option<u32>,
    pub(crate) warnings: Vec<Warning>,
}

impl Tokenizer {
    /// Parses a `tokenizer.json`; `file` names it in errors. Saved truncation and padding settings are ignored, as
    /// in `transformers`.
    pub fn from_json(bytes: &[u8], file: &str) -> Result<Self> {
        Self::build(tokenizer_json::parse(bytes, file)?)
    }

    /// Rebuilds the tokenizer of a GGUF file's vocabulary.
    pub fn from_gguf(vocab: GgufVocab) -> Result<Self> {
        Self::build(gguf_vocab::parts(vocab)?)
    }

    /// Applies `tokenizer_config.json`: a beginning-of-sequence token that `tokenizer.json` does not add.
    #[must_use]
    pub fn with_config(mut self, config: &TokenizerConfig) -> Self {
        let Some(bos) = config.bos_token.as_deref().and_then(|t| self.id(t)) else { return self };
        let adds_itself = self.encode("", true).is_ok_and(|ids| ids.contains(&bos));
        self.forced_bos = (config.add_bos_token == Some(true) && !adds_itself).then_some(bos);
        self
    }

    /// Encodes `text`. Added tokens written in it are matched; with `add_special`, the tokens that begin or end a
    /// sequence for this model are added.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, add_special).map_err(encode_error)?;
        let bos = self.forced_bos.filter(|_| add_special);
        Ok(bos.into_iter().chain(encoding.get_ids().iter().copied()).collect())
    }

    /// Like [`Tokenizer::encode`] without special tokens, but added tokens that overlap the byte ranges `plain` (sorted)
    /// are plain text.
    pub(crate) fn encode_masked(&self, text: &str, plain: &[Range<usize>]) -> Result<Vec<u32>> {
        let pieces = |string: NormalizedString, matches: Vec<(Option<u32>, Range<usize>)>| {
            matches.into_iter().filter_map(move |(id, range)| {
                let slice = string.slice(tokenizers::normalizer::Range::Normalized(range))?;
                let token = id.map(|id| vec![Token::new(id, slice.get().to_owned(), (0, slice.get().len()))]);
                Some((slice, token))
            })
        };
        let mut string = PreTokenizedString::from(text);
        string
            .split(|_, s| {
                let matches = self.added.find_raw(s.get(), plain);
                Ok(pieces(s, matches))
            })
            .and_then(|()| {
                string.split(|_, mut s| {
                    if let Some(normalizer) = self.inner.get_normalizer() {
                        tokenizers::Normalizer::normalize(normalizer, &mut s)?;
                    }
                    let matches = self.added.find_normalized(&s, plain);
                    Ok(pieces(s, matches))
                })
            })
            .and_then(|()| self.inner.get_pre_tokenizer().map_or(Ok(()), |p| p.pre_tokenize(&mut string)))
            .and_then(|()| string.tokenize(|s| self.tokenize_plainly(s.get())))
            .map_err(encode_error)?;
        let encoding = string.into_encoding(None, 0, OffsetType::None).map_err(encode_error)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokenizes `text` without special tokens: SentencePiece vocabularies also list `<s>` as a piece.
    fn tokenize_plainly(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        let model = self.inner.get_model();
        let tokens = model.tokenize(text)?;
        if !tokens.iter().any(|t| self.is_special(t.id) && Some(t.id) != self.unknown) {
            return Ok(tokens);
        }
        let mut plain = Vec::new();
        for token in tokens {
            if self.is_special(token.id) && Some(token.id) != self.unknown {
                for c in token.value.chars() {
                    plain.extend(model.tokenize(c.encode_utf8(&mut [0; 4]))?);
                }
            } else {
                plain.push(token);
            }
        }
        Ok(plain)
    }

    /// Decodes `ids`; incomplete characters become U+FFFD, unknown ids are ignored.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        self.inner.decode(ids, skip_special).unwrap_or_default()
    }

    /// The token with this id as the vocabulary spells it (`Ġthe`, `▁the`, `<|im_end|>`).
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token by its spelling in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The bytes of text that a token represents, possibly part of a character; empty for an unknown id.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.decoder_token(id) else { return Vec::new() };
        if self.added.contains(id) {
            return self.token(id).unwrap_or(token).into_bytes();
        }
        match self.spelling {
            Spelling::ByteLevel => byte_level_bytes(&token),
            Spelling::Pieces { .. } => match piece_byte(&token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
            Spelling::Other => self.decode(&[id], false).into_bytes(),
        }
    }

    /// The beginning-of-sequence token that every chat begins with, whether its template writes it or not, as llama.cpp
    /// does for GGUF files. `None` if the template alone decides, as in transformers.
    pub fn chat_bos(&self) -> Option<u32> {
        self.chat_bos
    }

    /// Warnings about incomplete or contradictory descriptions.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The number of ids, including unused ones: one more than the largest.
    pub fn vocab_size(&self) -> usize {
        self.size
    }

    /// Whether the token is special (control, end of turn …), so that it leaves no text in an answer.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// The text of an added token, special or not; `None` for other tokens.
    pub fn added_token(&self, id: u32) -> Option<String> {
        if self.added.contains(id) { self.token(id) } else { None }
    }

    /// The texts of all added tokens, in the order of their ids.
    pub fn added_tokens(&self) -> Vec<String> {
        let mut ids: Vec<u32> = self.added.ids().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.token(id)).collect()
    }

    /// Whether `text` contains an added token that has a meaning to the model, such as `<|im_end|>` or `<think>`.
    pub fn contains_added(&self, text: &str) -> bool {
        !self.added.find_markup(text).is_empty()
    }

    /// The ids of tokens whose text is known to end a turn, whatever their type; with `everywhere`, including pieces of
    /// the model's vocabulary, where GGUF files may have them.
    pub fn turn_ends(&self, everywhere: bool) -> Vec<u32> {
        let id = |token: &str| self.id(token).filter(|&id| everywhere || self.added.contains(id));
        turn_end::turn_ends(&|token| id(token).is_some()).into_iter().filter_map(id).collect()
    }

    /// Whether an id ends a message but not the turn, whatever a model's files declare.
    pub fn ends_message_only(&self, id: u32) -> bool {
        self.token(id).is_some_and(|token| turn_end::ends_message_only(&token, &|other| self.id(other).is_some()))
    }

    pub(crate) fn spelling(&self) -> Spelling {
        self.spelling
    }

    pub(crate) fn added(&self) -> &AddedTokens {
        &self.added
    }

    /// The token in the form that the decoder expects.
    pub(crate) fn decoder_token(&self, id: u32) -> Option<String> {
        self.inner.get_added_vocabulary().simple_id_to_token(id).or_else(|| self.inner.get_model().id_to_token(id))
    }

    /// Checks that the parts are consistent and assembles them. The `tokenizers` crate trusts a vocabulary and
    /// panics on some inconsistent ones, so everything is checked here first.
    pub(crate) fn build(mut parts: Parts) -> Result<Self> {
        let file = std::mem::take(&mut parts.file);
        let bad = |message: String| Error::format(FormatKind::BadTokenizer, &file, message);
        let mut vocab = Vocab::with_capacity(parts.vocab.len());
        let mut ids = HashSet::with_capacity(parts.vocab.len());
        for (token, id) in std::mem::take(&mut parts.vocab) {
            check_id(&file, &token, id)?;
            if !ids.insert(id) {
                return Err(bad(format!("two tokens have id {id}, one of them {token:?}")));
            }
            if let Some(other) = vocab.insert(token, id) {
                return Err(bad(format!("a token has two ids, {other} and {id}")));
            }
        }
        let mut joined = String::new();
        for (rank, (a, b)) in parts.merges.iter().enumerate() {
            joined.clear();
            joined.push_str(a);
            joined.push_str(b);
            if let Some(token) = [a, b, &joined].into_iter().find(|t| !vocab.contains_key(t.as_str())) {
                return Err(bad(format!("merge {rank} needs {token:?}, which is not in the vocabulary")));
            }
        }
        let byte_level = [&parts.normalizer, &parts.pre_tokenizer].iter().any(|v| names_byte_level(v));
        if byte_level {
            check_bytes(&file, &vocab)?;
        }
        renumber_where_ids_contradict(&mut parts, &vocab);
        add_to_vocab_where_ids_would_move(&file, &parts.added, &mut vocab, &mut ids)?;
        let size = ids.iter().chain(parts.added.iter().map(|(id, _)| id)).max().map_or(0, |&id| id as usize + 1);

        let unk_token = parts.unk_token.filter(|t| vocab.contains_key(t));
        let unknown = unk_token.as_ref().map(|t| vocab[t]);
        let mut bpe = BPE::builder()
            .vocab_and_merges(vocab, std::mem::take(&mut parts.merges))
            .fuse_unk(parts.fuse_unk)
            .byte_fallback(parts.byte_fallback)
            .ignore_merges(parts.ignore_merges);
        if let Some(token) = unk_token {
            bpe = bpe.unk_token(token);
        }
        if let Some(suffix) = parts.end_of_word_suffix.filter(|s| !s.is_empty()) {
            bpe = bpe.end_of_word_suffix(suffix);
        }
        let bpe = bpe.build().map_err(|e| bad(e.to_string()))?;

        tokenizer_json::check_post_processor(&file, &parts.post_processor, size)?;
        let spelling = Spelling::of_decoder(&parts.decoder);
        let mut inner = Pipeline::new(bpe);
        inner
            .with_normalizer(tokenizer_json::normalizer(&file, parts.normalizer)?)
            .map_err(|e| bad(e.to_string()))?
            .with_pre_tokenizer(tokenizer_json::pre_tokenizer(&file, parts.pre_tokenizer)?)
            .with_post_processor(tokenizer_json::post_processor(&file, parts.post_processor)?)
            .with_decoder(tokenizer_json::decoder(&file, parts.decoder)?);
        inner.add_tokens(parts.added.iter().map(|(_, token)| token.clone())).map_err(|e| bad(e.to_string()))?;
        for (id, token) in &parts.added {
            let got = inner.token_to_id(&token.content);
            if got != Some(*id) {
                return Err(bad(format!("added token {:?} is declared with id {id}, which is taken", token.content)));
            }
        }
        let special = parts.added.iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
        let added = AddedTokens::new(&parts.added, inner.get_normalizer());
        Ok(Self {
            inner,
            spelling,
            added,
            special,
            unknown,
            size,
            forced_bos: None,
            chat_bos: parts.chat_bos,
            warnings: parts.warnings,
        })
    }
}

fn encode_error(error: tokenizers::Error) -> Error {
    Error::invalid("text", format!("cannot be encoded: {error}"))
}

fn check_id(file: &str, token: &str, id: u32) -> Result<()> {
    if id < MAX_ID {
        return Ok(());
    }
    let shown: String = token.chars().take(40).collect();
    let message = format!("token {shown:?} has id {id}; at most {} is supported", MAX_ID - 1);
    Err(Error::format(FormatKind::LimitExceeded, file, message))
}

/// Whether a stage or one of its sub-stages is `ByteLevel`.
fn names_byte_level(stage: &Value) -> bool {
    match stage {
        Value::Object(map) => map.get("type").is_some_and(|t| t == "ByteLevel") || map.values().any(names_byte_level),
        Value::Array(items) => items.iter().any(names_byte_level),
        _ => false,
    }
}

/// Checks that a byte-level vocabulary can spell text. Bytes that hardly occur in text may be absent (SmolLM2's
/// vocabulary lacks six control characters and the lead bytes past plane 3); `tokenizers` drops those.
fn check_bytes(file: &str, vocab: &Vocab) -> Result<()> {
    let needed = |b: &u8| matches!(b, b'\n' | b'\t' | b' '..=b'~' | 0x80..=0xBF | 0xC3..=0xEF);
    let missing: Vec<u8> = (0..=255)
        .filter(needed)
        .filter(|&b| !vocab.contains_key(byte_to_char(b).encode_utf8(&mut [0; 4]) as &str))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("the byte-level vocabulary lacks {} bytes of ordinary text: {missing:02X?}", missing.len());
    Err(Error::format(FormatKind::BadTokenizer, file, message))
}

/// If an added token is declared with another id than the vocabulary's, the vocabulary's id is used, and other added
/// tokens are renumbered: Hugging Face's `tokenizers` ignores the declared ids of added tokens. Ids that no numbering
/// of these tokens could give are faults.
fn renumber_where_ids_contradict(parts: &mut Parts, vocab: &Vocab) {
    let known = |token: &AddedToken| vocab.get(&token.content).copied();
    let most = vocab.len() + parts.added.len();
    if parts.added.iter().any(|(id, _)| *id as usize >= most) {
        return;
    }
    let contradiction = |(id, token): &&(u32, AddedToken)| known(token).is_some_and(|known| known != *id);
    let Some((id, token)) = parts.added.iter().find(contradiction) else { return };
    let message = format!(
        "added token {:?} has id {id} and is {} in the vocabulary: the declared ids of added tokens are ignored",
        token.content, vocab[&token.content]
    );
    parts.warnings.push(Warning::new(WarningCode::Tokenizer, message));
    let size = vocab.len() as u32; // at most MAX_ID
    let mut seen = HashSet::new();
    let mut next = size;
    parts.added.retain(|(_, token)| seen.insert(token.content.clone()));
    for (id, token) in &mut parts.added {
        *id = known(token).unwrap_or(next);
        next = next.max(*id + 1);
    }
}

/// `tokenizers` numbers added tokens from the vocabulary's size on. If that does not result in the declared
/// ids (a vocabulary with unused ids), the tokens are inserted into the vocabulary, whose ids are kept.
fn add_to_vocab_where_ids_would_move(
    file: &str,
    added: &[(u32, AddedToken)],
    vocab: &mut Vocab,
    ids: &mut HashSet<u32>,
) -> Result<()> {
    let bad = |message: String| Err(Error::format(FormatKind::BadTokenizer, file, message));
    let mut next = vocab.len() as u32;
    let mut own: HashSet<u32> = HashSet::new();
    let mut moves = false;
    for (id, token) in added {
        check_id(file, &token.content, *id)?;
        if token.content.len() > MAX_ADDED_BYTES {
            let message = format!("added token {id} has {} bytes; at most {MAX_ADDED_BYTES}", token.content.len());
            return Err(Error::format(FormatKind::LimitExceeded, file, message));
        }
        if token.content.is_empty() {
            return bad(format!("added token {id} is empty"));
        }
        match vocab.get(&token.content) {
            Some(known) if known == id => {}
            Some(known) => {
                return bad(format!("added token {:?} has id {id}, but id {known} in the vocabulary", token.content));
            }
            None if ids.contains(id) => {
                return bad(format!("added token {:?} has id {id}, which another token has", token.content));
            }
            None => {
                if !own.insert(*id) {
                    return bad(format!("two added tokens have id {id}"));
                }
                moves |= *id != next;
                next = next.saturating_add(1);
            }
        }
    }
    if moves {
        for (id, token) in added {
            ids.insert(*id);
            if vocab.insert(token.content.clone(), *id).is_some_and(|known| known != *id) {
                return bad(format!("added token {:?} has two ids", token.content));
            }
        }
    }
    Ok(())
}
