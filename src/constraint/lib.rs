//! Masks of tokens that keep a model's output within a grammar: JSON Schema, regular expression, choice, or Lark grammar.
//!
//! llguidance compiles grammars and makes the masks. This crate checks what it is given first, so that what cannot be honoured is
//! refused with a reason, and knows neither models nor the engine: as WebAssembly (`web.rs`) it is a module of its own, which is
//! fetched when a constraint is first used.
#![forbid(unsafe_code)]

mod names;
mod pattern;
mod schema;
#[cfg(target_arch = "wasm32")]
mod web;

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use llguidance::api::{ParserLimits, StopReason, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::panic_utils::catch_unwind;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{ParserFactory, TokenParser};
use names::Names;
use serde::Deserialize;
use serde_json::Value;

/// Compiled grammars that are kept.
const KEPT: usize = 16;
/// Bytes of a constraint, at most.
const MAX_TEXT: usize = 4 << 20;
/// Bytes of a token, at most: longer ones are never allowed.
const MAX_TOKEN: usize = 1000;

/// Why a constraint cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// The keyword, or the part of a pattern, that is not supported.
    pub keyword: Option<String>,
    /// Where a JSON Schema has it: `#/properties/a/not`.
    pub path: Option<String>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), keyword: None, path: None }
    }

    fn at(keyword: &str, message: impl Into<String>) -> Self {
        Self { keyword: Some(keyword.to_owned()), ..Self::new(message) }
    }

    /// A refusal of a pattern that a keyword of a schema has.
    fn within(self, keyword: &str, path: &str) -> Self {
        Self { keyword: Some(keyword.to_owned()), path: Some(path.to_owned()), ..self }
    }
}

/// What an answer is to match, as JSON: `{ "regex", "flags" }`, `{ "json" }`, `{ "choice" }` or `{ "grammar" }`.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Constraint {
    Regex {
        regex: String,
        #[serde(default)]
        flags: String,
    },
    Json {
        json: Value,
    },
    Choice {
        choice: Vec<String>,
    },
    Lark {
        grammar: String,
    },
}

/// The tokens of a model.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// The bytes of all tokens, one after the other. The bytes of a special token are `0xff` and its name; a token without bytes
    /// is never allowed.
    pub bytes: Vec<u8>,
    /// For each token, the number of its bytes.
    pub lengths: Vec<u32>,
    /// The tokens that end an answer.
    pub ends: Vec<u32>,
}

/// Compiles grammars for a vocabulary, and keeps the last ones.
pub struct Grammars {
    factory: ParserFactory,
    tokens: usize,
    /// Tokens with quotation marks, and how many.
    quoted: Rc<[(u32, usize)]>,
    /// Compiled grammars by their text, the last used at the end.
    kept: RefCell<Vec<Kept>>,
}

