//! The generation loop: encodes a prompt, runs prefill and decode, and turns sampled ids into reasoning and answer text.

use serde_json::{Map, Value};

use super::bound::Bound;
use super::output::Output;
use super::request::{Next, Request, Sampled};
use super::tools::{Told, forced_tools};
use super::{Engine, FinishReason, GenerateOptions, GenerateResult, Input, StreamPart, Usage};
use crate::text::{Message, MessageInput, ReasoningFormat, ReasoningSplitter, ToolSpec, encode_messages};
use crate::{Cancel, Error, Result};

/// The template variable that tells a model with optional reasoning to skip it.
const THINKING_SWITCH: &str = "enable_thinking";

/// An encoded prompt.
struct Prompt {
    ids: Vec<u32>,
    messages: Vec<Message>,
    /// Separates the reasoning from the answer; `None` for raw input.
    splitter: Option<ReasoningSplitter>,
    /// Tokens that the output begins with: those of a forced call.
    begun: Vec<u32>,
}

impl Prompt {
    /// A prompt without a conversation.
    fn of_ids(ids: Vec<u32>) -> Self {
        Self { ids, messages: Vec::new(), splitter: None, begun: Vec::new() }
    }
}

impl Engine {
    /// Generates. `emit` receives every part as it is produced; the last is [`StreamPart::Finish`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::Constraint`], [`Error::Template`], [`Error::ContextOverflow`],
    /// [`Error::NonFinite`], [`Error::DeviceLost`], and [`Error::Aborted`] once `cancel` was aborted. The model stays usable after all of
    /// them but the loss of the device.
    pub async fn generate(
        &self,
        input: Input,
        options: &GenerateOptions,
        cancel: &Cancel,
        emit: &mut dyn FnMut(StreamPart),
    ) -> Result<GenerateResult> {
        self.generate_in(None, input, options, cancel, emit).await
    }

    /// Generates in a conversation, whose keys and values are kept until its next turn. The input is the whole
    /// conversation, not only its last turn.
    ///
    /// # Errors
    /// As [`Engine::generate`]; [`Error::InvalidArgument`] if there is no such conversation.
    pub async fn generate_in(
        &self,
        conversation: Option<u32>,
        input: Input,
        options: &GenerateOptions,
        cancel: &Cancel,
        emit: &mut dyn FnMut(StreamPart),
    ) -> Result<GenerateResult> {
        cancel.check()?;
        let _taken = self.take()?;
        options.check()?;
        let mut sampler = options.sampler(&self.defaults, self.host.seed);
        sampler.logprobs = sampler.logprobs.min(1 + self.info.vocab_size as u32);
        let bias = options.bias(self.info.vocab_size)?;
        let budget = options.reasoning_budget();
        let bound = self.bound(options).await?;
        let start = (self.host.clock)();
        let Prompt { ids: prompt, messages, splitter, begun } = self.prompt(input, options)?;
        self.check_ids(&prompt)?;
        let room = self.runner().context_length - prompt.len() + 1; // the last token needs no place in the cache
        let limit = options.limit(&self.defaults, room);

        self.begin_turn(conversation, &prompt).await?;
        // The last token is always fed, for its logits.
        let most = if self.without_reuse { 0 } else { prompt.len() - 1 };
        let cached = self.runner().reusable(&prompt, most);
        let mut usage = Usage { input_tokens: prompt.len(), cached_tokens: cached, ..Usage::default() };
        let calls = self.calls(options, &messages);
        let mut output = Output::new(self, &options.stop_sequences, splitter, calls, sampler.logprobs > 0, emit);
        // A call that is forced follows the reasoning, if the prompt has begun it.
        let mut forced = if begun.is_empty() { self.forced_call(options) } else { None };
        let mut finish_reason = FinishReason::Length;
        let mut first_token = None;
        output.put_in(&begun);
        let bound = std::cell::RefCell::new(bound);
        // What the answer must begin with.
        let begin = bound.borrow_mut().as_mut().map_or(Next::Go, |bound| bound.next(&mut output, limit));
        let over = begin == Next::Stop || output.ids.len() >= limit;
        if begin == Next::Stop {
            finish_reason = FinishReason::Stop;
        }
        let begun = output.ids.clone();
        // Both callbacks below want the output; prefill is over before the first token comes.
        let shared = std::cell::RefCell::new(&mut output);
        let total = prompt.len();
        let mut prefilled = |done: usize| {
            shared.borrow_mut().emit(StreamPart::Prefill { done: done.min(total), total });
        };
        let mut token = |sampled: Sampled| {
            let output = &mut **shared.borrow_mut();
            first_token.get_or_insert_with(self.host.clock);
            let thought = output.thinking();
            output.sampled(&sampled);
            let bound = &mut *bound.borrow_mut();
            if let Some(bound) = bound {
                bound.take(output, sampled.id);
            }
            if self.stop_ids.contains(&sampled.id) || output.read(sampled.id) {
                finish_reason = FinishReason::Stop;
                return Next::Stop;
            }
            let thinking = output.thinking();
            usage.reasoning_tokens += usize::from(thinking);
            if cancel.stopped() {
                finish_reason = FinishReason::Abort;
                return Next::Stop;
            }
            let over = thinking && budget.is_some_and(|most| usage.reasoning_tokens >= most);
            let answers = thought && !thinking;
            let mut inserted = Vec::new();
            if over || answers && forced.is_some() {
                let Some(ids) = output.go_on(over, forced.take().as_deref(), limit) else { return Next::Stop };
                inserted = ids;
            }
            let next = bound.as_mut().map_or(Next::Go, |bound| bound.next(output, limit)).after(inserted);
            if next == Next::Stop {
                finish_reason = FinishReason::Stop;
            }
            next
        };
        let mask = |bound: &Option<Bound>| bound.as_ref().and_then(Bound::mask);
        let mut request =
            Request { prompt: &prompt, cached, sampler, bias, limit, begun: &begun, mask: mask(&bound.borrow()) };
        let generated = match over {
            true => Ok(()),
            false => self.runner().generate(&request, cancel, &mut prefilled, &mut token).await,
        };
        if let Err(error) = generated {
            self.fall_back(error).await?;
            self.take_turn(conversation, &[]).await?;
            let begun = shared.borrow().ids.clone();
            request = Request { cached: 0, begun: &begun, mask: mask(&bound.borrow()), ..request };
            self.runner().generate(&request, cancel, &mut |_| {}, &mut token).await?;
        }
        bound.into_inner().map_or(Ok(()), |mut bound| bound.check())?;
        if first_token.is_none() && !over {
            finish_reason = FinishReason::Abort; // stopped during prefill
        }
        output.finish(&mut finish_reason);
        usage.output_tokens = output.ids.len();
        usage.time(start, first_token, (self.host.clock)());
        output.emit(StreamPart::Finish { finish_reason, usage });
        Ok(output.result(messages, finish_reason, usage))
    }

