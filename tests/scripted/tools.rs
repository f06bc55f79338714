//! Tools: what prompts say of them, and what becomes of scripted calls.

use minke::engine::{Constraint, IncompleteToolCall, StreamPart, ToolChoice, ToolChoiceMode};
use minke::text::{ToolCall, ToolSpec};

use super::*;

/// Renders tools, calls and results, as Hermes's template does.
const WITH_TOOLS: &str = "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}{% for m in messages %}<|user|>{{ m.content }}\
    {% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}{{ c.function.arguments | tojson }}</tool_call>{% endfor %}\
    {% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

fn tools() -> Vec<ToolSpec> {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let tool = |name: &str| ToolSpec { name: name.into(), description: None, input_schema: schema.clone() };
    vec![tool("look"), tool("ping")]
}

/// A model that says `script` after the prompt, in ordinary tokens and those that are `special`.
fn model(script: &[&str], special: &[&str]) -> Scripted {
    let all = [&[ASKED], script].concat();
    Scripted::new(&all).change(|m| {
        m.template = WITH_TOOLS.to_owned();
        let ordinary = script.iter().filter(|token| token.len() > 1 && !special.contains(token));
        m.words = ordinary.map(|token| (*token).to_owned()).collect();
    })
}

fn options() -> GenerateOptions {
    GenerateOptions { max_output_tokens: Some(12.0), tools: tools(), ..GenerateOptions::default() }
}

fn run(engine: &Engine, messages: Vec<Message>, options: &GenerateOptions) -> (GenerateResult, Vec<StreamPart>) {
    let mut parts = Vec::new();
    let cancel = Cancel::default();
    let mut emit = |part| parts.push(part);
    let result = block_on(engine.generate(Input::Messages(messages), options, &cancel, &mut emit)).expect("an answer");
    (result, parts)
}

const CALL: [&str; 6] =
    ["Sure. ", "<tool_call>", "\n{\"name\": \"look\", ", "\"arguments\": {\"city\": \"Os", "lo\"}}\n", "</tool_call>"];

