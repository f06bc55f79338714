//! Tests encoding of messages: contents cannot forge special tokens, and ordinary conversations are encoded unchanged.

mod support;

use minke::text::{
    ChatInput, ChatTemplate, Kind, Message, MessageInput, Prompt, ReasoningFormat, ReasoningSplitter, ReasoningTags,
    Tokenizer, ToolCall, ToolSpec, encode_chat, encode_messages, render_messages,
};
use serde_json::{Map, Value, json};
use support::{Case, cases, root};

fn template(case: &Case) -> Option<ChatTemplate> {
    let source = case.config.chat_template(false).ok()?;
    Some(ChatTemplate::new(source, &case.config).unwrap_or_else(|e| panic!("{}: {e}", case.name)))
}

fn input<'a>(messages: &'a [Message], args: &'a Map<String, Value>) -> MessageInput<'a> {
    MessageInput { messages, tools: &[], add_generation_prompt: true, args, now: None }
}

fn encode(tokenizer: &Tokenizer, template: &ChatTemplate, messages: &[Message]) -> Prompt {
    encode_messages(tokenizer, template, &input(messages, &Map::new())).expect("encodes")
}

/// Counts the occurrences of each added token that has a meaning.
fn special_counts(tokenizer: &Tokenizer, ids: &[u32], markup: &[(u32, String)]) -> Vec<(u32, usize)> {
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
    markup.iter().map(|(id, _)| (*id, ids.iter().filter(|i| *i == id).count())).filter(|(_, n)| *n > 0).collect()
}

/// Well-known tokens that templates write.
const FORGED: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|begin_of_text|>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
    "<｜begin▁of▁sentence｜>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|bos|>",
    "<|eos|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<unk>",
    "<s>",
    "</s>",
];

#[test]
fn contents_cannot_forge_tokens() {
    for case in cases() {
        let Some(template) = template(case) else { continue };
        let tokenizer = &case.tokenizer;
        let markup: Vec<(u32, String)> =
            FORGED.iter().filter_map(|t| Some((tokenizer.id(t)?, (*t).to_owned()))).collect();
        let mut tried = 0;
        for (id, token) in &markup {
            // A token that is not an added token (a piece of the vocabulary) is always text.
            if tokenizer.encode(&format!("a{token}b"), false).expect("encodes").iter().all(|i| i != id) {
                continue;
            }
            for written in
                [token.clone(), format!("a{token}b {token}{token}"), format!(" {token}\n"), format!("<{token}>")]
            {
                let turn = |text: &str| {
                    [Message::new("user", "q"), Message::new("assistant", "a"), Message::new("user", text)]
                };
                let honest = encode(tokenizer, &template, &turn("plain"));
                let forged = encode(tokenizer, &template, &turn(&written));
                let at = format!("{}: {written:?}", case.name);
                assert_eq!(
                    special_counts(tokenizer, &forged.ids, &markup),
                    special_counts(tokenizer, &honest.ids, &markup),
                    "{at}"
                );
                // SentencePiece inserts a space before each segment of text.
                let spelled = |text: &str| text.replace(' ', "");
                assert_eq!(spelled(&tokenizer.decode(&forged.ids, false)), spelled(&forged.text), "{at}");
                assert!(forged.text.contains(written.trim()), "{at}");
                tried += 1;
            }
        }
        eprintln!("{}: {tried} contents", case.name);
    }
}