    /// Takes a turn in a conversation, on the processor if the device is lost.
    async fn begin_turn(&self, conversation: Option<u32>, prompt: &[u32]) -> Result<()> {
        if let Err(error) = self.take_turn(conversation, prompt).await {
            self.fall_back(error).await?;
            self.take_turn(conversation, prompt).await?;
        }
        Ok(())
    }

    /// The constraints of a generation, if it has any.
    async fn bound(&self, options: &GenerateOptions) -> Result<Option<Bound>> {
        let binding = self.binding(options).await?;
        let jumps = !self.fitted.without_jumps;
        Ok(binding.map(|binding| Bound::new(binding, &self.stop_ids, self.info.vocab_size, jumps)))
    }

    /// Prefills a conversation ahead of its next turn and returns how many tokens it then has. The input is the whole
    /// conversation, not only its last turn.
    ///
    /// # Errors
    /// As [`Engine::generate_in`].
    pub async fn append(
        &self,
        conversation: Option<u32>,
        input: Input,
        options: &GenerateOptions,
        cancel: &Cancel,
    ) -> Result<usize> {
        cancel.check()?;
        let _taken = self.take()?;
        options.check()?;
        let ids = self.ids_of(input, options.raw, &options.tools, &options.template_args)?;
        self.check_ids(&ids)?;
        let fed = async || {
            self.take_turn(conversation, &ids).await?;
            self.runner().prefill(&ids, cancel, &mut |_| {}).await
        };
        if let Err(error) = fed().await {
            self.fall_back(error).await?;
            fed().await?;
        }
        Ok(ids.len())
    }

    /// The token ids of an input that is not to be answered: no generation prompt follows.
    pub(super) fn ids_of(
        &self,
        input: Input,
        raw: bool,
        tools: &[ToolSpec],
        args: &Map<String, Value>,
    ) -> Result<Vec<u32>> {
        let messages = match input {
            Input::Ids(ids) => return Ok(ids),
            Input::Text(text) if raw => return self.tokenizer.encode(&text, true),
            Input::Text(text) => vec![Message::new("user", text)],
            Input::Messages(_) if raw => {
                return Err(Error::invalid("raw", "it applies to a text or ids, not to messages"));
            }
            Input::Messages(messages) => messages,
        };
        Ok(self.encode_messages(&messages, tools, false, args)?.ids)
    }

