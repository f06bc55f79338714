//! Tokenizers and chat templates against Hugging Face's own results (`golden/tokenizers`).

mod support;

use minke::text::{ChatInput, ChatTemplate, Detokenizer, Tokenizer, encode_chat};
use serde_json::Value;
use support::{Case, cases, golden, json, read_tokenizer, root};

fn ids(value: &Value, case: &Case) -> Vec<u32> {
    let number = |v: &Value| v.as_u64().expect("an id") as u32;
    let rename = |id: u32| case.renamed.iter().find(|(from, _)| *from == id).map_or(id, |(_, to)| *to);
    value.as_array().expect("ids").iter().map(number).map(rename).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text: {value}"))
}

#[test]
fn strings_equal_the_reference() {
    for case in cases() {
        let tokenizer = &case.tokenizer;
        let strings = case.golden["cases"].as_array().expect("cases");
        for c in strings {
            let at = format!("{}: {:?}", case.name, text(c, "text"));
            let expected = ids(&c["ids"], &case);
            assert_eq!(tokenizer.encode(text(c, "text"), false).expect("encodes"), expected, "{at}");
            let special = ids(&c["ids_special"], &case);
            assert_eq!(tokenizer.encode(text(c, "text"), true).expect("encodes"), special, "{at}, special");
            assert_eq!(tokenizer.decode(&expected, false), text(c, "decoded"), "{at}, decoded");
            assert_eq!(tokenizer.decode(&special, true), text(c, "decoded_skip"), "{at}, decoded_skip");
            for (k, prefix) in c["prefixes"].as_array().into_iter().flatten().enumerate() {
                assert_eq!(tokenizer.decode(&expected[..=k], false), prefix.as_str().expect("text"), "{at}, {k}");
            }
            let mut stream = Detokenizer::new(tokenizer, false);
            let mut streamed = String::new();
            for (k, piece) in c["stream"].as_array().expect("a stream").iter().enumerate() {
                let got = stream.push(tokenizer, expected[k]);
                assert_eq!(got.as_deref(), piece.as_str(), "{at}, stream {k}");
                streamed.push_str(got.as_deref().unwrap_or(""));
            }
            streamed.push_str(stream.finish(tokenizer).as_deref().unwrap_or(""));
            assert_eq!(streamed, text(c, "decoded"), "{at}, streamed");
        }
        eprintln!("{}: {} strings", case.name, strings.len());
    }
}

/// What `transformers` 5 does to messages before it renders them: content that is null is dropped.
fn without_null_content(messages: &[Value]) -> Vec<Value> {
    let mut messages = messages.to_vec();
    for message in messages.iter_mut().filter_map(Value::as_object_mut) {
        if message.get("content").is_some_and(Value::is_null) {
            message.remove("content");
        }
    }
    messages
}

#[test]
fn chats_equal_the_reference() {
    for case in cases() {
        let chats = case.golden["chats"].as_array().expect("chats");
        if chats.is_empty() {
            continue;
        }
        let source = case.config.chat_template(false).expect("a template");
        let template = ChatTemplate::new(source, &case.config).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for c in chats {
            let at = format!("{}: {}", case.name, text(c, "name"));
            let messages = c["messages"].as_array().expect("messages");
            let input = |messages: Vec<Value>| ChatInput {
                messages,
                tools: c["tools"].as_array().cloned().unwrap_or_default(),
                add_generation_prompt: c["add_generation_prompt"] == true,
                args: c["kwargs"].as_object().cloned().unwrap_or_default(),
                now: None,
            };
            let edited = input(without_null_content(messages));
            let plain = input(messages.clone());
            match c["rendered"].as_str() {
                Some(expected) => {
                    assert_eq!(template.render(&edited).as_deref(), Ok(expected), "{at}");
                    let got = case.tokenizer.encode(expected, false).expect("encodes");
                    assert_eq!(got, ids(&c["ids"], &case), "{at}, ids");
                }
                None => assert!(template.render(&edited).is_err(), "{at}: {}", c["error"]),
            }
            match c["rendered_plain"].as_str().or(c["rendered"].as_str()) {
                Some(expected) => {
                    assert_eq!(template.render(&plain).as_deref(), Ok(expected), "{at}, plain");
                    let expected_ids = if c["ids_plain"].is_array() { &c["ids_plain"] } else { &c["ids"] };
                    let expected_ids = ids(expected_ids, &case);
                    let prompt = encode_chat(&case.tokenizer, &template, &plain).expect("encodes");
                    assert_eq!(prompt.text, expected, "{at}, prompt");
                    // Contents with tokens in them are another test.
                    if !["think_history", "think_last", "special_in_content"].contains(&text(c, "name")) {
                        assert_eq!(prompt.ids, expected_ids, "{at}, messages");
                    }
                }
                None => assert!(template.render(&plain).is_err(), "{at}, plain"),
            }
        }
        eprintln!("{}: {} chats", case.name, chats.len());
    }
}

