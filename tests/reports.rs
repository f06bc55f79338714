//! Reproduces public bug reports with small inputs: `MINKE_REPORTS` (a folder like `../shared/data/reports`). All
//! failing rows are reported at the end.
#![allow(missing_docs)]

mod common;
mod support;

use std::path::Path;

use common::{all_logits, block_on, data, load};
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions};
use minke::text::{ChatInput, ChatTemplate, Message, Tokenizer, TokenizerConfig};
use minke::{Cancel, Result};
use serde_json::Value;
use support::without_addresses;

/// `Ok`, or what is wrong with a row.
type Verdict = std::result::Result<(), String>;

fn reports() -> Option<std::path::PathBuf> {
    data("MINKE_REPORTS", "../shared/data/reports")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Fails with a list of all failing rows.
fn judge(rows: usize, wrong: &[String]) {
    assert!(rows > 0, "there is no row");
    assert!(wrong.is_empty(), "{} of {rows} rows are not right:\n{}", wrong.len(), wrong.join("\n"));
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, want: &T) -> Verdict {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}")) }
}

#[test]
fn models() {
    let Some(root) = reports() else { return };
    let text = read(&root.join("models.jsonl"));
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| model(&root, row).err().map(|why| format!("{}: {why}", row["name"].as_str().unwrap_or("?"))))
        .collect();
    judge(rows.len(), &wrong);
}

fn model(root: &Path, row: &Value) -> Verdict {
    let path = root.join(row["path"].as_str().expect("a path"));
    let options = LoadOptions { f32: row["logits"]["f32"] == true, ..LoadOptions::default() };
    let engine = match (load(&path, options), row["refused"].as_object()) {
        (Ok(_), Some(_)) => return Err("it loads".into()),
        (Err(error), None) => return Err(format!("it does not load: {error}")),
        (Err(error), Some(refused)) => {
            let message = error.to_string();
            let mentions = refused["mentions"].as_array().expect("words").iter();
            let silent = mentions.map(|word| word.as_str().expect("a word")).find(|word| !message.contains(word));
            return silent.map_or(Ok(()), |word| Err(format!("the refusal does not say {word:?}: {message}")));
        }
        (Ok(engine), None) => engine,
    };
    if row["warns"] == true && engine.info().warnings.is_empty() {
        return Err("there is no warning".into());
    }
    for (check, run) in [("generate", generate as fn(_, _) -> _), ("prompt_ids", prompt_ids)] {
        if !row[check].is_null() {
            run(&engine, &row[check])?;
        }
    }
    if let Some(absent) = row["prompt_has_no"].as_str() {
        let text =
            prompt(&engine, &serde_json::json!([{ "role": "user", "content": "hi" }])).map_err(|e| e.to_string())?.text;
        if text.contains(absent) {
            return Err(format!("the prompt has {absent:?}: {text:?}"));
        }
    }
    if row["logits"].is_object() { logits(&engine, &row["logits"], &path) } else { Ok(()) }
}

fn messages(list: &Value) -> Vec<Message> {
    serde_json::from_value(list.clone()).expect("messages")
}

fn prompt(engine: &Engine, list: &Value) -> Result<minke::text::Prompt> {
    engine.encode_messages(&messages(list), &[], true, &serde_json::Map::new())
}

fn generate(engine: &Engine, check: &Value) -> Verdict {
    let options = GenerateOptions {
        max_output_tokens: check["max_output_tokens"].as_f64(),
        temperature: check["temperature"].as_f64(),
        ..GenerateOptions::default()
    };
    let input = Input::Messages(messages(&check["messages"]));
    let cancel = Cancel::default();
    let got = block_on(engine.generate(input, &options, &cancel, &mut |_| {})).map_err(|e| e.to_string())?;
    let finish = serde_json::to_value(got.finish_reason).expect("a word");
    let want = &check["expect"];
    for (what, got) in [("text", got.text.into()), ("reasoning", got.reasoning.into()), ("finish", finish)] {
        if !want[what].is_null() {
            expect(what, &got, &want[what])?;
        }
    }
    Ok(())
}

