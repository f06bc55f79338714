//! Encodes messages to token ids, without letting their contents forge special tokens.
//!
//! A content may contain the text of a special token, which must not become that token. The template renders contents
//! in which such text is replaced with private-use characters; wherever these appear in the output is content, and
//! everything else was written by the template. A template also *searches for* some tokens in contents
//! (`content.split('</think>')`), so the literals it searches with are replaced in the same way. The result is the same
//! text, with the origin of each token known.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};

use super::message::REASONING_FIELDS;
use super::{ChatInput, ChatTemplate, Message, Tokenizer, ToolSpec, chat_scan};
use crate::{Error, Result, TemplateKind};

/// The private-use planes that placeholders are taken from.
const PRIVATE: Range<u32> = 0xF_0000..0xF_FFFE;

/// A conversation in the form of this API.
#[derive(Debug, Clone, Copy)]
pub struct MessageInput<'a> {
    /// The messages. If the last is an assistant's with `prefix`, the prompt continues its text.
    pub messages: &'a [Message],
    /// The tools offered to the model.
    pub tools: &'a [ToolSpec],
    /// Whether the prompt ends with the header of the assistant's answer.
    pub add_generation_prompt: bool,
    /// Further variables for the template.
    pub args: &'a Map<String, Value>,
    /// The local clock, in seconds since 1970-01-01.
    pub now: Option<i64>,
}

/// A rendered conversation and its ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The rendered text.
    pub text: String,
    /// The token ids to feed.
    pub ids: Vec<u32>,
}

/// The text of a conversation, as `applyChatTemplate` returns it.
pub fn render_messages(template: &ChatTemplate, input: &MessageInput<'_>) -> Result<String> {
    let (chat, prefix) = chat_input(template, input)?;
    render(template, template.rendered_source(), &chat, prefix)
}

/// The ids of a conversation: those of [`render_messages`], except that the text of a special token inside a content is
/// text. The beginning-of-sequence token occurs once if the template writes it or [`Tokenizer::chat_bos`] names it.
pub fn encode_messages(tokenizer: &Tokenizer, template: &ChatTemplate, input: &MessageInput<'_>) -> Result<Prompt> {
    let (chat, prefix) = chat_input(template, input)?;
    encode(tokenizer, template, &chat, prefix)
}

/// [`encode_messages`] for messages in the form that templates expect.
pub fn encode_chat(tokenizer: &Tokenizer, template: &ChatTemplate, chat: &ChatInput) -> Result<Prompt> {
    encode(tokenizer, template, chat, None)
}

/// Which part of a partial answer is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Content,
    Reasoning,
}

impl Prefix {
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Content => &["content"],
            Self::Reasoning => REASONING_FIELDS,
        }
    }
}

fn chat_input(template: &ChatTemplate, input: &MessageInput<'_>) -> Result<(ChatInput, Option<Prefix>)> {
    if let Some(i) = input.messages.iter().rposition(|m| m.prefix) {
        let last = i + 1 == input.messages.len();
        if !last || input.messages[i].role != "assistant" {
            return Err(Error::invalid(
                "messages",
                format!("message {i} has `prefix` but is not the last turn, or not an assistant turn"),
            ));
        }
    }
    let prefix = input.messages.last().filter(|m| m.prefix).map(|m| {
        let thinks = m.content.is_empty() && m.reasoning.as_ref().is_some_and(|r| !r.is_empty());
        if thinks { Prefix::Reasoning } else { Prefix::Content }
    });
    let style = template.style();
    let chat = ChatInput {
        messages: input.messages.iter().map(|m| m.to_template(style)).collect(),
        tools: input.tools.iter().map(ToolSpec::to_template).collect(),
        add_generation_prompt: input.add_generation_prompt && prefix.is_none(),
        args: input.args.clone(),
        now: input.now,
    };
    Ok((chat, prefix))
}

/// Renders the chat; with a prefix, up to the end of the last message's text.
fn render(template: &ChatTemplate, source: &str, chat: &ChatInput, prefix: Option<Prefix>) -> Result<String> {
    let Some(prefix) = prefix else { return template.render_source(source, chat) };
    // The marker ends in a space, as in transformers: a template that trims contents also drops the white space
    // before the position where the answer continues.
    let mark = private_characters(&[&chat_text(chat)], 1)?[0];
    let mut marked = chat.clone();
    for field in prefix.fields() {
        let value = marked.messages.last_mut().and_then(|m| m.get_mut(*field));
        let text = value.and_then(|value| if value.is_array() { value[0].get_mut("text") } else { Some(value) });
        if let Some(Value::String(text)) = text {
            text.push(mark);
            text.push(' ');
        }
    }
    let text = template.render_source(source, &marked)?;
    let Some(end) = text.rfind(mark) else {
        if prefix == Prefix::Reasoning {
            return render_begun_reasoning(template, source, chat);
        }
        let message = "the template does not render the content of the last message".to_owned();
        return Err(Error::Template { kind: TemplateKind::Invalid, message });
    };
    let (begun, rest) = text.split_at(end);
    let kept = rest[mark.len_utf8()..].starts_with(' ');
    Ok(if kept { begun } else { begun.trim_end() }.to_owned())
}

/// Renders partial reasoning for a template that never renders reasoning, such as DeepSeek-R1's: it follows the prompt
/// for an answer.
fn render_begun_reasoning(template: &ChatTemplate, source: &str, chat: &ChatInput) -> Result<String> {
    let mut before = chat.clone();
    let last = before.messages.pop().unwrap_or_default();
    before.add_generation_prompt = true;
    let mut text = template.render_source(source, &before)?;
    let format = template.reasoning();
    if !format.opened_by(&text) {
        text.push_str(&format.begin());
    }
    text.push_str(last[REASONING_FIELDS[0]].as_str().unwrap_or_default());
    Ok(text)
}

