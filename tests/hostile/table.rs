//! Records the result of every malformed case as a table (`docs/evidence/hostile.md`, rewritten with
//! `MINKE_RECORD=1`), and as files in `target/hostile` that the browser test loads through the package.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use minke::Result;
use minke::weights::MemoryFolder;
use serde_json::{Value, json};

use super::campaign::{memory, open_folder, open_gguf};
use super::config_cases::{self, CONFIG};
use super::gguf_cases::{self, File};
use super::{safetensors_cases, text_cases};

struct Row {
    code: String,
    kind: Option<String>,
    message: String,
    files: Vec<(String, Vec<u8>)>,
}

static ROWS: Mutex<BTreeMap<String, Row>> = Mutex::new(BTreeMap::new());

/// Records the result of a case, if its name begins with a row's number. The files replace those of a valid model.
pub fn record<T>(name: &str, files: &[(&str, &[u8])], result: &Result<T>) {
    let id = name.as_bytes();
    let is_row = id.len() > 4 && b"GSICTJ".contains(&id[0]) && id[1..3].iter().all(u8::is_ascii_digit) && id[3] == b' ';
    if !is_row {
        return;
    }
    let (code, kind, message) = match result {
        Ok(_) => ("accepted".to_owned(), None, String::new()),
        Err(error) => {
            let kind = error.detail()["kind"].as_str().map(str::to_owned);
            (error.code().to_owned(), kind, error.to_string())
        }
    };
    let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    ROWS.lock().expect("no case panicked").insert(name.to_owned(), Row { code, kind, message, files });
}

