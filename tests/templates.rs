//! Compares small chat templates with Jinja as configured by transformers (`templates.json`, made by `templates.py`).
#![allow(missing_docs)]

mod support;

use minke::text::{ChatInput, ChatTemplate, TokenizerConfig};
use serde_json::{Value, json};
use support::without_addresses;

/// Templates render as in transformers, or fail as in transformers; all differences are listed.
#[test]
fn templates_render_as_transformers_renders_them() {
    let golden: Value = serde_json::from_str(include_str!("templates.json")).expect("JSON");
    let config =
        TokenizerConfig { bos_token: Some("<s>".into()), eos_token: Some("</s>".into()), ..TokenizerConfig::default() };
    let list = |key: &str| golden[key].as_array().expect("a list").clone();
    let mut differences = Vec::new();
    for case in list("cases") {
        let written = case["template"].as_str().expect("a template");
        let frame = list("frame");
        let source = &[frame[0].as_str(), Some(written), frame[1].as_str()].map(|part| part.expect("a text")).concat();
        let input = ChatInput {
            messages: list("messages"),
            tools: list("tools"),
            add_generation_prompt: true,
            args: [("only".to_owned(), json!(true))].into_iter().collect(),
            now: None,
        };
        let got = ChatTemplate::new(source, &config).and_then(|template| template.render(&input));
        let got = got.map(|text| without_addresses(&text));
        match (case["rendered"].as_str(), got) {
            (Some(want), Ok(got)) if got != want => {
                differences.push(format!("{written}\n  want {want:?}\n  got  {got:?}"))
            }
            (Some(want), Err(error)) => differences.push(format!("{written}\n  want {want:?}\n  got  {error}")),
            (None, Ok(got)) => differences.push(format!("{written}\n  want {}\n  got  {got:?}", case["error"])),
            _ => {}
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