struct Kept {
    text: String,
    parser: TokenParser,
    /// Whether the texts are JSON.
    json: bool,
    /// Whether a matcher has met a limit of the state that all matchers of the grammar share.
    spent: Rc<Cell<bool>>,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// A vocabulary as llguidance wants it. Its texts are tokenised by the engine, never here.
struct Tokens(TokTrie);

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

impl Grammars {
    /// Prepares a vocabulary.
    ///
    /// # Errors
    /// [`Refusal`] where the vocabulary cannot be used.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, Refusal> {
        let tokens = vocabulary.lengths.len();
        let mut words = Vec::with_capacity(tokens + 1);
        let mut rest = vocabulary.bytes.as_slice();
        for &length in &vocabulary.lengths {
            let (word, after) = rest
                .split_at_checked(length as usize)
                .ok_or_else(|| Refusal::new("the vocabulary's bytes end early"))?;
            rest = after;
            words.push(if word.len() > MAX_TOKEN { Vec::new() } else { word.to_vec() });
        }
        // A model whose files name no end of turn still needs one here; masks leave it out.
        words.push(b"\xff<minke end>".to_vec());
        let mut ends: Vec<u32> = vocabulary.ends.iter().copied().filter(|&id| (id as usize) < tokens).collect();
        if ends.is_empty() {
            ends.push(tokens as u32);
        }
        let quotes = |word: &Vec<u8>| word.iter().filter(|&&byte| byte == b'"').count();
        let quoted = (0..).zip(words.iter().map(quotes)).filter(|(_, quotes)| *quotes > 0).collect();
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, ends[0]), &words).with_eos_tokens(&ends);
        let env: TokEnv = Arc::new(Tokens(trie));
        let slices = SlicedBiasComputer::general_slices();
        let factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices);
        let mut factory = factory.map_err(|error| Refusal::new(error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits { verbose_errors: false, ..ParserLimits::default() };
        Ok(Self { factory, tokens, quoted, kept: RefCell::default() })
    }

    /// Begins a match of a constraint, which is given as JSON.
    ///
    /// # Errors
    /// [`Refusal`] where the constraint cannot be honoured, or nothing satisfies it.
    pub fn compile(&self, constraint: &str) -> Result<Matcher, Refusal> {
        let kept = &mut *self.kept.borrow_mut();
        kept.retain(|kept| !kept.spent.get());
        let place = kept.iter().position(|kept| kept.text == constraint);
        let kept_now = match place {
            Some(place) => kept.remove(place),
            None => {
                let (parser, json) = self.parser(constraint)?;
                Kept { text: constraint.to_owned(), parser, json, spent: Rc::default() }
            }
        };
        let matcher = self.matcher(&kept_now.parser, kept_now.json, kept_now.spent.clone());
        kept.push(kept_now);
        if kept.len() > KEPT {
            kept.remove(0);
        }
        Ok(matcher)
    }

    fn matcher(&self, parser: &TokenParser, json: bool, spent: Rc<Cell<bool>>) -> Matcher {
        let mut parser = parser.clone();
        parser.start_without_prompt();
        Matcher { parser, names: json.then(Names::default), quoted: self.quoted.clone(), spent, tokens: self.tokens }
    }

    /// Compiles a constraint; with it, whether its texts are JSON.
    fn parser(&self, constraint: &str) -> Result<(TokenParser, bool), Refusal> {
        if constraint.len() > MAX_TEXT {
            return Err(Refusal::new(format!("it has {} bytes; at most {MAX_TEXT} are possible", constraint.len())));
        }
        let value: Value = serde_json::from_str(constraint).map_err(|error| Refusal::new(error.to_string()))?;
        let constraint: Constraint = serde_json::from_value(value)
            .map_err(|_| Refusal::new("expected a regular expression, { json }, { choice } or { grammar }"))?;
        let json = matches!(constraint, Constraint::Json { .. });
        let parser = match constraint {
            Constraint::Regex { regex, flags } => self.parse(lark(&pattern::whole(&regex, &flags)?))?,
            Constraint::Choice { choice } if choice.is_empty() => {
                return Err(Refusal::at("choice", "there is nothing to choose from"));
            }
            Constraint::Choice { choice } => self.parse(lark(&pattern::one_of(&choice)))?,
            Constraint::Lark { grammar } => self.parse(TopLevelGrammar::from_lark(prepared(&grammar)?))?,
            Constraint::Json { json } => {
                let prepared = schema::prepare(&json)?;
                if prepared.schema == Value::Bool(false) {
                    return Err(Refusal {
                        path: Some("#".into()),
                        ..Refusal::new("nothing satisfies the schema false")
                    });
                }
                let whole = self.parse(TopLevelGrammar::from_json_schema(prepared.schema.clone()));
                whole.map_err(|refusal| self.located(refusal, &prepared))?
            }
        };
        let mut matcher = self.matcher(&parser, json, Rc::default());
        if matcher.mask()?.iter().all(|word| *word == 0) && !matcher.may_end() {
            return Err(Refusal::new("nothing that the model can write satisfies it"));
        }
        Ok((parser, json))
    }

    fn parse(&self, grammar: TopLevelGrammar) -> Result<TokenParser, Refusal> {
        self.factory.create_parser(grammar).map_err(|error| Refusal::new(plain(&error)))
    }

    /// Finds the innermost subschema that fails in the same way as the whole.
    fn located(&self, refusal: Refusal, prepared: &schema::Prepared) -> Refusal {
        const TRIED: usize = 400;
        for (path, part) in prepared.parts.iter().take(TRIED).filter(|(_, part)| part.is_object()) {
            let Err(found) = self.parse(TopLevelGrammar::from_json_schema(prepared.whole(part))) else { continue };
            if refusal.message.contains(&found.message) || found.message.contains(&refusal.message) {
                let named = |keyword: &&String| words(&found.message).any(|word| word == keyword.as_str());
                let keyword = part.as_object().and_then(|part| part.keys().find(named)).cloned();
                let path = keyword.iter().fold(path.clone(), |path, keyword| format!("{path}/{keyword}"));
                return Refusal { message: found.message, keyword, path: Some(path) };
            }
        }
        refusal
    }
}