/// A folder with a valid tiny model, whose weights are zeros, so that it generates the same token forever.
pub fn good() -> Vec<(&'static str, Vec<u8>)> {
    let tokens = gguf_cases::tokens();
    let ids: serde_json::Map<String, Value> = tokens.iter().zip(0..).map(|(t, id)| (t.clone(), json!(id))).collect();
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let special = |id: usize| {
        json!({ "id": id, "content": tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let tokenizer = json!({
        "added_tokens": [special(256), special(257)],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": { "type": "BPE", "vocab": ids, "merges": [] },
    });
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    vec![
        ("config.json", CONFIG.as_bytes().to_vec()),
        ("tokenizer.json", tokenizer.to_string().into_bytes()),
        ("tokenizer_config.json", json!({ "chat_template": template }).to_string().into_bytes()),
        ("model.safetensors", weights(&tensors(), "", |_, _| ())),
    ]
}

type Tensor = (String, &'static str, Vec<usize>);

/// The tensors of [`CONFIG`].
fn tensors() -> Vec<Tensor> {
    let bf16 = |name: &str, shape: &[usize]| (name.to_owned(), "BF16", shape.to_vec());
    let mut all = vec![bf16("model.embed_tokens.weight", &[512, 96]), bf16("model.norm.weight", &[96])];
    for layer in 0..2 {
        for (name, shape) in [
            ("input_layernorm", &[96][..]),
            ("self_attn.q_proj", &[96, 96]),
            ("self_attn.k_proj", &[48, 96]),
            ("self_attn.v_proj", &[48, 96]),
            ("self_attn.o_proj", &[96, 96]),
            ("post_attention_layernorm", &[96]),
            ("mlp.gate_proj", &[160, 96]),
            ("mlp.up_proj", &[160, 96]),
            ("mlp.down_proj", &[96, 160]),
        ] {
            all.push(bf16(&format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    all
}

/// A safetensors file of zeros, with `before` in front of its header; `fill` may change a tensor's bytes.
fn weights(tensors: &[Tensor], before: &str, fill: impl Fn(&str, &mut [u8])) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape) in tensors {
        let start = data.len();
        let width = match *dtype {
            "U8" => 1,
            _ => 2,
        };
        data.resize(start + shape.iter().product::<usize>() * width, 0);
        fill(name, &mut data[start..]);
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] }));
    }
    let header = before.to_owned() + &Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Opens the valid model with some of its files replaced.
fn open_with(files: &[(&str, &[u8])]) -> Result<Vec<String>> {
    let indexed = files.iter().any(|(name, _)| name.ends_with(".index.json"));
    let good = good().into_iter().filter(|(name, _)| !(indexed && *name == "model.safetensors"));
    let folder = good.fold(MemoryFolder::new("model"), |folder, (name, bytes)| folder.with(name, bytes));
    open_folder(&files.iter().fold(folder, |folder, (name, bytes)| folder.with(name, *bytes)))
}

/// Rows whose model loads.
fn accepted_rows() {
    let row = |name: &str, files: &[(&str, &[u8])]| {
        let result = open_with(files);
        record(name, files, &result);
        result.unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let file = |name: &str, tensors: &[Tensor], before: &str| {
        row(name, &[("model.safetensors", &weights(tensors, before, |_, _| ()))]);
    };
    let odd = |name: &str| (name.to_owned(), "U8", vec![1]);
    file("S13 lead_space", &tensors(), "   ");
    file("S41 proto", &[tensors(), vec![odd("__proto__")]].concat(), "");
    file("S46 unaligned", &[vec![odd("odd")], tensors()].concat(), "");
    let nan = weights(&tensors(), "", |name, bytes| {
        if name == "model.norm.weight" {
            bytes[..2].copy_from_slice(&0x7fc0u16.to_le_bytes());
        }
    });
    row("S49 nan_weights", &[("model.safetensors", &nan)]);

    let whole = weights(&tensors(), "", |_, _| ());
    let index = |shard: &dyn Fn(usize) -> &'static str, size: usize| {
        let map = tensors().into_iter().enumerate().map(|(i, (name, ..))| (name, json!(shard(i))));
        let map: serde_json::Map<String, Value> = map.collect();
        json!({ "metadata": { "total_size": size }, "weight_map": map }).to_string()
    };
    let one = index(&|_| "a.safetensors", 1);
    let warnings =
        row("I11 total_size_wrong", &[("model.safetensors.index.json", one.as_bytes()), ("a.safetensors", &whole)]);
    assert!(warnings.iter().any(|w| w.contains("SizeMismatch")), "{warnings:?}");
    let two = index(&|i| ["a.safetensors", "b.safetensors"][i % 2], whole.len());
    let files =
        [("model.safetensors.index.json", two.as_bytes()), ("a.safetensors", &whole), ("b.safetensors", &whole)];
    row("I17 same_file_twice", &files);
}

fn hostile_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hostile")
}

/// Writes the rows' files and results.
fn write_files(rows: &BTreeMap<String, Row>) {
    let folder = hostile_folder();
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("an old folder can be removed");
    }
    let write = |case: &str, files: &mut dyn Iterator<Item = (&str, &[u8])>| -> Vec<String> {
        fs::create_dir_all(folder.join(case)).expect("a folder");
        files
            .map(|(name, bytes)| {
                fs::write(folder.join(case).join(name), bytes).expect("a file");
                name.to_owned()
            })
            .collect()
    };
    let base = good();
    write("good", &mut base.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    let mut manifest = Vec::new();
    for (i, (name, row)) in rows.iter().enumerate().filter(|(_, (_, row))| !row.files.is_empty()) {
        let case = i.to_string();
        let files = write(&case, &mut row.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        manifest.push(json!({ "name": name, "case": case, "files": files, "code": row.code, "kind": row.kind }));
    }
    fs::write(folder.join("manifest.json"), Value::Array(manifest).to_string()).expect("a manifest");
}

/// Writes the seed corpora of the fuzz targets: each file for its parser.
fn write_corpus(rows: &BTreeMap<String, Row>) {
    let folder = hostile_folder().join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(folder.join(target)).expect("a folder");
        fs::write(folder.join(target).join(name.replace(' ', "-")), bytes).expect("a file");
    };
    let file = |parts: Value| json!({ "size": 10, "sha256": "0".repeat(64), "parts": parts });
    let part = |name: &str| json!({ "name": name, "size": 5, "sha256": "0".repeat(64) });
    let files = json!({ "a": file(json!([part("a.1"), part("a.2")])), "b": file(json!([])) });
    put("pack", "good", json!({ "minke": 1, "quantization": "q4", "files": files }).to_string().as_bytes());
    let target = |file: &str| match file {
        "model.gguf" => Some("gguf"),
        "config.json" => Some("config"),
        "tokenizer.json" => Some("tokenizer"),
        "model.safetensors.index.json" => Some("index"),
        name if name.ends_with(".safetensors") => Some("safetensors"),
        _ => None,
    };
    let good = good().into_iter().map(|(name, bytes)| ("good".to_owned(), name.to_owned(), bytes));
    let bad = rows.iter().flat_map(|(name, row)| row.files.iter().map(|(f, b)| (name.clone(), f.clone(), b.clone())));
    for (name, file, bytes) in good.chain(bad).chain([("good".into(), "model.gguf".into(), File::model().bytes())]) {
        match target(&file) {
            Some(target) if bytes.len() <= 64 << 10 => put(target, &name, &bytes),
            Some(_) => {} // large files do not help a fuzzer
            None => {
                let config: Value = serde_json::from_slice(&bytes).expect("tokenizer_config.json");
                let sources = config["chat_template"].as_str().map(str::to_owned);
                if let Some(source) = sources.filter(|s| s.len() <= 64 << 10) {
                    put("template", &name, source.as_bytes());
                }
            }
        }
    }
}

fn markdown(rows: &BTreeMap<String, Row>) -> String {
    let mut text = "# Hostile files\n\nWhat becomes of each row of the malformed inputs this project is tested with (`cargo test --test hostile table`, \
                    which\nwrites this file with `MINKE_RECORD=1`). The same happens through the package in Chromium (`tests/browser/hostile.test.mjs`), \
                    where a good\nmodel loads next. Rows about transport are played by `cargo xtask soak`.\n\n| row | end | message |\n|---|---|---|\n"
        .to_owned();
    for (name, row) in rows {
        let end = match &row.kind {
            Some(kind) => format!("{}: {kind}", row.code),
            None => row.code.clone(),
        };
        let message: String = row.message.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ");
        let message: String = message.chars().take(140).collect();
        text += &format!("| {name} | {end} | {message} |\n");
    }
    text
}

#[test]
fn table() {
    gguf_cases::all();
    safetensors_cases::all();
    config_cases::all();
    text_cases::all();
    accepted_rows();
    let rows = ROWS.lock().expect("no case panicked");
    // Afterwards a valid model of either format opens.
    open_with(&[]).expect("the good folder");
    open_gguf(memory("model.gguf", File::model().bytes()), None).expect("the good file");
    write_files(&rows);
    write_corpus(&rows);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/evidence/hostile.md");
    let text = markdown(&rows);
    if std::env::var_os("MINKE_RECORD").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("docs");
        fs::write(&path, text).expect("the table");
    } else {
        assert_eq!(fs::read_to_string(&path).expect("docs/evidence/hostile.md"), text, "MINKE_RECORD=1 writes it anew");
    }

    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/rows.txt");
    let cases = fs::read_to_string(cases).expect("the list of cases");
    let missing: Vec<&str> = cases.lines().filter(|row| !rows.contains_key(*row)).collect();
    assert!(missing.is_empty(), "rows without a case: {missing:#?}");
}