fn prompt_ids(engine: &Engine, check: &Value) -> Verdict {
    let ids = prompt(engine, &check["messages"]).map_err(|e| e.to_string())?.ids;
    if let Some(first) = check["first"].as_u64() {
        expect("the first id", &ids.first().map(|&id| u64::from(id)), &Some(first))?;
    }
    for (id, times) in check["count"].as_object().into_iter().flatten() {
        let found = ids.iter().filter(|got| got.to_string() == *id).count() as u64;
        expect(&format!("how often {id} occurs in {ids:?}"), &Some(found), &times.as_u64())?;
    }
    Ok(())
}

fn logits(engine: &Engine, check: &Value, folder: &Path) -> Verdict {
    let ids = common::golden::ids(&check["ids"]);
    let bytes = std::fs::read(folder.join(check["file"].as_str().expect("a file"))).expect("logits");
    let want: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let got = all_logits(engine, &ids).concat();
    expect("the number of logits", &got.len(), &want.len())?;
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let tolerance = check["tolerance"].as_f64().expect("a tolerance") as f32;
    if worst <= tolerance { Ok(()) } else { Err(format!("logits differ by up to {worst}, {tolerance} is allowed")) }
}

#[test]
fn templates() {
    let Some(root) = reports() else { return };
    let rows: Vec<Value> = serde_json::from_str(&read(&root.join("templates.json"))).expect("JSON");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| template(row).err().map(|why| format!("{}: {why}", row["name"].as_str().unwrap_or("?"))))
        .collect();
    judge(rows.len(), &wrong);
}

fn template(row: &Value) -> Verdict {
    let config = TokenizerConfig::from_json(row["config"].to_string().as_bytes(), "config").expect("a config");
    let list = |key: &str| row[key].as_array().expect("a list").clone();
    let input = ChatInput {
        messages: list("messages"),
        tools: list("tools"),
        add_generation_prompt: true,
        args: row["args"].as_object().expect("arguments").clone(),
        now: Some(1_796_004_650),
    };
    let source = row["template"].as_str().expect("a template");
    let got = ChatTemplate::new(source, &config).and_then(|template| template.render(&input));
    match (row["expected"]["text"].as_str(), got) {
        (Some(want), Ok(got)) if without_addresses(&got) == without_addresses(want) => Ok(()),
        (Some(want), Ok(got)) if row["name"] == "strftime" && alike(&got, want) => Ok(()),
        (None, Err(_)) => Ok(()),
        (Some(want), got) => Err(format!("want {want:?}\n     got {got:?}")),
        (None, Ok(got)) => Err(format!("want {}, got {got:?}", row["expected"]["error"])),
    }
}

/// Times of day, which the reference took from its own clock, may differ.
fn alike(got: &str, want: &str) -> bool {
    let shape = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    shape(got) == shape(want)
}

#[test]
fn tokenizers() {
    let Some(root) = reports() else { return };
    let rows: Vec<Value> = serde_json::from_str(&read(&root.join("tokenizers.json"))).expect("JSON");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            tokenizer(&root, row).err().map(|why| format!("{}: {why}", row["name"].as_str().unwrap_or("?")))
        })
        .collect();
    judge(rows.len(), &wrong);
}

fn tokenizer(root: &Path, row: &Value) -> Verdict {
    let bytes = std::fs::read(root.join(row["file"].as_str().expect("a file"))).expect("a tokenizer");
    let tokenizer = match (Tokenizer::from_json(&bytes, "tokenizer.json"), row["expected"].as_str()) {
        (Err(_), Some(_)) => return Ok(()),
        (Ok(_), Some(refusal)) => return Err(format!("it loads; the reference says {refusal:?}")),
        (Err(error), None) => return Err(error.to_string()),
        (Ok(tokenizer), None) => tokenizer,
    };
    let texts = row["texts"].as_array().expect("texts");
    for (text, want) in texts.iter().zip(row["expected"].as_array().expect("a list")) {
        let text = text.as_str().expect("a text");
        let ids = tokenizer.encode(text, row["special"] == true).map_err(|e| e.to_string())?;
        let wanted = common::golden::ids(&want["ids"]);
        expect(&format!("ids of {text:?}"), &ids, &wanted)?;
        for (key, skip) in [("decode", false), ("skip", true)] {
            expect(
                &format!("{key} of {text:?}"),
                &tokenizer.decode(&wanted, skip).as_str(),
                &want[key].as_str().expect("a text"),
            )?;
        }
    }
    Ok(())
}