/// The words of a message, as keywords are written.
fn words(message: &str) -> impl Iterator<Item = &str> {
    message.split(|c: char| !c.is_ascii_alphanumeric() && c != '$')
}

/// A grammar of one terminal, which is a regular expression.
fn lark(expression: &str) -> TopLevelGrammar {
    let start = if expression.is_empty() { "\"\"".to_owned() } else { format!("/{}/", expression.replace('/', "\\/")) };
    TopLevelGrammar::from_lark(format!("start: {start}"))
}

/// A Lark grammar whose schemas (`%json {…}`, each on its line) are checked and prepared as schemas of their own are; a style that
/// they declare is kept.
fn prepared(grammar: &str) -> Result<String, Refusal> {
    const STYLE: &str = "x-guidance";
    let mut lines = Vec::new();
    for line in grammar.lines() {
        let read = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        let Some((head, mut schema)) = line.split_once("%json ").and_then(|(head, text)| Some((head, read(text)?)))
        else {
            lines.push(line.to_owned());
            continue;
        };
        let style = schema.as_object_mut().and_then(|keywords| keywords.remove(STYLE));
        let mut schema = schema::prepare(&schema)?.schema;
        if let (Some(style), Some(keywords)) = (style, schema.as_object_mut()) {
            keywords.insert(STYLE.into(), style);
        }
        lines.push(format!("{head}%json {schema}"));
    }
    Ok(lines.join("\n"))
}

/// The special token that forced bytes begin with, as llguidance writes it: `0xff`, then its id in brackets.
fn forced_token(bytes: &[u8]) -> Option<TokenId> {
    let rest = bytes.strip_prefix(&[TokTrie::SPECIAL_TOKEN_MARKER, b'['])?;
    let digits = rest.split(|&byte| byte == b']').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// An error in one line, without the grammar's text.
fn plain(error: &dyn std::fmt::Display) -> String {
    const MOST: usize = 300;
    let text = error.to_string();
    let text = text.split("\n<").next().unwrap_or_default();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > MOST { line.chars().take(MOST).chain(['…']).collect() } else { line }
}

/// A match in progress.
pub struct Matcher {
    parser: TokenParser,
    /// The names in the JSON so far.
    names: Option<Names>,
    quoted: Rc<[(u32, usize)]>,
    spent: Rc<Cell<bool>>,
    tokens: usize,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher").field("tokens", &self.parser.num_tokens()).finish_non_exhaustive()
    }
}