/// A GGUF file and the `tokenizer.json` it was made from encode alike.
#[test]
fn gguf_vocabularies_equal_their_twins() {
    let folder = golden().join("gguf");
    let mut compared = 0;
    for name in ["llama", "qwen2", "qwen2_tied"] {
        let model = folder.join(name).join("model.gguf");
        if !model.exists() {
            eprintln!("SKIPPED: {} is not here", model.display());
            continue;
        }
        let twin = read_tokenizer(&folder.join(name).join("tokenizer.json"));
        let (vocab, _) = support::gguf_vocab::read(&model);
        let tokenizer = Tokenizer::from_gguf(vocab).expect("a tokenizer");
        for case in cases().iter().take(1) {
            for c in case.golden["cases"].as_array().expect("cases") {
                let text = text(c, "text");
                for special in [false, true] {
                    assert_eq!(
                        tokenizer.encode(text, special).expect("encodes"),
                        twin.encode(text, special).expect("encodes"),
                        "{name}: {text:?}"
                    );
                }
                let ids = twin.encode(text, false).expect("encodes");
                assert_eq!(tokenizer.decode(&ids, false), twin.decode(&ids, false), "{name}: {text:?}");
                compared += 1;
            }
        }
    }
    eprintln!("{compared} strings compared");
}

/// SmolLM2 as published in GGUF: prompts of `smollm2/reference.json` give the ids that transformers gave.
#[test]
fn smollm2_prompts_equal_the_reference() {
    let model = root().join(".cache/SmolLM2-135M-Instruct.Q4_1.gguf");
    let reference = root().join("../shared/data/smollm2/reference.json");
    if !model.exists() || !reference.exists() {
        eprintln!("SKIPPED: {} or {} is not here", model.display(), reference.display());
        return;
    }
    let (vocab, source) = support::gguf_vocab::read(&model);
    let config = vocab.config(source);
    let template = ChatTemplate::new(config.chat_template(false).expect("a template"), &config).expect("a template");
    let tokenizer = Tokenizer::from_gguf(vocab).expect("a tokenizer");
    for c in json(&reference)["cases"].as_array().expect("cases") {
        let expected: Vec<u32> = c["ids"].as_array().expect("ids").iter().map(|v| v.as_u64().unwrap() as u32).collect();
        if let Some(messages) = c["messages"].as_array() {
            let input = ChatInput { messages: messages.clone(), add_generation_prompt: true, ..ChatInput::default() };
            let prompt = encode_chat(&tokenizer, &template, &input).expect("encodes");
            assert_eq!((prompt.text.as_str(), prompt.ids), (text(c, "rendered"), expected));
        } else {
            let text = c["prompt"].as_str().or(c["score_text"].as_str()).expect("a text");
            assert_eq!(tokenizer.encode(text, false).expect("encodes"), expected, "{text:?}");
        }
    }
}
