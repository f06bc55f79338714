//! Converts text to tokens and back: tokenizers, chat templates, streaming detokenisation, reasoning.
//!
//! A [`Tokenizer`] comes from a `tokenizer.json` or from a GGUF vocabulary; a [`ChatTemplate`] turns messages into the
//! text a model was trained on; [`encode_messages`] combines the two without letting a message's content forge special
//! tokens. On the way back a [`Detokenizer`] turns ids into whole characters, a [`ReasoningSplitter`] separates the
//! reasoning from the answer, and [`StopSequences`] ends it. This module does not depend on GPUs, files or the web.

mod added_tokens;
mod chat_scan;
mod chat_template;
mod detokenize;
mod encode_messages;
mod gguf_tokenizer;
mod gguf_vocab;
mod message;
mod pattern;
mod python;
mod reasoning;
mod sentencepiece;
mod stages;
mod stop;
mod token_text;
mod tokenizer;
mod tokenizer_config;
mod tokenizer_json;
mod tokenizer_parts;
mod tools;
mod turn_end;

pub use chat_template::{ChatInput, ChatTemplate, TemplateCapabilities};
pub use detokenize::Detokenizer;
pub use encode_messages::{MessageInput, Prompt, encode_chat, encode_messages, render_messages};
pub use gguf_vocab::GgufVocab;
pub use message::{Message, ToolCall, ToolSpec, tools_by_name};
pub use reasoning::{DeclaredBy, Kind, ReasoningFormat, ReasoningSplitter, ReasoningTags, Stage};
pub use stop::StopSequences;
pub use tokenizer::Tokenizer;
pub use tokenizer_config::TokenizerConfig;
pub use tools::{Beginning, CallRules, IncompleteCall, ToolEvent, ToolFormat, ToolParser};
pub(crate) use tools::{described, spelled_out};
