//! Tests the `minke` command: packs load like their sources, damage is detected, `inspect` and `run` report correctly.
#![allow(missing_docs)]

mod common;
#[path = "common/gguf.rs"]
mod gguf;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{all_logits, block_on, data, load, on_gpu};
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions, accept};
use minke::model::Quantization;
use minke::weights::gguf::read_header;
use minke::weights::{Checkpoint, DiskFile, DiskFolder, Dtype, Pack, TensorEntry, dequantize_rows};
use minke::{Cancel, Error, FormatKind};
use serde_json::Value;

fn golden(case: &str) -> Option<PathBuf> {
    data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join(case))
}

fn minke(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_minke")).args(arguments).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The path of a temporary folder for one test, which does not exist yet.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("an old folder goes");
    }
    folder
}

/// Packs with shards of 8 KiB and returns the command's output.
fn pack(from: &Path, to: &Path, options: &[&str]) -> String {
    let paths = [from, to].map(|path| path.to_str().expect("UTF-8"));
    let output = minke(&[&["pack", paths[0], paths[1], "--shard-size", "8KiB"], options].concat());
    let said = text(&output.stderr);
    assert!(output.status.success(), "{}: {said}", from.display());
    for entry in fs::read_dir(to).expect("a pack") {
        let entry = entry.expect("an entry");
        let size = entry.metadata().expect("a size").len();
        assert!(size <= 8 << 10 || entry.file_name() == "minke.json", "{:?} has {size} bytes", entry.file_name());
    }
    said
}

fn as_(quantization: Option<Quantization>) -> LoadOptions {
    LoadOptions { quantization, ..LoadOptions::default() }
}

/// Logits of some tokens, as bits.
fn logits(engine: &Engine) -> Vec<Vec<u32>> {
    let ids: Vec<u32> = (0..40).map(|i| 3 + i * 97 % 400).collect();
    all_logits(engine, &ids).iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect()
}

/// Packs a case unquantised, as q8 and as q4, and compares loads of the packs with loads of the source in the same
/// quantisation.
fn check(from: &Path, name: &str) {
    let plain = load(from, LoadOptions::default()).expect("the source loads");
    let (whole, exact) = (scratch(&format!("{name}-as-is")), logits(&plain));
    pack(from, &whole, &[]);
    let packed = load(&whole, LoadOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(packed.info().quantization, plain.info().quantization, "{name}");
    assert!(logits(&packed) == exact, "{name}: as is");
    for (word, quantization) in [("q8", Quantization::Q8), ("q4", Quantization::Q4)] {
        let to = scratch(&format!("{name}-{word}"));
        let said = pack(from, &to, &["--quantization", word]);
        let options = as_(Some(quantization));
        let want = load(from, options).expect("the source loads");
        let got = load(&to, options).unwrap_or_else(|e| panic!("{name} as {word}: {e}"));
        assert_eq!(got.info().quantization, want.info().quantization, "{name} as {word}");
        assert_eq!(got.info().parameters, want.info().parameters, "{name} as {word}");
        assert!(logits(&got) == logits(&want), "{name}: {word} from a pack and on load");
        // If all rows are whole blocks, nothing is left to quantise.
        if !said.contains("is not quantised:") {
            let got = load(&to, as_(Some(Quantization::None))).expect("it loads");
            assert_eq!(got.info().quantization, want.info().quantization, "{name} as {word}");
            assert!(logits(&got) == logits(&want), "{name}: {word} from a pack");
        }
        let bytes = |pack: &Path| -> u64 {
            let pack = Pack::parse(&fs::read(pack.join("minke.json")).expect("a manifest")).expect("a manifest");
            pack.files.iter().filter(|(name, _)| name.starts_with("model")).map(|(_, file)| file.size).sum()
        };
        println!("{name} as {word}: {} of {} bytes", bytes(&to), bytes(&whole));
        assert!(bytes(&to) < bytes(&whole), "{name} as {word} is smaller");
    }
}

#[test]
fn packs_of_safetensors_load_as_their_sources() {
    // Tied and untied embeddings; experts in separate tensors, in one, and transposed; latent attention; FP8; shared
    // experts.
    for case in [
        "llama",
        "phi3",
        "mixtral",
        "deepseek_v2_full",
        "deepseek_v3_fp8",
        "gpt_oss",
        "llama4_text",
        "qwen2_moe",
        "deepseek_v2",
    ] {
        let Some(folder) = golden(&format!("models/{case}")) else { return };
        check(&folder, case);
    }
}

/// Some exporters write an index for a single shard.
#[test]
fn a_single_shard_is_packed_with_its_index() {
    const SHARD: &str = "model-00001-of-00001.safetensors";
    let Some(whole) = golden("models/llama_v5cfg") else { return };
    let from = scratch("one-shard-source");
    fs::create_dir_all(&from).expect("a folder");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(whole.join(name), from.join(name)).expect("a copy");
    }
    let weights = fs::read(whole.join("model.safetensors")).expect("weights");
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().expect("a length")) as usize;
    let header: Value = serde_json::from_slice(&weights[8..header]).expect("JSON");
    let names = header.as_object().expect("tensors").keys().filter(|name| *name != "__metadata__");
    let map: serde_json::Map<String, Value> = names.map(|name| (name.clone(), SHARD.into())).collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    fs::write(from.join(SHARD), weights).expect("the shard is written");
    fs::write(from.join("model.safetensors.index.json"), index.to_string()).expect("the index is written");

    let to = scratch("one-shard");
    pack(&from, &to, &[]);
    let [source, packed] = [&from, &to].map(|folder| load(folder, LoadOptions::default()).expect("it loads"));
    assert!(logits(&packed) == logits(&source));
}

