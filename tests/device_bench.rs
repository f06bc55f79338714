//! Tests the program that measures a machine with a GPU and nothing else (`benches/device`): on its own in a folder, with a small model of
//! noise and with scripts in place of binaries of tests.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

#[path = "common/gguf.rs"]
mod gguf;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const HIDDEN: u64 = 128;
const VOCABULARY: u64 = 512;
const F32: u32 = 0;
const Q4_0: u32 = 2;
const Q8_0: u32 = 8;

/// The header of a file of a small Llama, and the length of the whole.
fn header() -> (Vec<u8>, u64) {
    let matrix = |name: &str, rows: u64, k: u64, dtype| (name.to_owned(), vec![k, rows], dtype);
    let mut tensors = vec![matrix("token_embd.weight", VOCABULARY, HIDDEN, Q8_0)];
    for (name, rows, k) in [
        ("attn_q", HIDDEN, HIDDEN),
        ("attn_k", HIDDEN / 2, HIDDEN),
        ("attn_v", HIDDEN / 2, HIDDEN),
        ("attn_output", HIDDEN, HIDDEN),
        ("ffn_gate", 256, HIDDEN),
        ("ffn_up", 256, HIDDEN),
        ("ffn_down", HIDDEN, 256),
    ] {
        tensors.push(matrix(&format!("blk.0.{name}.weight"), rows, k, Q4_0));
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        tensors.push((name.to_owned(), vec![HIDDEN], F32));
    }
    // The characters that stand for bytes in byte-level BPE, and some more.
    let stands = |c: &u32| !(127..161).contains(c) && *c != 173;
    let characters = (33..).filter(stands).take(VOCABULARY as usize);
    let tokens: Vec<String> = characters.map(|c| char::from_u32(c).expect("a character").to_string()).collect();
    let mut keys: BTreeMap<String, Vec<u8>> = [
        ("block_count", 1),
        ("context_length", 8192),
        ("embedding_length", HIDDEN as u32),
        ("feed_forward_length", 256),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
    ]
    .map(|(key, value)| (format!("llama.{key}"), gguf::u32v(value)))
    .into();
    keys.insert("llama.attention.layer_norm_rms_epsilon".into(), gguf::f32v(1e-5));
    keys.insert("tokenizer.ggml.model".into(), gguf::text("gpt2"));
    keys.insert("tokenizer.ggml.pre".into(), gguf::text("qwen2"));
    keys.insert("tokenizer.ggml.tokens".into(), gguf::texts(tokens.iter()));
    keys.insert("tokenizer.ggml.merges".into(), gguf::texts([].iter()));
    // The writer wants the bytes, of which only their number counts here.
    let stored = |(name, dims, dtype): (String, Vec<u64>, u32)| {
        let values = dims.iter().product::<u64>() as usize;
        let bytes = match dtype {
            F32 => values * 4,
            Q4_0 => values / 32 * 18,
            _ => values / 32 * 34,
        };
        let shape = dims.iter().rev().map(|&dim| dim as usize).collect();
        (name, gguf::Stored { shape, dtype, bytes: vec![0; bytes] })
    };
    let tensors: BTreeMap<_, _> = tensors.into_iter().map(stored).collect();
    let weights: usize = tensors.values().map(|stored| stored.bytes.len().next_multiple_of(32)).sum();
    let file = gguf::file("llama", &keys, &tensors);
    (file[..file.len() - weights].to_vec(), file.len() as u64)
}

/// A folder like an unpacked bundle.
struct Bundle(PathBuf);

impl Bundle {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("minke-device-bench-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of a run that was ended
        fs::create_dir_all(folder.join("shapes")).expect("a folder");
        fs::create_dir_all(folder.join("tests")).expect("a folder");
        fs::copy(example(), folder.join("bench_device")).expect("a copy");
        let (header, bytes) = header();
        let shapes: Vec<Value> = ["small", "last"]
            .map(|name| {
                fs::write(folder.join(format!("shapes/{name}.gguf")), &header).expect("a header");
                json!({ "name": name, "parameters": 1, "fileBytes": bytes, "bytesPerToken": 100_000, "cacheBytesPerToken": 256 })
            })
            .into();
        fs::write(folder.join("shapes/shapes.json"), json!(shapes).to_string()).expect("shapes");
        fs::write(folder.join("about.json"), r#"{"version":"0.0.0"}"#).expect("facts");
        let bundle = Self(folder);
        bundle.tests("kernels", "echo 'running 3 tests'; echo 'test kernels::a ... ok'; exec sleep 20");
        bundle.tests(
            "variants",
            "echo 'running 2 tests'; echo 'test a ... ok'; echo 'test b ... FAILED'; echo failures:; exit 101",
        );
        bundle.tests("golden", "test -n \"$MINKE_GOLDEN\" && echo 'running 1 test' && echo 'test a ... ok'");
        bundle
    }

    fn tests(&self, name: &str, script: &str) {
        let path = self.0.join("tests").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable");
    }

    /// The program as on a machine that has nothing but a driver.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = alone(self.0.join("bench_device"));
        command.args(words).current_dir(&self.0);
        command
    }

