//! `cargo xtask fuzz`: runs libFuzzer on the parsers of untrusted files, with stable Rust.
//!
//! Coverage is an LLVM pass that any rustc can run. Only this project's crates are compiled with it: this program wraps
//! the compiler (`RUSTC_WORKSPACE_WRAPPER`) and adds the flags.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{self, root};

/// The environment variable that marks a run as the compiler wrapper.
const WRAPPER: &str = "MINKE_FUZZ_WRAPPER";

pub const TARGETS: [&str; 7] = ["gguf", "safetensors", "index", "config", "tokenizer", "template", "pack"];

const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Runs as the compiler wrapper if Cargo called this program as one; otherwise `None`.
pub fn wrapped() -> Option<std::io::Result<std::process::ExitStatus>> {
    std::env::var_os(WRAPPER)?;
    let mut arguments = std::env::args().skip(1);
    let mut rustc = Command::new(arguments.next()?);
    let arguments: Vec<String> = arguments.collect();
    let ours = arguments.windows(2).any(|w| w[0] == "--crate-name" && (w[1] == "minke" || w[1].starts_with("fuzz_")));
    rustc.args(&arguments).args(COVERAGE.iter().filter(|_| ours));
    Some(rustc.status())
}

/// Fuzzes the targets, two at a time, `seconds` each.
pub fn run(targets: &[&str], seconds: u64) -> Result<()> {
    if let Some(unknown) = targets.iter().find(|t| !TARGETS.contains(t)) {
        bail!("no fuzz target {unknown:?}; there are {}", TARGETS.join(", "));
    }
    if !run::exists("c++") {
        crate::setup::require_debian(&["g++"]).context("libFuzzer needs a C++ compiler")?;
    }
    // The hostile test writes the seed corpora.
    let corpus = root().join("target/hostile/corpus");
    if targets.iter().any(|target| !corpus.join(target).is_dir()) {
        run::quiet(run::command("cargo", &["test", "--quiet", "--test", "hostile", "table"]))?;
    }
    let mut build = run::command("cargo", &["build", "--quiet", "--package", "minke-fuzz", "--bins"]);
    build.env(WRAPPER, "1").env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?);
    run::quiet(build)?;
    let mut failed = Vec::new();
    for pair in targets.chunks(2) {
        let running: Vec<(&str, Child)> =
            pair.iter().map(|target| Ok((*target, start(target, seconds)?))).collect::<Result<_>>()?;
        for (target, mut child) in running {
            let ok = child.wait()?.success();
            let log = fs::read_to_string(root().join(format!("target/fuzz/{target}.log")))?;
            if ok {
                println!("fuzz {target}: {}", summary(&log));
            } else {
                let lines: Vec<&str> = log.lines().collect();
                println!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
                failed.push(target);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("found something: {} (inputs in target/fuzz)", failed.join(", ")) }
}

fn start(target: &str, seconds: u64) -> Result<Child> {
    let folder = root().join("target/fuzz");
    let found = folder.join(target);
    fs::create_dir_all(&found)?;
    let log = fs::File::create(folder.join(format!("{target}.log")))?;
    let program = root().join(format!("target/debug/fuzz_{target}"));
    // The stack size of WebAssembly.
    let script = "ulimit -s 1024; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(program);
    // A busy machine must not cause a finding: the cost of inputs is tested elsewhere, in CPU time.
    command.arg(format!("-max_total_time={seconds}")).args(["-timeout=60", "-rss_limit_mb=1024", "-max_len=65536"]);
    command
        .args(["-print_final_stats=1", "-verbosity=0"])
        .arg(format!("-artifact_prefix={}/{target}-", folder.display()));
    command.arg(&found).arg(root().join("target/hostile/corpus").join(target)).current_dir(&folder);
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start the fuzz target {target}"))
}

/// libFuzzer's statistics.
fn summary(log: &str) -> String {
    let stat =
        |name: &str| log.lines().rev().find_map(|l| Some(l.strip_prefix(&format!("stat::{name}:"))?.trim().to_owned()));
    let of = |name: &str| stat(name).unwrap_or_else(|| "?".into());
    format!(
        "{} inputs, {} kept as new, {} a second, {} MB at most, nothing found",
        of("number_of_executed_units"),
        of("new_units_added"),
        of("average_exec_per_sec"),
        of("peak_rss_mb")
    )
}