fn encode(tokenizer: &Tokenizer, template: &ChatTemplate, chat: &ChatInput, prefix: Option<Prefix>) -> Result<Prompt> {
    let mut prompt = encode_rendered(tokenizer, template, chat, prefix)?;
    if let Some(bos) = tokenizer.chat_bos() {
        let written = prompt.ids.iter().take_while(|&&id| id == bos).count();
        prompt.ids.splice(..written, [bos]);
    }
    Ok(prompt)
}

/// Renders the chat and encodes it.
fn encode_rendered(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    chat: &ChatInput,
    prefix: Option<Prefix>,
) -> Result<Prompt> {
    let text = render(template, template.rendered_source(), chat, prefix)?;
    let mut forged = BTreeSet::new();
    each_text(chat, |s| forged.extend(tokenizer.added().find_markup(s).into_iter().map(|r| s[r].to_owned())));
    if forged.is_empty() {
        let ids = tokenizer.encode(&text, false)?;
        return Ok(Prompt { text, ids });
    }
    let forged: Vec<String> = forged.into_iter().collect();
    let marks = private_characters(&[&chat_text(chat), &text], forged.len())?;
    let renames: Vec<(String, String)> = forged.iter().cloned().zip(marks.iter().map(char::to_string)).collect();
    let source = chat_scan::rename_searched(template.rendered_source(), &renames);
    // First all contents are disguised; if the template then writes something else, it searches the assistant's
    // contents in a way that the scan does not recognise, and these keep their tokens.
    for spare_assistant in [false, true] {
        let mut disguised = chat.clone();
        for message in &mut disguised.messages {
            if !(spare_assistant && message["role"] == "assistant") {
                disguise(message, tokenizer, &renames);
            }
        }
        disguised.tools.iter_mut().for_each(|tool| disguise(tool, tokenizer, &renames));
        let source = if spare_assistant { template.rendered_source() } else { &source };
        let Ok(rendered) = render(template, source, &disguised, prefix) else { continue };
        let (restored, plain) = restore(&rendered, &marks, &forged);
        if restored == text {
            let ids = tokenizer.encode_masked(&text, &plain)?;
            return Ok(Prompt { text, ids });
        }
    }
    // The origin of the tokens is unknown: a token that also occurs in a content is encoded as plain text.
    let plain: Vec<Range<usize>> = tokenizer
        .added()
        .find_markup(&text)
        .into_iter()
        .filter(|r| forged.iter().any(|f| *f == text[r.clone()]))
        .collect();
    let ids = tokenizer.encode_masked(&text, &plain)?;
    Ok(Prompt { text, ids })
}

/// Replaces placeholders with their tokens again, and returns the byte ranges of these.
fn restore(rendered: &str, marks: &[char], forged: &[String]) -> (String, Vec<Range<usize>>) {
    let mut text = String::with_capacity(rendered.len());
    let mut plain = Vec::new();
    for c in rendered.chars() {
        match marks.iter().position(|&m| m == c) {
            Some(i) => {
                let start = text.len();
                text.push_str(&forged[i]);
                plain.push(start..text.len());
            }
            None => text.push(c),
        }
    }
    (text, plain)
}

/// Replaces the tokens in every string of `value` with their placeholders.
fn disguise(value: &mut Value, tokenizer: &Tokenizer, renames: &[(String, String)]) {
    match value {
        Value::String(text) => {
            let mut out = String::with_capacity(text.len());
            let mut done = 0;
            for range in tokenizer.added().find_markup(text) {
                out.push_str(&text[done..range.start]);
                done = range.end;
                let token = &text[range];
                out.push_str(renames.iter().find(|(from, _)| from == token).map_or(token, |(_, to)| to));
            }
            out.push_str(&text[done..]);
            *text = out;
        }
        Value::Array(items) => items.iter_mut().for_each(|v| disguise(v, tokenizer, renames)),
        Value::Object(map) => {
            map.iter_mut().filter(|(k, _)| *k != "role").for_each(|(_, v)| disguise(v, tokenizer, renames));
        }
        _ => {}
    }
}

fn each_text(chat: &ChatInput, mut see: impl FnMut(&str)) {
    fn walk(value: &Value, see: &mut impl FnMut(&str)) {
        match value {
            Value::String(text) => see(text),
            Value::Array(items) => items.iter().for_each(|v| walk(v, see)),
            Value::Object(map) => map.iter().filter(|(k, _)| *k != "role").for_each(|(_, v)| walk(v, see)),
            _ => {}
        }
    }
    chat.messages.iter().chain(&chat.tools).for_each(|v| walk(v, &mut see));
}

fn chat_text(chat: &ChatInput) -> String {
    let mut all = String::new();
    each_text(chat, |s| all.push_str(s));
    all
}

/// `count` private-use characters that do not occur in `texts`.
fn private_characters(texts: &[&str], count: usize) -> Result<Vec<char>> {
    let used: BTreeSet<char> =
        texts.iter().flat_map(|t| t.chars()).filter(|&c| PRIVATE.contains(&u32::from(c))).collect();
    let free: Vec<char> = PRIVATE.filter_map(char::from_u32).filter(|c| !used.contains(c)).take(count).collect();
    if free.len() == count {
        Ok(free)
    } else {
        Err(Error::invalid("messages", "they contain every private-use character of a plane"))
    }
}
