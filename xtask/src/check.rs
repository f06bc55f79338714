//! `cargo xtask test`: runs all checks; a failed one does not stop those after it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::run::{self, root};
use crate::skips::{self, Skip};
use crate::{fuzz, setup, site};

/// Seconds per fuzz target: enough for known findings and fresh regressions; `cargo xtask fuzz` runs longer.
const FUZZ_SECONDS: u64 = 10;
/// How many of the slowest steps are printed at the end.
const SLOWEST: usize = 10;

/// Tests that need no built package: folder and file.
const UNBUILT: [(&str, &str); 7] = [
    ("tests/browser", "imports"),
    ("tests/browser", "facade"),
    ("tests/browser", "options"),
    ("tests/browser", "sessions"),
    ("tests/browser", "tools"),
    ("tests/chat", "data"),
    ("tests/chat", "text"),
];
/// Tests of the built package.
const BUILT: [(&str, &str); 32] = [
    ("tests/clients", "subpaths"),
    ("tests/clients", "package"),
    ("tests/clients", "bundlers"),
    ("tests/clients", "testing"),
    ("tests/clients", "openai"),
    ("tests/clients", "responses"),
    ("tests/clients", "webllm"),
    ("tests/clients", "ai-sdk"),
    ("tests/clients", "react"),
    ("tests/clients", "langchain"),
    ("tests/clients", "prompt-api"),
    ("tests/clients", "types"),
    ("tests/clients", "serve"),
    ("tests/clients", "chromium"),
    ("tests/browser", "worker"),
    ("tests/browser", "browser"),
    ("tests/browser", "processor"),
    ("tests/browser", "tuning"),
    ("tests/browser", "constraint"),
    ("tests/browser", "store"),
    ("tests/browser", "servers"),
    ("tests/browser", "reports"),
    ("tests/browser", "hub"),
    ("tests/browser", "memory"),
    ("tests/browser", "site"),
    ("tests/chat", "conversations"),
    ("tests/chat", "interruptions"),
    ("tests/chat", "shell"),
    ("tests/chat", "models"),
    ("tests/chat", "settings"),
    ("tests/browser", "hostile"),
    ("tests/browser", "firefox"),
];

/// The results of the checks, counted.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    /// What failed, by name; printed last, where a log that is shown in part still has it.
    broken: Vec<String>,
    skipped: Vec<Skip>,
    /// Seconds of each step and, for Rust tests, of each file.
    took: Vec<(f32, String)>,
}

/// Runs everything; an error if anything failed.
pub fn all() -> Result<()> {
    let began = Instant::now();
    setup::everything()?;
    let mut tally = Tally::default();
    tally.step("rustfmt", || run::quiet(run::command("cargo", &["fmt", "--all", "--check"])).map(drop));
    // One core links the package for a minute; meanwhile the others run checks in a separate target folder.
    let (package, checks) = thread::scope(|scope| {
        let package = scope.spawn(|| timed("package and site (with tsc)", site::build));
        let checks = [
            timed("clippy, host", || clippy(&["--workspace", "--all-targets"])),
            timed("clippy, wasm32", || {
                clippy(&["--package", "minke", "--lib", "--target", "wasm32-unknown-unknown"])?;
                clippy(&["--package", "minke-worker", "--target", "wasm32-unknown-unknown"])?;
                clippy(&["--package", "minke-constraint", "--target", "wasm32-unknown-unknown"])
            }),
            timed("native tests, compiled", || run::quiet(native(&["--no-run"])).map(drop)),
        ];
        (package.join().expect("the build does not panic"), checks)
    });
    let built = tally.record(package);
    for check in checks {
        tally.record(check);
    }
    tally.native()?;
    tally.step("fuzz targets", || fuzz::run(&fuzz::TARGETS, FUZZ_SECONDS));
    tally.step("every file of tests in JavaScript is run", every_file);
    for (folder, file) in UNBUILT {
        tally.node(folder, file)?;
    }
    if built {
        for (folder, file) in BUILT {
            tally.node(folder, file)?;
        }
        tally.step("store campaign, each fault once", || {
            run::quiet(run::command("node", &["tests/browser/soak.mjs", "faults", "--seeds", "1"])).map(drop)
        });
    }
    let missing = skips::judge(&tally.skipped);
    tally.failed += missing;
    if missing > 0 {
        tally.broken.push(format!("{missing} skips that are not allowed"));
    }
    tally.took.sort_by(|a, b| b.0.total_cmp(&a.0));
    let slowest: Vec<String> = tally.took.iter().take(SLOWEST).map(|(s, name)| format!("{name} {s:.0} s")).collect();
    println!("{:.0} s in all; the slowest: {}", began.elapsed().as_secs_f32(), slowest.join(", "));
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped.len());
    if tally.failed > 0 {
        bail!("{} checks failed: {}", tally.failed, tally.broken.join("; "));
    }
    Ok(())
}