impl Matcher {
    /// The tokens that may come next: bit `id % 32` of word `id / 32`, in `tokens / 32` words, rounded up. All are 0 where
    /// nothing but the end is possible and the model has no token for it.
    ///
    /// # Errors
    /// [`Refusal`] where the grammar's limits are met.
    pub fn mask(&mut self) -> Result<Vec<u32>, Refusal> {
        let mask = if self.must_end() {
            Ok(self.parser.token_env.tok_trie().eos_token_set())
        } else if let Some(id) = forced_token(self.parser.parser.currently_forced_bytes()) {
            Ok(self.parser.token_env.tok_trie().singleton_token_set(id))
        } else {
            let parser = &mut self.parser;
            catch_unwind(AssertUnwindSafe(|| parser.compute_mask()))
        };
        let mut mask = match mask {
            Ok(mask) => mask,
            // The grammar has come to its end with the last mask.
            Err(_) if self.must_end() => self.parser.token_env.tok_trie().eos_token_set(),
            Err(error) => return Err(self.refuse(&error)),
        };
        mask.disallow_token(self.tokens as u32);
        if let Some(names) = &self.names {
            let trie = self.parser.token_env.tok_trie();
            for &(id, quotes) in self.quoted.iter() {
                if names.concerns(quotes) && mask.is_allowed(id) && !names.allows(trie.token(id)) {
                    mask.disallow_token(id);
                }
            }
        }
        Ok(mask.as_slice()[..self.tokens.div_ceil(32)].to_vec())
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// [`Refusal`] where the grammar does not allow it.
    pub fn consume(&mut self, id: u32) -> Result<(), Refusal> {
        if let Some(names) = &mut self.names {
            let bytes = self.parser.token_env.tok_trie().token(id);
            if !bytes.iter().all(|&byte| names.push(byte)) {
                return Err(Refusal::new("a name comes twice in an object"));
            }
        }
        let parser = &mut self.parser;
        let taken = catch_unwind(AssertUnwindSafe(|| {
            let allowed = parser.validate_token(id)?;
            if allowed {
                parser.consume_token(id)?;
                parser.check_stop()?;
            }
            Ok(allowed)
        }));
        match taken {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::new(format!("the grammar does not allow token {id}"))),
            Err(error) => Err(self.refuse(&error)),
        }
    }

    /// The bytes that must come next; none where there is a choice. They end before a special token.
    pub fn forced(&mut self) -> Vec<u8> {
        if self.must_end() {
            return Vec::new();
        }
        let mut bytes = self.parser.force_bytes();
        let special = bytes.iter().position(|&byte| byte == TokTrie::SPECIAL_TOKEN_MARKER);
        bytes.truncate(special.unwrap_or(bytes.len()));
        // A name that has to come and is there already leads nowhere: the mask says so.
        if self.names.as_ref().is_some_and(|names| !names.allows(&bytes)) {
            bytes.clear();
        }
        bytes
    }

    /// Of tokens that spell the beginning of [`Self::forced`], how many the model would choose whatever follows: the last ones
    /// may be parts of a longer token.
    pub fn settled(&mut self, ids: &[u32]) -> usize {
        let env = self.parser.token_env.clone();
        let (open, _) = self.parser.parser.with_recognizer(|recognizer| env.tok_trie().chop_tokens(recognizer, ids));
        ids.len() - open
    }

    /// Whether the grammar may end here.
    pub fn may_end(&mut self) -> bool {
        self.must_end() || self.parser.is_accepting()
    }

    /// Whether nothing but the end is possible.
    pub fn must_end(&self) -> bool {
        matches!(
            self.parser.stop_reason(),
            StopReason::NoExtension | StopReason::NoExtensionBias | StopReason::EndOfSentence
        )
    }