/// If a template itself extracts the reasoning from an assistant's content, or writes it in its own tags, the ids are
/// the reference's; a content that passes through unchanged is text.
#[test]
fn thoughts_in_history_are_the_templates_affair() {
    for case in cases() {
        let Some(template) = template(case) else { continue };
        for c in case.golden["chats"].as_array().into_iter().flatten() {
            let name = c["name"].as_str().unwrap_or("");
            if !["think_history", "think_last"].contains(&name) {
                continue;
            }
            let chat = ChatInput {
                messages: c["messages"].as_array().expect("messages").clone(),
                add_generation_prompt: c["add_generation_prompt"] == true,
                ..ChatInput::default()
            };
            let prompt = encode_chat(&case.tokenizer, &template, &chat).expect("encodes");
            let text = c["rendered"].as_str().expect("text");
            assert_eq!(prompt.text, text, "{}: {name}", case.name);
            let through = text.contains("long reasoning") && case.name != "qwen3";
            if through {
                let open = case.tokenizer.id("<think>");
                assert!(open.is_none_or(|open| !prompt.ids.contains(&open)), "{}: {name}", case.name);
            } else {
                let rename = |v: &Value| {
                    let id = v.as_u64().expect("an id") as u32;
                    case.renamed.iter().find(|(from, _)| *from == id).map_or(id, |(_, to)| *to)
                };
                let ids: Vec<u32> = c["ids"].as_array().expect("ids").iter().map(rename).collect();
                assert_eq!(prompt.ids, ids, "{}: {name}", case.name);
            }
        }
    }
}

/// If a template searches for a tag in a way that the scan does not recognise, the tag is a token in an
/// assistant's content, but text in a user's.
#[test]
fn hidden_searches_keep_working() {
    let Some(case) = cases().iter().find(|c| c.name == "tiny_qwen2") else { return };
    let source = "{% set end = '</think>' %}{% for m in messages %}<|{{ m.role }}|>\
                  {{ m.content.split(end)[-1] if m.role == 'assistant' else m.content }}<|eos|>{% endfor %}";
    let template = ChatTemplate::new(source, &case.config).expect("a template");
    let messages = [
        Message::new("user", "what is </think>?"),
        Message::new("assistant", "<think>hm</think>a tag"),
        Message::new("user", "<|eos|>"),
    ];
    let prompt = encode(&case.tokenizer, &template, &messages);
    assert_eq!(prompt.text, "<|user|>what is </think>?<|eos|><|assistant|>a tag<|eos|><|user|><|eos|><|eos|>");
    let eos = case.tokenizer.id("<|eos|>").expect("an id");
    assert_eq!(prompt.ids.iter().filter(|&&id| id == eos).count(), 3);
    assert!(!prompt.ids.contains(&case.tokenizer.id("</think>").expect("an id")));
    assert_eq!(case.tokenizer.decode(&prompt.ids, false), prompt.text);
}

#[test]
fn an_assistant_prefix_is_continued() {
    let mut checked = 0;
    for case in cases() {
        let Some(template) = template(case) else { continue };
        let prefix = Message { prefix: true, ..Message::new("assistant", "The answer is ") };
        let messages = [Message::new("user", "The answer is what?"), prefix];
        let prompt = encode(&case.tokenizer, &template, &messages);
        // Llama 3's first template always opens another turn; the prefix nevertheless ends before it.
        assert!(prompt.text.trim_end().ends_with("The answer is"), "{}: {:?}", case.name, prompt.text);
        assert_eq!(prompt.text.matches("The answer is").count(), 2, "{}: {:?}", case.name, prompt.text);
        assert_eq!(prompt.ids, case.tokenizer.encode(&prompt.text, false).expect("encodes"), "{}", case.name);
        checked += 1;
        let early = [messages[1].clone(), messages[0].clone()];
        assert!(render_messages(&template, &input(&early, &Map::new())).is_err());
        let user = [Message { prefix: true, ..Message::new("user", "x") }];
        assert!(render_messages(&template, &input(&user, &Map::new())).is_err());
    }
    eprintln!("{checked} templates");
}

#[test]
fn partial_reasoning_is_continued() {
    let expected = [
        ("qwen3", "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\nLet <|im_end|> me"),
        ("deepseek_r1_distill_qwen", "<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜><think>\nLet <|im_end|> me"),
        ("tiny_qwen2", "<|bos|><|user|>2+2?<|eos|><|assistant|><think>\nLet <|im_end|> me"),
    ];
    for (name, text) in expected {
        let Some(case) = cases().iter().find(|c| c.name == name) else { continue };
        let template = template(case).expect("a template");
        let begun =
            Message { prefix: true, reasoning: Some("Let <|im_end|> me".into()), ..Message::new("assistant", "") };
        let prompt = encode(&case.tokenizer, &template, &[Message::new("user", "2+2?"), begun]);
        assert_eq!(prompt.text, text, "{name}");
        let count =
            |token: &str| case.tokenizer.id(token).map_or(0, |id| prompt.ids.iter().filter(|i| **i == id).count());
        assert_eq!(count("<think>"), 1, "{name}");
        assert_eq!(count("<|im_end|>"), usize::from(name == "qwen3"), "{name}");
    }
}

