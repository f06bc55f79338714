//! `cargo xtask bench device`: makes the bundle that measures a machine with a GPU and a Vulkan driver and nothing else, and writes a
//! page of evidence from what it found there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::run::{self, root};
use crate::{assets, device_page};

/// Where the bundle lies, which git ignores.
const FOLDER: &str = "target/device";
/// The most bytes that are copied to such a machine.
const LIMIT: u64 = 64 << 20;
/// The tests that run kernels and whole models on a GPU, by the names of their binaries in the bundle.
const TESTS: [(&str, &str); 3] = [("kernels", "minke"), ("variants", "variants"), ("golden", "golden")];

/// What runs there: a shell and the usual tools suffice.
const RUN: &str = include_str!("../../benches/device/run.sh");

/// `[--record FILE]`
pub fn command(words: &[&str]) -> Result<()> {
    match words {
        [] => bundle(),
        ["--record", file] => record(Path::new(file)),
        _ => bail!("`cargo xtask bench device` takes nothing, or --record FILE"),
    }
}

/// Makes the bundle.
fn bundle() -> Result<()> {
    assets::golden()?;
    let stage = root().join(FOLDER).join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(stage.join("tests"))?;
    let built = executables(&["build", "--release", "--example", "bench_device"])?;
    strip(found(&built, "bench_device")?, &stage.join("bench_device"))?;
    let built = executables(&["test", "--release", "--no-run", "--lib", "--test", "variants", "--test", "golden"])?;
    for (name, target) in TESTS {
        strip(found(&built, target)?, &stage.join("tests").join(name))?;
    }
    let shapes = stage.join("shapes");
    run::check(run::command("node", &["benches/device/headers.mjs", &shapes.to_string_lossy()]))?;
    fs::write(stage.join("about.json"), serde_json::to_string_pretty(&about())?)?;
    let (bundle, script) = (root().join(FOLDER).join("bundle.tar.gz"), root().join(FOLDER).join("run"));
    let mut tar = run::command("tar", &["czf", &bundle.to_string_lossy(), "-C", &stage.to_string_lossy(), "."]);
    // The golden cases of whole models; the tests of the bundle read nothing else.
    tar.args(["-C", &root().join(".cache").to_string_lossy(), "golden/models", "golden/gguf"]);
    run::check(tar)?;
    fs::remove_dir_all(&stage)?;
    fs::write(&script, RUN)?;
    executable(&script)?;
    let bytes = [&bundle, &script].iter().map(|path| Ok(fs::metadata(path)?.len())).sum::<Result<u64>>()?;
    ensure!(bytes <= LIMIT, "the bundle has {bytes} bytes, and {LIMIT} can be copied");
    println!("{FOLDER}: {:.1} of at most {} MiB", bytes as f64 / f64::from(1 << 20), LIMIT >> 20);
    println!(
        "there: sh run [--seconds N] [--slow] [--only PART,…] [--out FILE]; here: cargo xtask bench device --record FILE"
    );
    Ok(())
}

/// What was built, so that a page can say it.
fn about() -> Value {
    let git = |words: &[&str]| run::quiet(run::command("git", words)).ok().map(|text| text.trim().to_owned());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": git(&["rev-parse", "--short=12", "HEAD"]),
        "changed": git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty()),
    })
}

/// Runs Cargo; returns the names of targets and the executables that were made of them.
fn executables(words: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = run::command("cargo", words);
    let output = cargo.args(["--message-format", "json"]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo {} failed", words.join(" "));
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_tests = words[0] == "test"; // which also makes the command, for tests of it
    Ok(parsed
        .filter(|m| m["profile"]["test"] == of_tests)
        .filter_map(|m| Some((m["target"]["name"].as_str()?.to_owned(), m["executable"].as_str()?.into())))
        .collect())
}

fn found<'a>(built: &'a [(String, PathBuf)], target: &str) -> Result<&'a Path> {
    let path = built.iter().rev().find(|(name, _)| name == target).map(|(_, path)| path.as_path());
    path.with_context(|| format!("Cargo made no executable of {target}"))
}

fn strip(from: &Path, to: &Path) -> Result<()> {
    run::check(run::command("strip", &["-o", &to.to_string_lossy(), &from.to_string_lossy()]))
}

#[cfg(unix)]
fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    bail!("the bundle is for Linux, and made there")
}

/// Writes the page of a result.
fn record(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let result: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    let (name, page) = device_page::of(&result)?;
    let path = format!("docs/evidence/{name}");
    fs::write(root().join(&path), page)?;
    println!("{path} is written");
    Ok(())
}