#[test]
fn packed_4_bit_floats_stay_as_they_are() {
    let Some(folder) = golden("models/gpt_oss_mxfp4") else { return };
    check(&folder, "gpt_oss_mxfp4");
}

#[test]
fn a_pack_of_gguf_is_a_gguf_file() {
    for case in ["llama", "qwen2/split", "qwen2_tied"] {
        let Some(folder) = golden(&format!("gguf/{case}")) else { return };
        let files = fs::read_dir(&folder).expect("a folder").map(|e| e.expect("an entry").path());
        let file = files.filter(|path| path.extension().is_some_and(|e| e == "gguf")).min().expect("a GGUF file");
        let name = format!("gguf-{}", case.replace('/', "-"));
        let (whole, to) = (scratch(&name), scratch(&format!("{name}-q8")));
        pack(&file, &whole, &[]);
        let source = load(&file, LoadOptions::default()).expect("the source loads");
        assert!(logits(&load(&whole, LoadOptions::default()).expect("it loads")) == logits(&source), "{case}: as is");
        pack(&file, &to, &["--quantization", "q8"]);
        let want = logits(&load(&file, as_(Some(Quantization::Q8))).expect("the source loads"));
        assert!(logits(&load(&to, as_(Some(Quantization::None))).expect("it loads")) == want, "{case}: q8");
        // Concatenated by hand, the parts are an ordinary file.
        let pack = Pack::parse(&fs::read(to.join("minke.json")).expect("a manifest")).expect("a manifest");
        let parts = pack.files["model.gguf"].parts.iter();
        let joined = parts.flat_map(|part| fs::read(to.join(&part.name)).expect("a part")).collect::<Vec<u8>>();
        let alone = scratch(&format!("{name}-joined"));
        fs::create_dir_all(&alone).expect("a folder");
        fs::write(alone.join("model.gguf"), joined).expect("a file");
        let alone = load(&alone.join("model.gguf"), as_(Some(Quantization::None))).expect("it loads");
        assert!(logits(&alone) == want, "{case}: joined");
    }
}