    fn prompt(&self, input: Input, options: &GenerateOptions) -> Result<Prompt> {
        let templated = !options.raw && !matches!(input, Input::Ids(_));
        if !templated && !options.template_args.is_empty() {
            return Err(Error::invalid("templateArgs", "raw text and ids do not use the chat template"));
        }
        if !templated && options.reasoning_budget().is_some() {
            return Err(Error::invalid("reasoning", "reasoning is not separated when raw text or ids are continued"));
        }
        if !templated && !options.tools.is_empty() {
            return Err(Error::invalid("tools", "raw text and ids do not use the chat template"));
        }
        let messages = match input {
            Input::Ids(ids) => return Ok(Prompt::of_ids(ids)),
            Input::Text(text) if options.raw => return Ok(Prompt::of_ids(self.tokenizer.encode(&text, true)?)),
            Input::Text(text) => vec![Message::new("user", text)],
            Input::Messages(_) if options.raw => {
                return Err(Error::invalid("raw", "it applies to a text or ids; messages need the chat template"));
            }
            Input::Messages(messages) => messages,
        };
        let mut messages = messages;
        let quiet = options.reasoning_budget() == Some(0);
        let mut args = options.template_args.clone();
        if quiet && self.template()?.source().contains(THINKING_SWITCH) {
            args.entry(THINKING_SWITCH).or_insert(false.into());
        }
        let mut prompt = self.encode_messages(&messages, &options.tools, true, &args)?;
        if let Some(begun) = messages.last_mut().filter(|m| m.prefix && !prompt.text.ends_with(&m.content)) {
            begun.content.truncate(begun.content.trim_end().len()); // templates trim it; the answer continues from there
        }
        let format = &self.reasoning;
        let opened = format.opened_by(&prompt.text);
        // An answer that has begun is past its reasoning, unless the reasoning itself is continued.
        let begun = messages.last().filter(|m| m.prefix);
        let thinking = |m: &Message| m.content.is_empty() && m.reasoning.as_ref().is_some_and(|r| !r.is_empty());
        let forced = self.forced_call(options);
        if forced_tools(options).is_some() && begun.is_some() {
            return Err(Error::invalid("toolChoice", "an answer that has begun cannot be forced to be a call"));
        }
        let splitter = match begun {
            // The call's own header takes the place of the reasoning.
            _ if forced.is_some() && *format == ReasoningFormat::Harmony && !opened => {
                Some(ReasoningSplitter::new(format, &prompt.text))
            }
            Some(m) if !thinking(m) && !m.content.is_empty() && !opened => None,
            resumed if quiet => {
                let resumed = resumed.is_some_and(thinking);
                self.close_reasoning(&mut prompt, opened, resumed)?;
                Some(ReasoningSplitter::closed(format))
            }
            Some(m) if thinking(m) => Some(ReasoningSplitter::resumed(format)),
            _ => Some(ReasoningSplitter::new(format, &prompt.text)),
        };
        let splitter = match options.tools.is_empty() || options.tool_choice.is_none() {
            true => splitter,
            false => splitter.map(ReasoningSplitter::with_calls),
        };
        let waits = splitter.as_ref().is_some_and(ReasoningSplitter::in_reasoning);
        let begun = match forced.filter(|_| !waits) {
            Some(text) => self.tokenizer.encode(&text, false)?,
            None => Vec::new(),
        };
        Ok(Prompt { ids: prompt.ids, messages, splitter, begun })
    }

    /// Closes the reasoning block in a prompt, in the form that models with optional reasoning were trained on.
    fn close_reasoning(&self, prompt: &mut crate::text::Prompt, opened: bool, resumed: bool) -> Result<()> {
        let format = &self.reasoning;
        let ids = &mut prompt.ids;
        let rest = if resumed {
            format.end()
        } else if opened {
            // White space after a tag is encoded together with what follows.
            let tag = match format {
                ReasoningFormat::Tags(pairs) => self.tokenizer.id(&pairs[0].open),
                ReasoningFormat::Harmony => None,
            };
            if let Some(at) = tag.and_then(|tag| ids.iter().rposition(|&id| id == tag)) {
                ids.truncate(at + 1);
                format.end_at_once()
            } else {
                format.end()
            }
        } else if self.template()?.capabilities().reasoning && !format.closed_by(&prompt.text) {
            format.none()
        } else {
            return Ok(());
        };
        ids.extend(self.tokenizer.encode(&rest, false)?);
        Ok(())
    }

    /// What [`Engine::generate`] feeds the model for a conversation, and the text the template rendered.
    pub fn encode_messages(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
        add_generation_prompt: bool,
        args: &Map<String, Value>,
    ) -> Result<crate::text::Prompt> {
        let told = self.told(messages, tools)?;
        encode_messages(&self.tokenizer, told.template, &self.message_input(&told, add_generation_prompt, args))
    }

    /// The text of a conversation.
    pub fn apply_chat_template(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
        add_generation_prompt: bool,
        args: &Map<String, Value>,
    ) -> Result<String> {
        let told = self.told(messages, tools)?;
        crate::text::render_messages(told.template, &self.message_input(&told, add_generation_prompt, args))
    }

    fn message_input<'a>(
        &self,
        told: &'a Told<'_>,
        add_generation_prompt: bool,
        args: &'a Map<String, Value>,
    ) -> MessageInput<'a> {
        let Told { messages, tools, .. } = told;
        MessageInput { messages, tools, add_generation_prompt, args, now: Some((self.host.local_time)()) }
    }

    /// Checks that ids can be fed: at least one, no more than the context holds, and all in the vocabulary.
    pub(super) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let context_length = self.runner().context_length;
        if ids.is_empty() {
            return Err(Error::invalid("input", "the input has no tokens"));
        }
        if ids.len() > context_length {
            return Err(Error::ContextOverflow { input_tokens: ids.len(), context_length });
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.info.vocab_size) {
            let message = format!("id {id} is not in the vocabulary of {} tokens", self.info.vocab_size);
            return Err(Error::invalid("input", message));
        }
        Ok(())
    }
}