    fn refuse(&self, error: &dyn std::fmt::Display) -> Refusal {
        self.spent.set(true);
        Refusal::new(plain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as tokens, and an end.
    fn bytes() -> Grammars {
        let bytes = (0..255).chain(*b"\xff<end>").collect();
        let lengths = std::iter::repeat_n(1, 255).chain([0, 6]).collect();
        Grammars::new(&Vocabulary { bytes, lengths, ends: vec![256] }).expect("bytes are a vocabulary")
    }

    #[test]
    fn limits_are_refusals_that_say_so() {
        let grammars = bytes();
        let nested = (0..120).fold("{}".to_owned(), |inner, _| format!(r#"{{"items": {inner}}}"#));
        let brackets = format!("start: {}\"a\"{}", "(".repeat(5000), ")".repeat(5000));
        for (constraint, says) in [
            (format!(r#"{{"json": {nested}}}"#), "deep"),
            (format!(r#"{{"json": {}1{}}}"#, "[".repeat(200), "]".repeat(200)), "recursion"),
            (format!(r#"{{"grammar": {}}}"#, Value::from(brackets)), "nested"),
            (format!(r#"{{"choice": ["{}"]}}"#, "a".repeat(MAX_TEXT)), "bytes"),
            (r#"{"regex": "a", "json": {}}"#.to_owned(), "expected"),
            (r#"{"json": {"enum": ["\u0001"]}}"#.to_owned(), "control"),
        ] {
            let refusal = grammars.compile(&constraint).expect_err(says);
            assert!(refusal.message.contains(says), "{says}: {}", refusal.message);
        }
    }

    /// What zod makes of a record, dates, addresses, whole numbers and tuples, as an answer and within a grammar.
    #[test]
    fn schemas_of_validators_are_honoured() {
        let grammars = bytes();
        let schema = serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
            "properties": {
                "tags": { "type": "object", "propertyNames": { "type": "string" }, "additionalProperties": { "type": "number" } },
                "mail": { "type": "string", "format": "email", "pattern": "^[a-z]+@[a-z]+\\.[a-z]{2,}$" },
                "page": { "type": "string", "format": "uri" },
                "id": { "type": "integer", "minimum": -9_007_199_254_740_991_i64, "maximum": 9_007_199_254_740_991_i64 },
                "pair": { "type": "array", "prefixItems": [{ "type": "string" }, { "type": "number" }], "items": false, "minItems": 2, "maxItems": 2 },
            },
            "required": ["tags", "mail", "page", "id", "pair"],
        });
        for constraint in
            [serde_json::json!({ "json": schema }), serde_json::json!({ "grammar": format!("start: %json {schema}") })]
        {
            grammars.compile(&constraint.to_string()).expect("it can be honoured");
        }
        let refusal = grammars.compile(r#"{"json": {"propertyNames": {"maxLength": 3}}}"#).expect_err("it restricts");
        assert_eq!(refusal.path.as_deref(), Some("#/propertyNames"));
    }

    #[test]
    fn a_grammar_is_compiled_once_and_ends_as_it_says() {
        let grammars = bytes();
        for _ in 0..2 {
            let mut matcher = grammars.compile(r#"{"regex": "ab|abc"}"#).expect("a pattern");
            assert_eq!(grammars.kept.borrow().len(), 1);
            assert_eq!(matcher.forced(), b"ab");
            matcher.consume(u32::from(b'a')).expect("it is allowed");
            assert!(matcher.consume(u32::from(b'x')).is_err() && !matcher.may_end());
            matcher.consume(u32::from(b'b')).expect("it is allowed");
            assert!(matcher.may_end() && !matcher.must_end());
            let mask = matcher.mask().expect("a mask");
            let allowed: Vec<u32> = (0..257).filter(|id| mask[*id as usize / 32] >> (id % 32) & 1 == 1).collect();
            assert_eq!(allowed, [u32::from(b'c'), 256]);
            matcher.consume(u32::from(b'c')).expect("it is allowed");
            assert!(matcher.must_end() && matcher.forced().is_empty());
        }
        for i in 0..2 * KEPT {
            grammars.compile(&format!(r#"{{"choice": ["{i}"]}}"#)).expect("a choice");
        }
        assert_eq!(grammars.kept.borrow().len(), KEPT);
    }
}
