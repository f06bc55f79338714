//! Turns the sampled tokens of a running generation into stream parts: reasoning, answer text, tool calls,
//! log-probabilities.

use super::request::Sampled;
use super::tools::Calls;
use super::{Engine, FinishReason, GenerateResult, StreamPart, TokenLogprob, Usage};
use crate::text::{
    Beginning, Detokenizer, Kind, Message, ReasoningFormat, ReasoningSplitter, Stage, StopSequences, ToolCall,
};

/// The output of a running generation so far, and the callback that receives its parts.
pub(super) struct Output<'a> {
    engine: &'a Engine,
    emit: &'a mut dyn FnMut(StreamPart),
    detokenizer: Detokenizer,
    stops: StopSequences,
    splitter: Option<ReasoningSplitter>,
    /// Finds the calls in the answer; `None` if there may be none.
    pub calls: Option<Calls>,
    /// Whether log-probabilities are wanted.
    scored: bool,
    /// Log-probabilities of tokens whose text has not been emitted yet.
    pending: Vec<TokenLogprob>,
    pub text: String,
    pub reasoning: String,
    pub ids: Vec<u32>,
    pub logprobs: Vec<TokenLogprob>,
}

impl<'a> Output<'a> {
    pub fn new(
        engine: &'a Engine,
        stop_sequences: &[String],
        splitter: Option<ReasoningSplitter>,
        calls: Option<Calls>,
        scored: bool,
        emit: &'a mut dyn FnMut(StreamPart),
    ) -> Self {
        Self {
            engine,
            emit,
            detokenizer: Detokenizer::new(&engine.tokenizer, true),
            stops: StopSequences::new(stop_sequences),
            splitter,
            calls,
            scored,
            pending: Vec::new(),
            text: String::new(),
            reasoning: String::new(),
            ids: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    pub fn emit(&mut self, part: StreamPart) {
        (self.emit)(part);
    }

    /// Whether the output is currently inside the reasoning.
    pub fn thinking(&self) -> bool {
        self.splitter.as_ref().is_some_and(ReasoningSplitter::in_reasoning)
    }

    /// Where in the output the next token is.
    pub fn stage(&self) -> Stage {
        self.splitter.as_ref().map_or(Stage::Answer, ReasoningSplitter::stage)
    }

    /// Has all that follows be the answer, white space included.
    pub fn begin_answer(&mut self) {
        if let Some(splitter) = &mut self.splitter {
            splitter.begin_answer();
        }
    }

    /// The tokens that open the reasoning.
    pub fn openers(&self) -> Vec<u32> {
        let marks = self.splitter.as_ref().map(ReasoningSplitter::openers).unwrap_or_default();
        let tokenizer = &self.engine.tokenizer;
        marks.iter().filter_map(|mark| tokenizer.id(mark)).filter(|&id| tokenizer.added_token(id).is_some()).collect()
    }

    /// The tokens of white space.
    pub fn white_space(&self) -> Vec<u32> {
        let tokenizer = &self.engine.tokenizer;
        let white = |&id: &u32| {
            let bytes = tokenizer.token_bytes(id);
            !bytes.is_empty() && bytes.trim_ascii().is_empty() && !tokenizer.is_special(id)
        };
        (0..self.engine.info.vocab_size as u32).filter(white).collect()
    }

    /// The tokens in which the model would write `bytes` after the output so far; none where that cannot be told.
    pub fn spell(&self, bytes: &[u8]) -> Vec<u32> {
        let whole = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let tokenizer = &self.engine.tokenizer;
        // In its context: tokenizers look at what is before, and some put a space before a text.
        let last = self.ids.last().filter(|&&id| tokenizer.added_token(id).is_none());
        let before = last.and_then(|&id| String::from_utf8(tokenizer.token_bytes(id)).ok());
        for before in before.into_iter().chain([String::new(), "\n".into()]) {
            let text = before + whole;
            let ids = tokenizer.encode_masked(&text, std::slice::from_ref(&(0..text.len()))).unwrap_or_default();
            let mut left = whole.as_bytes();
            let mut from = ids.len();
            while let Some(rest) =
                ids[..from].last().and_then(|&id| left.strip_suffix(tokenizer.token_bytes(id).as_slice()))
            {
                if left.is_empty() {
                    break;
                }
                (left, from) = (rest, from - 1);
            }
            if left.is_empty() {
                return ids[from..].to_vec();
            }
        }
        Vec::new()
    }

    /// Calls that the output has begun: from their marker on, or in harmony's channels from the function's name on. Text that is held
    /// back does not count yet.
    pub fn beginning_of_calls(&self) -> Option<Beginning> {
        let calls = self.calls.as_ref()?;
        let recipient = self.splitter.as_ref().and_then(ReasoningSplitter::recipient);
        let message = recipient.map(|text| Beginning { text: text.to_owned(), is_marker: false });
        message.or_else(|| calls.beginning())
    }

    /// The last tokens, as many as a text takes, with what the first of them has before it. `None` if the output ends otherwise.
    pub fn tokens_of(&self, text: &str) -> Option<(String, Vec<u32>)> {
        let tokenizer = &self.engine.tokenizer;
        let (mut bytes, mut from) = (Vec::new(), self.ids.len());
        while bytes.len() < text.len() {
            from = from.checked_sub(1)?;
            bytes = [tokenizer.token_bytes(self.ids[from]), bytes].concat();
        }
        let before = bytes.strip_suffix(text.as_bytes())?;
        Some((String::from_utf8(before.to_vec()).ok()?, self.ids[from..].to_vec()))
    }

    /// Closes the reasoning, if it is `open`, and begins a forced call after it, with tokens that it returns; `None` without room for
    /// them and a token after them.
    pub fn go_on(&mut self, open: bool, call: Option<&str>, limit: usize) -> Option<Vec<u32>> {
        let splitter = self.splitter.as_ref()?;
        let text = match call {
            Some(call) => splitter.end_before_call(open) + call,
            None => splitter.end(),
        };
        let ids = self.engine.tokenizer.encode(&text, false).unwrap_or_default();
        let fits = !ids.is_empty() && self.ids.len() + ids.len() < limit;
        fits.then(|| {
            self.put_in(&ids);
            ids
        })
    }

    /// Notes a sampled token.
    pub fn sampled(&mut self, token: &Sampled) {
        self.ids.push(token.id);
        if self.scored {
            let top = token.top.iter().map(|&(id, logprob)| self.engine.token_logprob(id, f64::from(logprob)));
            let top = token.ranked.then(|| top.collect());
            self.score(TokenLogprob { top, ..self.engine.token_logprob(token.id, f64::from(token.logprob)) });
        }
    }

    fn score(&mut self, logprob: TokenLogprob) {
        self.pending.push(logprob.clone());
        self.logprobs.push(logprob);
    }

    /// Processes a token's text; `true` if a stop sequence was matched.
    pub fn read(&mut self, id: u32) -> bool {
        if let Some(mark) = self.mark(id) {
            self.pass(&mark);
        } else if let Some(text) = self.detokenizer.push(&self.engine.tokenizer, id) {
            let text = self.stops.push(&text);
            self.split(&text);
        }
        self.stops.hit()
    }

    /// The text of a token that separates reasoning, answer and calls.
    fn mark(&self, id: u32) -> Option<String> {
        let tokenizer = &self.engine.tokenizer;
        let token = tokenizer.added_token(id)?;
        // Tags that are not special tokens are plain text for detokeniser, stop sequences and splitter.
        let apart = tokenizer.is_special(id) || self.engine.reasoning == ReasoningFormat::Harmony;
        let of_reasoning = self.splitter.is_some() && self.engine.reasoning.is_mark(&token);
        // Harmony's marks are read by its splitter only.
        let split = self.splitter.is_some() || self.engine.reasoning != ReasoningFormat::Harmony;
        let of_calls = || split && self.calls.as_ref().is_some_and(|calls| calls.is_mark(&token));
        (apart && (of_reasoning || of_calls())).then_some(token)
    }

    /// Processes a separator; text held back before it is emitted first.
    fn pass(&mut self, mark: &str) {
        let rest = self.detokenizer.finish(&self.engine.tokenizer).unwrap_or_default();
        let mut text = self.stops.push(&rest);
        if self.stops.hit() {
            return self.split(&text);
        }
        text += &self.stops.finish();
        self.split(&text);
        let pieces = match &mut self.splitter {
            Some(splitter) => splitter.push_mark(mark),
            None => vec![(Kind::Text, mark.to_owned())],
        };
        for (kind, text) in pieces {
            self.piece(kind, text);
        }
    }

    /// Processes a token of the answer that is certain and is not sampled; `true` if a stop sequence was matched.
    pub fn insert(&mut self, id: u32) -> bool {
        self.inserted(id);
        self.read(id)
    }

    /// Notes a token that was not sampled: its probability is 1.
    fn inserted(&mut self, id: u32) {
        self.ids.push(id);
        if self.scored {
            self.score(self.engine.token_logprob(id, 0.0));
        }
    }

    /// Processes tokens that the engine inserts instead of sampling. They never end the generation, and their
    /// probability is 1.
    pub fn put_in(&mut self, ids: &[u32]) {
        let held = self.stops.finish();
        self.split(&held);
        for &id in ids {
            self.inserted(id);
            if let Some(mark) = self.mark(id) {
                self.pass(&mark);
            } else if let Some(text) = self.detokenizer.push(&self.engine.tokenizer, id) {
                self.split(&text);
            }
        }
    }

    /// What the generation has made.
    pub fn result(self, messages: Vec<Message>, finish_reason: FinishReason, usage: Usage) -> GenerateResult {
        let Output { text, reasoning, ids, logprobs, calls, scored, .. } = self;
        let (tool_calls, incomplete_tool_call) = calls.map(Calls::found).unwrap_or_default();
        let messages = with_answer(messages, &text, &reasoning, &tool_calls);
        let logprobs = scored.then_some(logprobs);
        GenerateResult {
            text,
            reasoning,
            tool_calls,
            incomplete_tool_call,
            finish_reason,
            usage,
            messages,
            ids,
            logprobs,
        }
    }

    /// Emits what was held back. A turn that the model ended with calls waits for their results.
    pub fn finish(&mut self, reason: &mut FinishReason) {
        let rest = self.detokenizer.finish(&self.engine.tokenizer).unwrap_or_default();
        let mut rest = self.stops.push(&rest);
        if !self.stops.hit() {
            rest += &self.stops.finish();
        }
        self.split(&rest);
        if let Some(mut splitter) = self.splitter.take() {
            for (kind, text) in splitter.finish() {
                self.piece(kind, text);
            }
        }
        let Some(calls) = &mut self.calls else { return };
        let ended = *reason == FinishReason::Stop;
        let parts = calls.finish(!ended);
        if ended && calls.any() {
            *reason = FinishReason::ToolCalls;
        }
        self.parts(parts);
    }

    fn split(&mut self, text: &str) {
        match &mut self.splitter {
            None => self.piece(Kind::Text, text.to_owned()),
            Some(splitter) => {
                for (kind, text) in splitter.push(text) {
                    self.piece(kind, text);
                }
            }
        }
    }

    fn piece(&mut self, kind: Kind, text: String) {
        if text.is_empty() {
            return;
        }
        let parts = match &mut self.calls {
            _ if kind == Kind::Reasoning => vec![StreamPart::ReasoningDelta { text }],
            Some(calls) => calls.push(kind, &text),
            None => vec![StreamPart::TextDelta { text, logprobs: None }],
        };
        self.parts(parts);
    }

    /// Emits parts of reasoning, text and calls.
    fn parts(&mut self, parts: Vec<StreamPart>) {
        for mut part in parts {
            let scores = std::mem::take(&mut self.pending);
            match &mut part {
                StreamPart::ReasoningDelta { text } => self.reasoning.push_str(text),
                StreamPart::TextDelta { text, logprobs } => {
                    self.text.push_str(text);
                    *logprobs = self.scored.then_some(scores);
                }
                _ => {}
            }
            (self.emit)(part);
        }
    }
}

/// The conversation with the answer as its last turn; an answer that was to be continued is completed in place.
fn with_answer(mut messages: Vec<Message>, text: &str, reasoning: &str, calls: &[ToolCall]) -> Vec<Message> {
    if messages.is_empty() {
        return messages;
    }
    match messages.last_mut().filter(|m| m.prefix) {
        Some(begun) => {
            begun.content.push_str(text);
            begun.tool_calls.extend_from_slice(calls);
            begun.prefix = false;
            if !reasoning.is_empty() {
                begun.reasoning.get_or_insert_default().push_str(reasoning);
            }
        }
        None => {
            let mut answer = Message::new("assistant", text);
            answer.tool_calls = calls.to_vec();
            answer.reasoning = (!reasoning.is_empty()).then(|| reasoning.to_owned());
            messages.push(answer);
        }
    }
    messages
}