fn call(id: &str) -> ToolCall {
    ToolCall { tool_call_id: id.into(), tool_name: "look".into(), input: r#"{"city": "Oslo"}"#.into() }
}

#[test]
fn calls_stream_and_end_the_turn() {
    let script = [&CALL[..], &["<|im_end|>"]].concat();
    // Whether the markers are special tokens makes no difference.
    for special in [&["<|im_end|>"][..], &["<tool_call>", "</tool_call>", "<|im_end|>"]] {
        let engine = model(&script, special).folder().expect("a model");
        assert!(engine.info().capabilities.tools);
        let (result, parts) = run(&engine, asked(), &options());
        assert_eq!(result.tool_calls, [call("call_1")]);
        assert_eq!((result.text.as_str(), result.finish_reason), ("Sure.", FinishReason::ToolCalls));
        let answer = result.messages.last().expect("an answer");
        assert_eq!((answer.tool_calls.as_slice(), answer.content.as_str()), (&[call("call_1")][..], "Sure."));
        let deltas: Vec<&str> = parts
            .iter()
            .filter_map(|part| match part {
                StreamPart::ToolInputDelta { tool_call_id, tool_name, delta } => {
                    assert_eq!((tool_call_id.as_str(), tool_name.as_str()), ("call_1", "look"));
                    Some(delta.as_str())
                }
                _ => None,
            })
            .collect();
        assert_eq!(deltas, [r#"{"city": "Os"#, r#"lo"}"#]);
        assert!(parts.iter().any(|part| matches!(part, StreamPart::ToolCall(found) if *found == call("call_1"))));
        // The next turn's call gets another id.
        let mut messages = result.messages;
        messages.push(Message { tool_call_id: Some("call_1".into()), ..Message::new("tool", "rain") });
        assert_eq!(run(&engine, messages, &options()).0.tool_calls, [call("call_2")]);
    }
}

#[test]
fn without_tools_or_by_choice_calls_are_text() {
    let script = [&CALL[..], &["<|im_end|>"]].concat();
    let engine = model(&script, &["<|im_end|>"]).folder().expect("a model");
    let none = GenerateOptions { tool_choice: ToolChoice::Named(ToolChoiceMode::None), ..options() };
    let without = GenerateOptions { tools: Vec::new(), ..options() };
    for options in [&none, &without] {
        let (result, _) = run(&engine, asked(), options);
        assert_eq!((result.text, result.finish_reason), (CALL.concat(), FinishReason::Stop));
        assert!(result.tool_calls.is_empty());
    }
    let prompt = |options: &GenerateOptions| run(&engine, asked(), options).0.usage.input_tokens;
    assert_eq!(prompt(&none), prompt(&options()), "the prompt is the same");
    assert!(prompt(&without) < prompt(&none));
}

#[test]
fn a_call_that_is_cut_is_told_apart_from_one_that_is_broken() {
    let script = [&CALL[..4], &["<|im_end|>"]].concat();
    let engine = model(&script, &["<|im_end|>"]).folder().expect("a model");
    let cut = GenerateOptions { max_output_tokens: Some(4.0), ..options() };
    let (result, _) = run(&engine, asked(), &cut);
    let incomplete = IncompleteToolCall { tool_name: Some("look".into()), input: r#"{"city": "Os"#.into() };
    assert_eq!(result.incomplete_tool_call, Some(incomplete));
    assert_eq!((result.text.as_str(), result.finish_reason), ("Sure.", FinishReason::Length));
    // The model ends its turn within what is not of the form: its text is not lost.
    let broken = ["Sure. ", "<tool_call>\n{\"tool\": \"look\"", "<|im_end|>"];
    let engine = model(&broken, &["<|im_end|>"]).folder().expect("a model");
    let (result, _) = run(&engine, asked(), &options());
    assert_eq!(result.incomplete_tool_call, None);
    assert_eq!((result.text, result.finish_reason), (broken[..2].concat(), FinishReason::Stop));
}

/// Has a token follow another.
fn follows(m: &mut Scripted, token: &str, next: &str) {
    let (token, next) = (m.id(token) as usize, m.id(next) as usize);
    m.next.insert(token, next);
}

#[test]
fn calls_are_bound_from_where_the_model_begins_them() {
    // It would rather say something else as soon as it has begun, and end its turn there.
    let begun = ["Sure. ", "<tool_call>", "\n{\"name\": \"loo", "p\", ", "<|im_end|>"];
    let auto = forced(ToolChoice::default());
    for special in [&["<|im_end|>"][..], &["<|im_end|>", "<tool_call>"]] {
        let engine = model(&begun, special).change(|m| follows(m, ">", "<|im_end|>")).folder().expect("a model");
        let (result, _) = run(&engine, asked(), &auto);
        assert_eq!((result.text.as_str(), result.finish_reason), ("Sure.", FinishReason::ToolCalls));
        only_oslo(&result.tool_calls);
        assert_eq!(result.tool_calls.len(), 1);
    }
    // In one token with the text before it, and with another's white space.
    let within = ["Sure.<tool_call>{ \"name\":\n", "<|im_end|>"];
    let engine = model(&within, &["<|im_end|>"]).change(|m| {
        follows(m, ">", "<|im_end|>");
        follows(m, "\u{10a}", "l"); // a line break, as the vocabulary has it
    });
    let (result, _) = run(&engine.folder().expect("a model"), asked(), &auto);
    assert_eq!(result.text, "Sure.");
    only_oslo(&result.tool_calls);
    // What is only spoken of is text.
    let spoken = ["The tag ", "<tool_call>", " begins a call.", "<|im_end|>"];
    let engine = model(&spoken, &["<|im_end|>"]).folder().expect("a model");
    assert_eq!(run(&engine, asked(), &auto).0.text, spoken[..3].concat());
}

#[test]
fn calls_without_a_marker_are_bound_once_they_have_a_tools_name() {
    let template = WITH_TOOLS.replace("<tool_call>", "<|python_tag|>");
    let says = |script: &[&str]| {
        let model = model(script, &["<|im_end|>"]).change(|m| {
            m.template = template.clone();
            follows(m, "}", "<|im_end|>");
        });
        run(&model.folder().expect("a model"), asked(), &forced(ToolChoice::default())).0
    };
    for begun in ["{\"name\": \"look\"", "{\"type\": \"function\", \"name\": \"look\", \"para"] {
        let result = says(&[begun, ": 7}}", "<|im_end|>"]);
        assert_eq!((result.text.as_str(), result.finish_reason), ("", FinishReason::ToolCalls));
        only_oslo(&result.tool_calls);
    }
    let other = says(&["{\"name\": \"Ada\"", ", \"age\": 7}", "<|im_end|>"]);
    assert_eq!((other.text.as_str(), other.tool_calls.len()), ("{\"name\": \"Ada\", \"age\": 7}", 0));
}

#[test]
fn an_answer_of_a_form_or_a_call() {
    let choice = Constraint::Choice { choice: vec!["yes".into(), "no".into()] };
    let either = GenerateOptions { response_constraint: Some(choice), ..forced(ToolChoice::default()) };
    let says = |script: &[&str]| {
        let model = model(script, &["<|im_end|>", "<tool_call>"]).change(|m| follows(m, ">", "<|im_end|>"));
        run(&model.folder().expect("a model"), asked(), &either).0
    };
    let answer = says(&["n", "Sure. ", "<|im_end|>"]);
    assert_eq!((answer.text.as_str(), answer.finish_reason), ("no", FinishReason::Stop));
    let call = says(&["<tool_call>", "Sure. ", "<|im_end|>"]);
    assert_eq!((call.text.as_str(), call.finish_reason), ("", FinishReason::ToolCalls));
    only_oslo(&call.tool_calls);
}

#[test]
fn schemas_that_cannot_be_honoured_are_refused_with_their_tools() {
    let engine = model(&["No", "<|im_end|>"], &["<|im_end|>"]).folder().expect("a model");
    let refused = |tool_choice: ToolChoice| {
        let mut options = GenerateOptions { tool_choice, ..options() };
        options.tools[1].input_schema["properties"]["city"] = json!({ "not": { "const": "Oslo" } });
        let (cancel, mut quiet) = (Cancel::default(), |_| {});
        block_on(engine.generate(Input::Messages(asked()), &options, &cancel, &mut quiet))
    };
    for mode in [ToolChoiceMode::Auto, ToolChoiceMode::Required] {
        let Err(Error::Constraint { message, keyword, path }) = refused(ToolChoice::Named(mode)) else {
            panic!("{mode:?}")
        };
        assert!(message.contains("the tool ping"), "{message}");
        assert_eq!((keyword.as_deref(), path.as_deref()), (Some("not"), Some("#/properties/city/not")));
    }
    assert!(refused(ToolChoice::Named(ToolChoiceMode::None)).is_ok());
}

/// Options that force a call, whose schema leaves no choice: the models' own words would not be calls.
fn forced(tool_choice: ToolChoice) -> GenerateOptions {
    let schema = json!({ "type": "object", "properties": { "city": { "const": "Oslo" } }, "required": ["city"], "additionalProperties": false });
    let look = ToolSpec { name: "look".into(), description: None, input_schema: schema };
    let ping = ToolSpec { name: "ping".into(), description: None, input_schema: json!({ "type": "object" }) };
    let tools = if tool_choice == ToolChoice::Named(ToolChoiceMode::Required) { vec![look] } else { vec![look, ping] };
    GenerateOptions { max_output_tokens: Some(200.0), tools, tool_choice, ..GenerateOptions::default() }
}

/// Checks that there are calls, each of the one tool with the one input that its schema allows.
fn only_oslo(calls: &[ToolCall]) {
    assert!(!calls.is_empty());
    for call in calls {
        let input: Value = serde_json::from_str(&call.input).expect("JSON");
        assert_eq!((call.tool_name.as_str(), input), ("look", json!({ "city": "Oslo" })));
    }
}

#[test]
fn forced_calls_are_bound_by_their_schemas() {
    let engine = model(&["No", "<|im_end|>"], &["<|im_end|>"]).folder().expect("a model");
    let required = forced(ToolChoice::Named(ToolChoiceMode::Required));
    let named = forced(ToolChoice::Tool { tool_name: "look".into() });
    // A tool that is named is called once; where one is required, this model, which would rather say something else, goes on to the limit.
    for (options, reason) in [(&required, FinishReason::Length), (&named, FinishReason::ToolCalls)] {
        let (mut result, parts) = run(&engine, asked(), options);
        assert_eq!((result.text.as_str(), result.finish_reason), ("", reason));
        only_oslo(&result.tool_calls);
        if let Some(IncompleteToolCall { input, .. }) = result.incomplete_tool_call.take() {
            result.tool_calls.push(ToolCall { input, ..ToolCall::default() });
        }
        let delta = |part: &StreamPart| match part {
            StreamPart::ToolInputDelta { delta, .. } => Some(delta.clone()),
            _ => None,
        };
        let inputs: String = result.tool_calls.iter().map(|call| call.input.as_str()).collect();
        assert_eq!(parts.iter().filter_map(delta).collect::<String>(), inputs);
    }
    // Markers that are tokens, special or not, are written as these tokens.
    for special in [&["<|im_end|>"][..], &["<|im_end|>", "<tool_call>", "</tool_call>"]] {
        let script = ["No", "<tool_call>", "</tool_call>", "<|im_end|>"];
        let added = model(&script, special).change(|m| m.plain = std::mem::take(&mut m.words));
        let engine = added.folder().expect("a model");
        let (result, _) = run(&engine, asked(), &named);
        only_oslo(&result.tool_calls);
        for marker in ["<tool_call>", "</tool_call>"] {
            let id = engine.tokenizer().id(marker).expect("a token");
            assert!(result.ids.contains(&id), "{marker} is not among {:?}", result.ids);
        }
    }
    let begun = vec![Message::new("user", "hi"), Message { prefix: true, ..Message::new("assistant", "So") }];
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let refused = block_on(engine.generate(Input::Messages(begun), &required, &cancel, &mut quiet));
    assert!(matches!(refused, Err(Error::InvalidArgument { argument, .. }) if argument == "toolChoice"));
}

#[test]
fn forced_calls_follow_reasoning_that_the_prompt_has_begun() {
    let model = Scripted::new(&["<think>", "Why ", "not", "</think>", "Hm"]).change(|m| {
        m.template = WITH_TOOLS.replace(ASKED, &format!("{ASKED}<think>"));
        m.tokens.push("<|im_end|>".to_owned());
        m.plain = vec!["Why ".into(), "not".into(), "Hm".into()];
    });
    let engine = model.folder().expect("a model");
    let forced = forced(ToolChoice::Tool { tool_name: "look".into() });
    let limited = GenerateOptions { reasoning: Reasoning::Budget { max_tokens: 1.0 }, ..forced.clone() };
    let none = GenerateOptions { reasoning: Reasoning::Named(ReasoningMode::None), ..forced.clone() };
    for (options, reasoning) in [(forced, "Why not"), (limited, "Why"), (none, "")] {
        let (result, _) = run(&engine, asked(), &options);
        assert_eq!((result.reasoning.as_str(), result.text.as_str()), (reasoning, ""));
        assert_eq!(result.finish_reason, FinishReason::ToolCalls);
        only_oslo(&result.tool_calls);
    }
}

#[test]
fn calls_of_harmony_are_messages_to_functions() {
    let marks = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"];
    let said = [
        "<|channel|>",
        "commentary to=functions.look ",
        "<|constrain|>",
        "json",
        "<|message|>",
        "{\"city\": \"Oslo\"}",
    ];
    let called = [&said[..], &["<|call|>"]].concat();
    let with_marks = |script: &[&str], special: &[&str]| {
        model(script, special).change(|m| {
            let missing = marks.iter().filter(|mark| !m.tokens.iter().any(|token| token == *mark));
            let missing: Vec<String> = missing.map(|mark| (*mark).to_owned()).collect();
            m.tokens.extend(missing);
        })
    };
    let engine = with_marks(&called, &marks).folder().expect("a model");
    let (result, _) = run(&engine, asked(), &options());
    assert_eq!((result.text.as_str(), result.tool_calls), ("", vec![call("call_1")]));
    assert_eq!(result.finish_reason, FinishReason::ToolCalls);
    // Without tools such a message is text, as it always was.
    let without = GenerateOptions { tools: Vec::new(), ..options() };
    assert_eq!(run(&engine, asked(), &without).0.text, "{\"city\": \"Oslo\"}");
    // From the name on it is bound.
    let wrong = ["<|channel|>", "commentary to=functions.", "lo", "<|message|>", "[1]", "<|call|>"];
    let engine = with_marks(&wrong, &marks).folder().expect("a model");
    let (result, _) = run(&engine, asked(), &self::forced(ToolChoice::default()));
    assert_eq!((result.text.as_str(), result.finish_reason), ("", FinishReason::ToolCalls));
    only_oslo(&result.tool_calls);
    // A forced call begins with its header.
    let engine = with_marks(&["<|message|>", "{\"city\": \"Oslo\"}", "<|call|>"], &marks).folder().expect("a model");
    let forced = GenerateOptions {
        max_output_tokens: Some(200.0),
        tool_choice: ToolChoice::Tool { tool_name: "look".into() },
        ..options()
    };
    for reasoning in [ReasoningMode::Auto, ReasoningMode::None] {
        let options = GenerateOptions { reasoning: Reasoning::Named(reasoning), ..forced.clone() };
        let (result, _) = run(&engine, asked(), &options);
        assert_eq!((result.text.as_str(), result.tool_calls), ("", vec![call("call_1")]));
    }
}

#[test]
fn templates_without_tools_are_given_text() {
    let script = [&CALL[..], &["<|im_end|>"]].concat();
    let engine = model(&script, &["<|im_end|>"]).change(|m| {
        m.template = TEMPLATE.to_owned();
        m.config["max_position_embeddings"] = json!(4096); // the description of the tools is long, in tokens of a byte
    });
    let engine = engine.folder().expect("a model");
    assert!(!engine.info().capabilities.tools);
    let mut said = asked();
    said.push(Message { tool_calls: vec![call("a"), call("b")], ..Message::new("assistant", "Hm.") });
    said.push(Message { tool_call_id: Some("a".into()), ..Message::new("tool", "rain") });
    said.push(Message { tool_call_id: Some("b".into()), ..Message::new("tool", "sun") });
    let text = engine.apply_chat_template(&said, &tools(), true, &serde_json::Map::new()).expect("a prompt");
    for part in [
        r#"{"type":"function","function":{"name":"look","parameters":{"type":"object""#,
        "Hm.\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>\n<tool_call>",
        "<|user|><tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response><|assistant|>",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert_eq!(run(&engine, asked(), &options()).0.tool_calls, [call("call_1")]);
    // History is text, too, where no tools are offered.
    let text = engine.apply_chat_template(&said, &[], true, &serde_json::Map::new()).expect("a prompt");
    assert!(text.starts_with("<|user|>hi<|user|>Hm.\n<tool_call>"), "{text}");
}

#[test]
fn a_separate_template_serves_conversations_with_tools() {
    let script = [&CALL[..], &["<|im_end|>"]].concat();
    let both = json!([
        { "name": "default", "template": TEMPLATE }, { "name": "tool_use", "template": WITH_TOOLS },
    ]);
    let model = model(&script, &["<|im_end|>"]);
    let mut config = model.tokenizer_config.clone();
    config["chat_template"] = both;
    let folder =
        model.folder_with(|name| Some(name.to_owned())).with("tokenizer_config.json", config.to_string().into_bytes());
    let engine = load(&folder).expect("a model");
    let text = |tools: &[ToolSpec]| engine.apply_chat_template(&asked(), tools, false, &serde_json::Map::new());
    assert_eq!(text(&[]).expect("a prompt"), "<|user|>hi");
    assert!(text(&tools()).expect("a prompt").starts_with("<tools>[{"));
    assert_eq!(run(&engine, asked(), &options()).0.tool_calls, [call("call_1")]);
    // One that cannot be used is told, and the other serves both.
    let broken = config.to_string().replace("{% if tools %}", "{% if %}");
    let engine = load(&folder.with("tokenizer_config.json", broken.into_bytes())).expect("a model");
    let warnings = &engine.info().warnings;
    assert!(warnings.iter().any(|w| w.code == WarningCode::Template && w.message.contains("tool_use")), "{warnings:?}");
    assert!(!engine.info().capabilities.tools);
}