/// `cargo xtask soak cases`: runs completely what `all` only runs in part, or omits because it proves no more than the
/// rest does.
pub fn cases() -> Result<()> {
    setup::everything()?;
    site::build()?;
    let everything = |mut command: Command| {
        command.env("MINKE_ALL", "1");
        vulkan(&mut command)?;
        run::check(command)
    };
    everything(native(&[]))?;
    for file in ["browser", "reports", "hostile"] {
        everything(run::command("node", &["--test", &format!("tests/browser/{file}.test.mjs")]))?;
    }
    run::check(run::command("node", &["tests/browser/soak.mjs", "--seeds", "1"]))
}

/// Fails if a folder has a file of tests that is not listed.
fn every_file() -> Result<()> {
    for folder in ["tests/browser", "tests/clients", "tests/chat"] {
        for entry in fs::read_dir(root().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some(file) = name.strip_suffix(".test.mjs") else { continue };
            ensure!(
                UNBUILT.iter().chain(&BUILT).any(|listed| *listed == (folder, file)),
                "{folder}/{name} is not listed"
            );
        }
    }
    Ok(())
}

/// The result of a check.
struct Outcome {
    name: &'static str,
    result: Result<()>,
    seconds: f32,
}

fn timed(name: &'static str, check: impl FnOnce() -> Result<()>) -> Outcome {
    let began = Instant::now();
    let result = check();
    Outcome { name, result, seconds: began.elapsed().as_secs_f32() }
}

/// `cargo test` of everything except the fuzz targets, with additional arguments.
fn native(words: &[&str]) -> Command {
    let mut tests = run::command("cargo", &["test", "--workspace", "--exclude", "minke-fuzz", "--no-fail-fast"]);
    tests.args(words);
    tests
}

fn clippy(what: &[&str]) -> Result<()> {
    let mut clippy = run::command("cargo", &["clippy", "--quiet"]);
    clippy.args(what).args(["--", "--deny", "warnings"]);
    run::quiet(clippy).map(drop)
}

impl Tally {
    /// One check that passes or fails as a whole.
    fn step(&mut self, name: &'static str, check: impl FnOnce() -> Result<()>) -> bool {
        self.record(timed(name, check))
    }

    /// Records the result of a check; returns whether it passed.
    fn record(&mut self, Outcome { name, result, seconds }: Outcome) -> bool {
        self.took.push((seconds, name.to_owned()));
        match &result {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {name} ({seconds:.1} s)");
            }
            Err(error) => {
                self.failed += 1;
                self.broken.push(name.to_owned());
                println!("FAILED  {name} ({seconds:.1} s)\n{error:#}");
            }
        }
        result.is_ok()
    }

    /// The Rust tests.
    fn native(&mut self) -> Result<()> {
        let began = Instant::now();
        let log = root().join("target/native-tests.log");
        let mut tests = native(&["--", "--nocapture"]);
        vulkan(&mut tests)?;
        let ok = logged(tests, &log)?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let (mut passed, mut failed, mut returned) = (0, 0, 0);
        let mut file = "";
        for line in text.lines() {
            // `     Running tests/golden.rs (target/…)` precedes the tests of a file.
            if let Some(running) = line.trim_start().strip_prefix("Running ") {
                file = running.split(" (").next().unwrap_or("");
            }
            if let Some(skip) = Skip::native(file, line) {
                // For cargo, a test that returned early has passed.
                returned += 1;
                self.skipped.push(skip);
            }
            if let Some(at) = line.find("test result: ") {
                passed += number_before(&line[at..], " passed");
                failed += number_before(&line[at..], " failed");
                self.skipped.extend(Skip::ignored(file, number_before(&line[at..], " ignored")));
                let seconds = line.rsplit("finished in ").next().and_then(|end| end.trim_end_matches('s').parse().ok());
                self.took.extend(seconds.map(|seconds| (seconds, file.to_owned())));
            }
        }
        // A test binary that does not build or dies leaves no result line.
        failed = failed.max(usize::from(!ok));
        if failed > 0 {
            let broken = Failed::of(&text);
            if broken.is_empty() {
                println!("{}", last_lines(&text, 120));
            }
            for Failed { file, test, why } in broken {
                println!("{file}: {test}\n{why}");
                self.broken.push(format!("native tests: {test} of {file}"));
            }
        }
        self.report("native tests", passed.saturating_sub(returned), failed, began);
        Ok(())
    }

    /// One file of Node's tests.
    fn node(&mut self, folder: &str, name: &str) -> Result<()> {
        let began = Instant::now();
        let tap = root().join(format!("target/{name}.tap"));
        let spec = root().join(format!("target/{name}.log"));
        let mut node = run::command("node", &["--test", "--test-reporter=spec", "--test-reporter-destination=stdout"]);
        node.arg("--test-reporter=tap").arg(format!("--test-reporter-destination={}", tap.display()));
        node.arg(format!("{folder}/{name}.test.mjs"));
        vulkan(&mut node)?;
        let ok = logged(node, &spec)?;
        let text = fs::read_to_string(&tap).unwrap_or_default();
        let count = |what: &str| {
            let prefix = format!("# {what} ");
            text.lines().rev().find_map(|line| line.strip_prefix(&prefix)?.parse::<usize>().ok()).unwrap_or(0)
        };
        let failed = (count("fail") + count("cancelled")).max(usize::from(!ok));
        self.skipped.extend(text.lines().filter_map(|line| Skip::node(&format!("{name}.test.mjs"), line)));
        if failed > 0 {
            println!("{}", fs::read_to_string(&spec)?);
        } else {
            // Measurements of tests.
            fs::read_to_string(&spec)?
                .lines()
                .filter(|l| l.contains("per decoded token") || l.contains("slowest refusal"))
                .for_each(|l| println!("{l}"));
        }
        self.took.push((began.elapsed().as_secs_f32(), name.to_owned()));
        self.report(&format!("{name} tests"), count("pass"), failed, began);
        Ok(())
    }

    fn report(&mut self, name: &str, passed: usize, failed: usize, began: Instant) {
        self.passed += passed;
        self.failed += failed;
        if failed > 0 && !self.broken.iter().any(|broken| broken.starts_with(name)) {
            self.broken.push(name.to_owned());
        }
        let word = if failed == 0 { "ok     " } else { "FAILED " };
        println!("{word} {name}: {passed} passed, {failed} failed ({:.1} s)", began.elapsed().as_secs_f32());
    }
}