/// A GGUF file with its matrices as f16.
fn in_f16(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).expect("a file");
    let header = block_on(read_header(&DiskFile::open(file).expect("a file"), 0)).expect("a header");
    let place = |name: &String| {
        let name = gguf::string(name);
        bytes.windows(name.len()).position(|window| *window == name).expect("it describes the tensor")
    };
    let described = header.tensors.keys().map(place).min().expect("there are tensors");
    let (mut out, mut data) = (bytes[..described].to_vec(), Vec::<u8>::new());
    for (name, entry) in &header.tensors {
        let dims: Vec<u64> = entry.shape.iter().rev().copied().collect();
        let stored = &bytes[entry.range.start as usize..entry.range.end as usize];
        let (dtype, stored) = match dims.len() {
            1 => (entry.dtype, stored.to_vec()),
            _ => {
                let values = dequantize_rows(entry.dtype, entry.k() as usize, stored).expect("they have values");
                (Dtype::F16, values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect())
            }
        };
        out.extend(gguf::tensor(name, &dims, dtype.ggml().expect("a format of GGUF"), data.len() as u64));
        data.extend(&stored);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

#[test]
fn numbers_in_gguf_become_blocks() {
    let Some(file) = golden("gguf/llama/model.gguf") else { return };
    let from = scratch("f16").with_extension("gguf");
    fs::write(&from, in_f16(&file)).expect("a file");
    for (word, quantization) in [("q8", Quantization::Q8), ("q4", Quantization::Q4)] {
        let to = scratch(&format!("f16-{word}"));
        pack(&from, &to, &["--quantization", word]);
        let want = load(&from, as_(Some(quantization))).expect("the source loads");
        let got = load(&to, LoadOptions::default()).expect("it loads");
        assert_eq!(got.info().quantization, want.info().quantization);
        assert!(logits(&got) == logits(&want), "{word}");
    }
}

#[test]
fn a_pack_can_be_packed_again() {
    let Some(folder) = golden("models/qwen3") else { return };
    let (first, second, third) = (scratch("first"), scratch("second"), scratch("third"));
    pack(&folder, &first, &[]);
    pack(&first, &second, &["--quantization", "q4"]);
    pack(&folder, &third, &["--quantization", "q4", "--verify-load"]);
    let manifest = |folder: &Path| fs::read(folder.join("minke.json")).expect("a manifest");
    assert_eq!(manifest(&second), manifest(&third));
    // A non-empty folder is left unchanged.
    let output = minke(&["pack", folder.to_str().expect("UTF-8"), third.to_str().expect("UTF-8")]);
    assert_eq!((output.status.code(), manifest(&third)), (Some(1), manifest(&second)));
    assert!(text(&output.stderr).contains("[invalid-argument]"), "{output:?}");
}

#[test]
fn damage_is_a_typed_error() {
    let Some(folder) = golden("models/llama") else { return };
    let to = scratch("damaged");
    pack(&folder, &to, &["--quantization", "q8"]);
    let path = to.to_str().expect("UTF-8");
    let pack = Pack::parse(&fs::read(to.join("minke.json")).expect("a manifest")).expect("a manifest");
    let part = to.join(&pack.files["model.safetensors"].parts[2].name);
    let whole = fs::read(&part).expect("a part");
    let run = || text(&minke(&["run", path, "--prompt", "x", "--max-tokens", "1"]).stderr);

    let mut flipped = whole.clone();
    flipped[4000] ^= 1;
    fs::write(&part, &flipped).expect("a part");
    assert!(run().contains("[integrity]"), "{}", run());

    fs::write(&part, &whole[..whole.len() - 1]).expect("a part");
    assert!(run().contains("[SizeMismatch]"), "{}", run());
    let error = load(&to, LoadOptions::default()).expect_err("a short part");
    assert!(matches!(error, Error::Format { kind: FormatKind::SizeMismatch, .. }), "{error}");

    fs::remove_file(&part).expect("a part");
    assert!(run().contains("[MissingShard]"), "{}", run());
    let error = load(&to, LoadOptions::default()).expect_err("a part is missing");
    assert!(matches!(error, Error::Format { kind: FormatKind::MissingShard, .. }), "{error}");
}

fn inspect(path: &Path) -> (Option<i32>, Value) {
    let output = minke(&["inspect", path.to_str().expect("UTF-8"), "--json"]);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (output.status.code(), report)
}

#[test]
fn inspect_says_what_every_case_is() {
    let Some(root) = golden("models") else { return };
    for entry in fs::read_dir(&root).expect("a folder") {
        let folder = entry.expect("an entry").path();
        let read = |name: &str| serde_json::from_slice(&fs::read(folder.join(name)).expect("a file")).expect("JSON");
        let (config, golden): (Value, Value) = (read("config.json"), read("golden.json"));
        let text_config = config.get("text_config").unwrap_or(&config);
        let (code, report) = inspect(&folder);
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!((code, &report["problem"]), (Some(0), &Value::Null), "{name}: {report}");
        assert_eq!(report["architecture"], text_config["model_type"], "{name}");
        assert_eq!(report["vocabSize"], text_config["vocab_size"], "{name}");
        // Transformers does not count the router's corrections as parameters.
        let checkpoint = block_on(Checkpoint::open_folder(&DiskFolder::new(&folder), &accept)).expect("it opens");
        let corrections = checkpoint.tensors.values().filter(|entry| entry.name.ends_with("e_score_correction_bias"));
        let corrections: u64 = corrections.map(TensorEntry::elements).sum();
        let parameters = report["parameters"].as_u64().map(|all| all - corrections);
        assert_eq!(parameters, golden["params"].as_u64(), "{name}");
        assert!(report["activeParameters"].as_u64() <= report["parameters"].as_u64(), "{name}");
        let costs = report["costs"].as_array().expect("costs");
        let gpu = |i: usize| costs[i]["gpuBytes"].as_u64().expect("bytes");
        assert!(gpu(0) >= gpu(1) && gpu(1) >= gpu(2) && gpu(2) > 0, "{name}: {costs:?}");
        let options = LoadOptions { quantization: Some(Quantization::Q4), ..on_gpu() };
        let engine = load(&folder, options).expect("it loads");
        let held = engine.memory().total();
        assert!(gpu(2).abs_diff(held) * 20 <= held, "{name}: {} estimated, {held} held", gpu(2));
    }
}

#[test]
fn inspect_reads_gguf_and_packs() {
    let Some(root) = golden("gguf") else { return };
    for (place, tied) in [("llama/model.gguf", false), ("qwen2/split", false), ("qwen2_tied/model.gguf", true)] {
        let (code, report) = inspect(&root.join(place));
        assert_eq!((code, &report["format"], &report["problem"]), (Some(0), &"gguf".into(), &Value::Null), "{report}");
        assert_eq!(report["files"].as_u64() > Some(1), place.ends_with("split"), "{report}");
        let to = scratch(&format!("inspected-{tied}"));
        pack(&root.join(place), &to, &["--quantization", "q8"]);
        let (code, packed) = inspect(&to);
        assert_eq!((code, &packed["pack"], &packed["files"]), (Some(0), &"q8".into(), &1.into()), "{packed}");
        assert_eq!(packed["parameters"], report["parameters"]);
        // The name of the whole file, which does not exist.
        assert_eq!(inspect(&to.join("model.gguf")), (Some(0), packed));
    }
}

#[test]
fn a_directory_of_gguf_is_recognised_by_contents() {
    let Some(root) = golden("gguf") else { return };
    let (from, to) = (root.join("qwen2/split"), scratch("renamed"));
    fs::create_dir_all(&to).expect("a folder");
    let names = ["model (2).gguf", "model.gguf", "model(1)"];
    for (name, number) in names.into_iter().zip([3, 1, 2]) {
        fs::copy(from.join(format!("model-{number:05}-of-00003.gguf")), to.join(name)).expect("a copy");
    }
    let keys = [("general.type".to_owned(), gguf::text("mmproj"))].into();
    fs::write(to.join("a.gguf"), gguf::file("clip", &keys, &std::collections::BTreeMap::new())).expect("a file");
    fs::write(to.join("config.json"), "{}").expect("a file"); // repositories of GGUF files have one
    let (code, mut report) = inspect(&to);
    assert_eq!((code, &report["files"]), (Some(0), &3.into()), "{report}");
    let told = report["warnings"].as_array_mut().expect("warnings").remove(0);
    assert_eq!(told["code"], "unused-file");
    assert!(told["message"].as_str().expect("a sentence").starts_with("a.gguf is not used"), "{told}");
    // Each part by name, and a pack of all parts.
    assert_eq!(inspect(&to.join(names[2])), (Some(0), report));
    let packed = scratch("renamed-packed");
    pack(&to, &packed, &[]);
    let want = load(&from.join("model-00001-of-00003.gguf"), LoadOptions::default()).expect("the source loads");
    assert!(logits(&load(&packed, LoadOptions::default()).expect("it loads")) == logits(&want));
    fs::copy(root.join("llama/model.gguf"), to.join("other.GGUF")).expect("a copy");
    let (code, report) = inspect(&to);
    let problem = report["problem"]["message"].as_str().expect("a sentence");
    assert!(code == Some(1) && problem.contains("model.gguf, other.GGUF; name one of them"), "{problem}");
}

#[test]
fn a_pack_that_is_not_cut_is_a_pack() {
    let Some(folder) = golden("models/llama") else { return };
    for options in [&[][..], &["--quantization", "q8"]] {
        let to = scratch("uncut");
        let paths = [&folder, &to].map(|path| path.to_str().expect("UTF-8"));
        assert!(minke(&[&["pack", paths[0], paths[1]], options].concat()).status.success());
        let entry = if options.is_empty() { "model.safetensors.index.json" } else { "model.safetensors" };
        // A reader does not find the file under its own name, and reads the manifest.
        assert!(!to.join(entry).exists() && to.join(format!("{entry}.00001-of-00001")).exists(), "{entry}");
        assert!(load(&to, LoadOptions::default()).is_ok());
    }
}

#[test]
fn inspect_says_why_not() {
    let Some(folder) = golden("models/llama") else { return };
    let to = scratch("zebra");
    fs::create_dir_all(&to).expect("a folder");
    for entry in fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
    let config = fs::read_to_string(to.join("config.json")).expect("UTF-8");
    fs::write(to.join("config.json"), config.replace("\"llama\"", "\"zebra\"").replace("Llama", "Zebra"))
        .expect("a file");
    let (code, report) = inspect(&to);
    assert_eq!(
        (code, &report["architecture"], &report["problem"]["code"]),
        (Some(1), &"zebra".into(), &"architecture".into())
    );
    assert!(report["tensors"]["BF16"]["count"].as_u64() > Some(10), "{report}");
    let (code, report) = inspect(&to.join("nothing"));
    assert_eq!((code, &report["problem"]["code"]), (Some(1), &"format".into()));
    let output = minke(&["inspect", to.to_str().expect("UTF-8")]);
    assert!(text(&output.stdout).contains("will not run: architecture \"zebra\""), "{output:?}");
    for wrong in [&["inspect"][..], &["zebra"], &["run", "x"], &["pack", "a", "b", "--shard-size", "0"]] {
        assert_eq!(minke(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn run_prints_the_golden_greedy_text() {
    let Some(folder) = golden("models/llama") else { return };
    let golden: Value = serde_json::from_slice(&fs::read(folder.join("golden.json")).expect("a file")).expect("JSON");
    let (chat, want) = (&golden["chats"][0], &golden["prompts"]["chat"]);
    assert_eq!(chat["ids"], want["ids"]);
    let prompt = chat["rendered"].as_str().expect("text").strip_prefix("<|bos|>").expect("raw text gets its own");
    let tokens = want["greedy_ids"].as_array().expect("ids").len().to_string();
    let path = folder.to_str().expect("UTF-8");
    let output = minke(&["run", path, "--raw", "--prompt", prompt, "--max-tokens", &tokens, "--temperature", "0"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), format!("{}\n", want["text"].as_str().expect("text")));
    assert!(text(&output.stderr).contains(&format!("{tokens} out")), "{output:?}");
}

#[test]
fn run_keeps_to_a_schema_or_a_grammar() {
    let Some(folder) = golden("models/llama") else { return };
    let path = folder.to_str().expect("UTF-8");
    let file = std::env::temp_dir().join(format!("minke-constraint-{}", std::process::id()));
    let name = file.to_str().expect("UTF-8");
    let cases = [
        ("--json-schema", r#"{ "const": { "a": [1, "two"] } }"#, Some("{\"a\": [1, \"two\"]}\n")),
        ("--grammar", "start: \"left\"", Some("left\n")),
        ("--json-schema", r#"{ "not": {} }"#, None),
    ];
    for (option, constraint, want) in cases {
        fs::write(&file, constraint).expect("a temporary file");
        let output = minke(&["run", path, "--raw", "--prompt", "x", option, name]);
        match want {
            Some(want) => assert_eq!(text(&output.stdout), want, "{output:?}"),
            None => assert!(
                text(&output.stderr).contains("#/not") && text(&output.stderr).contains("[constraint]"),
                "{output:?}"
            ),
        }
        assert_eq!(output.status.success(), want.is_some());
    }
    fs::remove_file(&file).expect("it was written");
}

#[test]
fn nothing_is_kept_of_what_was_not_timed() {
    let Some(folder) = golden("models/llama") else { return };
    let path = folder.to_str().expect("UTF-8");
    let file = std::env::temp_dir().join(format!("minke-tuning-{}", std::process::id()));
    let name = file.to_str().expect("UTF-8");
    let run = |name| {
        minke(&["run", path, "--raw", "--prompt", "x", "--max-tokens", "1", "--device", "cpu", "--tuning", name])
    };
    assert!(run(name).status.success());
    assert!(!file.exists());
    fs::write(&file, "2147483652\n").expect("a temporary file");
    assert!(run(name).status.success());
    assert_eq!(fs::read_to_string(&file).expect("it stays"), "2147483652\n");
    fs::remove_file(&file).expect("it was written");
    assert_eq!(run(path).status.code(), Some(2), "a folder is no file");
}

#[test]
fn reasoning_is_written_to_stderr() {
    let Some(folder) = golden("models/llama") else { return };
    let engine = load(&folder, LoadOptions::default()).expect("it loads");
    let options =
        GenerateOptions { temperature: Some(0.0), max_output_tokens: Some(12.0), ..GenerateOptions::default() };
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let want = block_on(engine.generate(Input::Text("Why?".into()), &options, &cancel, &mut quiet)).expect("a text");
    assert!(!want.reasoning.trim().is_empty(), "the template opens a thought");
    let path = folder.to_str().expect("UTF-8");
    let output = minke(&["run", path, "--prompt", "Why?", "--max-tokens", "12", "--temperature", "0"]);
    assert_eq!(text(&output.stdout), format!("{}\n", want.text));
    assert!(text(&output.stderr).contains(&want.reasoning), "{output:?}");
}