    /// Packs it as xtask does, and runs that in an empty folder.
    fn packed(&self, words: &[&str]) -> (Output, Value) {
        let there = self.0.join("there");
        fs::create_dir(&there).expect("a folder");
        let mut tar = Command::new("tar");
        tar.args(["czf", "there/bundle.tar.gz", "bench_device", "shapes", "tests", "about.json"]).current_dir(&self.0);
        assert!(tar.status().expect("tar runs").success());
        fs::write(there.join("run"), include_str!("../benches/device/run.sh")).expect("a script");
        let mut run = alone("/bin/sh");
        let out = self.0.join("device.json");
        run.current_dir(&there).arg("run").args(words).arg("--out").arg(&out).env("TMPDIR", &there);
        let output = run.output().expect("it runs");
        let left: Vec<_> = fs::read_dir(&there).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "it leaves nothing behind: {left:?}");
        (output, self.result().expect("a result"))
    }

    fn run(&self, words: &[&str]) -> (Output, Value) {
        let output = self.command(words).output().expect("it runs");
        (output, self.result().expect("a result"))
    }

    fn result(&self) -> Option<Value> {
        let text = fs::read(self.0.join("device.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("JSON, at any time"))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program without Cargo and its variables.
fn alone(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    for kept in ["VK_DRIVER_FILES", "XDG_RUNTIME_DIR"] {
        command.envs(std::env::var_os(kept).map(|value| (kept, value)));
    }
    command
}

/// The program, which Cargo builds now if it has not yet.
fn example() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "bench_device"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("Cargo runs").success(), "the example is built");
    // target/PROFILE/deps/this
    let deps = std::env::current_exe().expect("a path");
    let profile = deps.ancestors().nth(2).expect("a profile's folder");
    profile.join("examples/bench_device")
}

#[test]
fn parts_are_measured_and_what_fails_is_told() {
    let bundle = Bundle::new("whole");
    let (output, result) = bundle.packed(&["--slow", "--only", "adapter,bandwidth,small,variant tests,golden tests"]);
    assert!(!output.status.success(), "tests failed, and the status says so");
    let parts = &result["parts"];
    println!("{result:#}");
    assert_eq!(result["complete"], true);
    assert_eq!(result["about"]["version"], "0.0.0");
    assert!(parts["adapter"]["result"]["name"].as_str().is_some_and(|name| !name.is_empty()));
    assert!(parts["bandwidth"]["result"]["gigabytesPerSecond"].as_f64().is_some_and(|rate| rate > 0.0));
    let small = &parts["small"];
    assert_eq!(small["status"], "done");
    let small = &small["result"];
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    assert!(positive(&small["chosen"]["prefill"]["tokensPerSecond"]));
    assert!(positive(&small["chosen"]["decode"]["128"]["shareOfBandwidth"]));
    assert!(positive(&small["chosen"]["decode"]["4096"]["tokensPerSecond"]));
    assert!(positive(&small["kvCache"]["q8"]["decode"]["4096"]["tokensPerSecond"]));
    for plan in ["decode", "prefill"] {
        let steps = small["steps"][plan].as_array().expect("steps");
        assert!(steps.len() > 5 && steps.iter().all(|step| positive(&step["microseconds"])), "{plan}: {steps:?}");
    }
    let adapter = &parts["adapter"]["result"];
    for variant in adapter["variants"].as_array().expect("variants").iter().chain([&json!("none")]) {
        let name = variant.as_str().expect("a name");
        let alone = &small["variants"][name];
        assert!(positive(&alone["prefill"]["tokensPerSecond"]), "{name}: {alone}");
        assert_eq!(alone["kernels"].as_object().expect("kernels").contains_key(name), name != "none");
    }
    let variants = &parts["variant tests"];
    assert_eq!((&variants["status"], &variants["result"]["failed"]), (&json!("failed"), &json!(["b"])));
    assert_eq!(parts["golden tests"]["result"]["passed"], 1);
    assert!(parts["last"].is_null(), "it was not asked for");
}

#[test]
fn a_part_that_takes_too_long_is_cut_and_later_ones_are_skipped() {
    let bundle = Bundle::new("cut");
    let began = Instant::now();
    let (output, result) = bundle.run(&["--only", "kernel tests,golden tests", "--seconds", "2"]);
    assert!(output.status.success(), "nothing is wrong");
    assert!(began.elapsed() < Duration::from_secs(15));
    let parts = &result["parts"];
    assert_eq!(
        (&parts["kernel tests"]["status"], &parts["kernel tests"]["result"]["passed"]),
        (&json!("cut"), &json!(1))
    );
    assert_eq!(parts["kernel tests"]["result"]["unfinished"], 2);
    assert_eq!(parts["golden tests"]["status"], "skipped");
    assert_eq!(result["complete"], true);
}

#[test]
fn a_run_that_is_ended_leaves_what_it_had() {
    let bundle = Bundle::new("ended");
    let mut run = bundle.command(&["--only", "golden tests,adapter,kernel tests"]).spawn().expect("it runs");
    let began = Instant::now();
    let running = |result: &Value| result["parts"]["kernel tests"]["status"] == "running";
    while !bundle.result().is_some_and(|result| running(&result)) {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", bundle.result());
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill().expect("it runs yet");
    run.wait().expect("it ends");
    let result = bundle.result().expect("a result");
    assert_eq!(result["complete"], false);
    assert_eq!(result["parts"]["adapter"]["status"], "done");
}

#[test]
fn parts_that_do_not_exist_are_refused() {
    let bundle = Bundle::new("refused");
    let output = bundle.command(&["--only", "everything"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no part"));
}