/// A Rust test that failed.
#[derive(Debug, PartialEq, Eq)]
struct Failed<'a> {
    file: &'a str,
    test: &'a str,
    /// The first lines of its panic.
    why: String,
}

impl<'a> Failed<'a> {
    /// Those that the output of `cargo test -- --nocapture` tells.
    fn of(text: &'a str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut file = "";
        for line in text.lines() {
            if let Some(running) = line.trim_start().strip_prefix("Running ") {
                file = running.split(" (").next().unwrap_or("");
            }
            let test = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
            found.extend(test.map(|test| Self { file, test, why: panic_of(text, test) }));
        }
        found
    }
}

/// The first lines that the panic of a test printed.
fn panic_of(text: &str, test: &str) -> String {
    let begin = format!("thread '{test}' ");
    let lines = text.lines().skip_while(|line| !line.starts_with(&begin));
    lines.take_while(|line| !line.starts_with("stack backtrace:")).take(20).collect::<Vec<_>>().join("\n")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Runs a command with all output in a file; returns whether it succeeded.
fn logged(mut command: Command, log: &PathBuf) -> Result<bool> {
    let file = File::create(log).with_context(|| log.display().to_string())?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    Ok(command.status()?.success())
}

/// Selects Mesa's software device for Vulkan, and creates the runtime folder that the loader requires.
pub fn vulkan(command: &mut Command) -> Result<()> {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        let folder = root().join("target/run");
        fs::create_dir_all(&folder)?;
        command.env("XDG_RUNTIME_DIR", folder);
    }
    let given = command.get_envs().any(|(name, _)| name == "VK_DRIVER_FILES");
    if !given && std::env::var_os("VK_DRIVER_FILES").is_none() {
        let drivers =
            fs::read_dir("/usr/share/vulkan/icd.d").into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
        let is_lavapipe =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp"));
        if let Some(driver) = drivers.into_iter().find(is_lavapipe) {
            command.env("VK_DRIVER_FILES", driver);
        }
    }
    Ok(())
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.find(word).map_or("", |at| &text[..at]);
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_named() {
        let log = "     Running tests/a.rs (target/a)\n\nthread 'one' (7) panicked at tests/a.rs:1:5:\nleft\nstack backtrace:\n   0: x\n\
                   test one ... FAILED\ntest two ... ok\n     Running tests/b.rs (target/b)\ntest three ... ok\n";
        let why = "thread 'one' (7) panicked at tests/a.rs:1:5:\nleft".to_owned();
        assert_eq!(Failed::of(log), [Failed { file: "tests/a.rs", test: "one", why }]);
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
    }
}