/// A tool call reaches each template in the form that it expects.
#[test]
fn tool_calls_reach_every_template_that_knows_them() {
    let call =
        ToolCall { tool_call_id: "c1".into(), tool_name: "get_weather".into(), input: r#"{"city":"Oslo"}"#.into() };
    let messages = [
        Message::new("user", "Weather?"),
        Message { tool_calls: vec![call], ..Message::new("assistant", "") },
        Message { tool_call_id: Some("c1".into()), ..Message::new("tool", "rain") },
    ];
    let tools = [ToolSpec { name: "get_weather".into(), description: None, input_schema: json!({ "type": "object" }) }];
    for case in cases() {
        let Some(template) = template(case) else { continue };
        let args = Map::new();
        let rendered = render_messages(&template, &MessageInput { tools: &tools, ..input(&messages, &args) });
        let knows = !["gemma3", "llama3", "llama3_1"].contains(&case.name.as_str());
        let shows =
            rendered.as_ref().is_ok_and(|t| t.contains("get_weather") && t.contains("Oslo") && t.contains("rain"));
        assert_eq!(shows, knows, "{}: {rendered:?}", case.name);
        let offers = knows && !case.name.starts_with("deepseek");
        assert_eq!(template.capabilities().tools, offers, "{}", case.name);
    }
}

#[test]
fn capabilities_and_open_thoughts() {
    let tags = ReasoningFormat::default();
    let args = Map::new();
    for case in cases() {
        let Some(template) = template(case) else { continue };
        let thinks =
            case.name.starts_with("tiny_") || ["qwen3", "deepseek_r1_distill_qwen"].contains(&case.name.as_str());
        assert_eq!(template.capabilities().reasoning, thinks, "{}", case.name);
        let prompt = render_messages(&template, &input(&[Message::new("user", "Hi")], &args)).expect("renders");
        assert_eq!(tags.opened_by(&prompt), case.name.starts_with("tiny_"), "{}", case.name);
    }
}

/// The bounds on a template's work grow with the conversation.
#[test]
fn long_conversations_render() {
    let turn = |i: usize| Message::new(if i.is_multiple_of(2) { "user" } else { "assistant" }, "word ".repeat(100));
    let messages: Vec<Message> = (0..1001).map(turn).collect();
    let one = [Message::new("user", "word ".repeat(1_000_000))];
    let rebuilt = "{% set n = namespace(l=[]) %}{% for m in messages %}{% set n.l = n.l + [m] %}{% endfor %}\
                   {% for m in n.l %}{{ m.content }}{% endfor %}";
    let rebuilt = ChatTemplate::new(rebuilt, &minke::text::TokenizerConfig::default()).expect("a template");
    assert!(render_messages(&rebuilt, &input(&messages, &Map::new())).is_ok());
    for case in cases() {
        let Some(template) = template(case) else { continue };
        for messages in [&messages[..], &one] {
            let start = support::Stopwatch::start();
            let text = render_messages(&template, &input(messages, &Map::new()))
                .unwrap_or_else(|e| panic!("{}: {e}", case.name));
            assert!(text.matches("word").count() >= 100_000);
            assert!(start.elapsed().as_secs() < 2, "{}: {:?}", case.name, start.elapsed());
        }
    }
}

/// The R1 distill's vocabulary as declared in its file, not as the reference read it: role markers are single tokens.
#[test]
fn r1_distill_turns_are_single_tokens() {
    let path = root().join(".cache/r1-distill-qwen-7b-part0.gguf");
    if !path.exists() {
        support::skip(support::in_checkout(&path), "it is not there");
        return;
    }
    let (vocab, source) = support::gguf_vocab::read(&path);
    let config = vocab.config(source);
    let tokenizer = Tokenizer::from_gguf(vocab).expect("a tokenizer");
    let template = ChatTemplate::new(config.chat_template(false).expect("a template"), &config).expect("a template");
    let prompt = encode(&tokenizer, &template, &[Message::new("user", "Hi!")]);
    assert_eq!(prompt.text, "<｜begin▁of▁sentence｜><｜User｜>Hi!<｜Assistant｜>");
    assert_eq!(prompt.ids, [151646, 151644, 13048, 0, 151645]);
    assert_eq!(tokenizer.encode("Hi!", true).expect("encodes"), [151646, 13048, 0]);
    assert_eq!(tokenizer.vocab_size(), 152064);
    assert!(tokenizer.is_special(151643) && !tokenizer.is_special(151648));
    assert_eq!(tokenizer.token_bytes(151648), b"<think>");
}

/// Streams of `reasoning.jsonl` in `tests/golden` (or `MINKE_TOOLCALLS`): whole, by characters, and split anywhere.
#[test]
fn thoughts_and_answers_are_told_apart_however_they_are_cut() {
    let folder = std::env::var_os("MINKE_TOOLCALLS").map_or_else(|| root().join("tests/golden"), Into::into);
    let path = folder.join("reasoning.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut chance = 1u64;
    let mut random = |below: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % below
    };
    for row in text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        let word = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let name = word(&row["id"]);
        let tag = |i: usize| word(&row["tags"][i]);
        let format = if row["family"] == "gpt_oss" {
            ReasoningFormat::Harmony
        } else {
            ReasoningFormat::Tags(vec![ReasoningTags { open: tag(0), close: tag(1) }])
        };
        // The field "opened" replaces a prompt.
        let prompt = match row["rendered_prompt"].as_str() {
            Some(prompt) => prompt.to_owned(),
            None if row["opens_thinking"] == true => tag(0),
            None => String::new(),
        };
        let chunks: Vec<String> = serde_json::from_value(row["chunks"].clone()).expect("chunks");
        let budget = row["expect"]["budget"].as_u64().map(|budget| budget as usize);
        for round in 0..40 {
            let mut splitter = ReasoningSplitter::new(&format, &prompt);
            let mut parts = [String::new(), String::new()];
            let mut take = |pieces: Vec<(Kind, String)>| {
                pieces.into_iter().for_each(|(kind, text)| parts[usize::from(kind == Kind::Text)] += &text);
            };
            let mut feed = |splitter: &mut ReasoningSplitter, text: &str| {
                if matches!(format, ReasoningFormat::Harmony) && format.is_mark(text) {
                    return take(splitter.push_mark(text)); // a single token
                }
                let mut rest = text;
                while !rest.is_empty() {
                    let most = rest.chars().count();
                    let count = [most, 1, 1 + random(most)][round.min(2)];
                    let at = rest.char_indices().nth(count).map_or(rest.len(), |(at, _)| at);
                    take(splitter.push(&rest[..at]));
                    rest = &rest[at..];
                }
            };
            // First in pieces of its own tokens, then as plain text, in which marks are text, too.
            let joined = [chunks.concat()];
            let whole = round % 2 == 1 && budget.is_none() && !matches!(format, ReasoningFormat::Harmony);
            for chunk in (if whole { &joined[..] } else { &chunks }).iter().take(budget.unwrap_or(usize::MAX)) {
                feed(&mut splitter, chunk);
            }
            if budget.is_some() {
                let end = splitter.end();
                feed(&mut splitter, &end);
                row["expect"]["then"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .for_each(|then| feed(&mut splitter, &word(then)));
            }
            take(splitter.finish());
            let loose = row["expect"]["content_loose"] == true;
            let trimmed = |text: &str| match loose {
                true => text.split_whitespace().collect::<String>(),
                false => text.trim().to_owned(),
            };
            assert_eq!(trimmed(&parts[1]), trimmed(&word(&row["expect"]["content"])), "{name}: answer");
            if row["expect"]["mode"].is_null() {
                assert_eq!(trimmed(&parts[0]), trimmed(&word(&row["expect"]["reasoning"])), "{name}: thought");
            }
        }
    }
}
