//! `cargo xtask …`: set-up, builds and checks, so that a fresh machine only needs Rust, Node and Python.

#![forbid(unsafe_code)]

mod assets;
mod bench;
mod build;
mod check;
mod device;
mod device_page;
mod fuzz;
mod notices;
mod run;
mod setup;
mod site;
mod skips;

use anyhow::{Result, bail};

const HELP: &str = "cargo xtask build                 the npm package (pkg/dist)
cargo xtask site [FOLDER] [--as-built]   the whole static site (default: www/dist); without a build, of what there is
cargo xtask demo [--port N]       serve the site with the small demo model beside it
cargo xtask demo --prompt \"…\"     ask the demo model in headless Chromium, print its reply and exit
cargo xtask test                  every check: format, lints, types, native tests, the packed package in browsers
cargo xtask fuzz [T …] [--seconds N]   fuzz the parsers of untrusted files (default: each for 600 seconds)
cargo xtask soak [faults|tensors|kills|aborts|flips|quotas|tabs] [--seeds N]   the store's long campaign in headless Chromium (default: all, 25)
cargo xtask soak cases             every case of what the tests play a part of
cargo xtask soak constraints [--seeds N]   SmolLM2 within ten schemas, and how fast that is
cargo xtask soak bundlers [NAME …] [--record]   the packed package with every bundler, in headless Chromium
cargo xtask soak wpt FOLDER        the Prompt API's part of a checkout of web-platform-tests, on the echo model
cargo xtask soak memory [shape …] [--no-store] [--record]   what loads of large models take outside the GPU
cargo xtask bench [counts|host|ceiling|cpu|scaling|peers …] [--quick] [--rounds N] [--record]   what it costs, and others beside it
cargo xtask bench device           a bundle that measures a machine with a GPU and nothing else, in target/device
cargo xtask bench device --record FILE   the page of what it found there, in docs/evidence
cargo xtask gpu-stats [--record]  what a compiler for AMD's GPUs makes of the kernels, against what is recorded
cargo xtask setup                 only fetch what the above need";

fn main() {
    if let Some(status) = fuzz::wrapped() {
        std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
    }
    if let Err(error) = command(&std::env::args().skip(1).collect::<Vec<_>>()) {
        eprintln!("xtask: {error:#}");
        std::process::exit(1);
    }
}

fn command(args: &[String]) -> Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["build"] => build::all().map(drop),
        ["site", rest @ ..] => site::command(rest),
        ["demo", rest @ ..] => demo(rest),
        ["test"] => check::all(),
        ["fuzz", rest @ ..] => fuzz(rest),
        ["soak", rest @ ..] => soak(rest),
        ["bench", "device", rest @ ..] => device::command(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["gpu-stats"] => gpu_stats(false),
        ["gpu-stats", "--record"] => gpu_stats(true),
        ["setup"] => setup::everything().map(drop),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => bail!("unknown command {:?}\n{HELP}", args.join(" ")),
    }
}

/// `[target …] [--seconds N]`
fn fuzz(rest: &[&str]) -> Result<()> {
    let (targets, seconds) = match rest {
        [targets @ .., "--seconds", seconds] => (targets, seconds.parse()?),
        targets => (targets, 600),
    };
    fuzz::run(if targets.is_empty() { &fuzz::TARGETS } else { targets }, seconds)
}

/// Compiles every kernel for GPUs that need not be there, and compares or records what the compiler says.
fn gpu_stats(record: bool) -> Result<()> {
    let mut test = run::command("cargo", &["test", "--quiet", "--test", "gpu_stats", "--", "--nocapture"]);
    if record {
        test.env("MINKE_RECORD", "1");
    }
    run::check(test)
}

/// Runs faults, kills, damage and full disks, by seed, against the built package.
fn soak(options: &[&str]) -> Result<()> {
    if options == ["cases"] {
        return check::cases();
    }
    if !options.starts_with(&["wpt"]) {
        assets::demo_model()?;
    }
    build::all()?;
    setup::npm("tests/browser")?;
    setup::require_debian(&["chromium"])?;
    let (script, options) = match options {
        ["memory", rest @ ..] => ("tests/browser/memory.mjs", rest),
        ["constraints", rest @ ..] => ("tests/browser/constraint.mjs", rest),
        ["bundlers", rest @ ..] => ("tests/bundlers/run.mjs", rest),
        ["wpt", rest @ ..] => ("tests/clients/wpt.mjs", rest),
        options => ("tests/browser/soak.mjs", options),
    };
    let mut node = run::command("node", &[script]);
    node.args(options);
    run::check(node)
}

/// Serves the site, or with `--prompt` asks once in headless Chromium.
fn demo(options: &[&str]) -> Result<()> {
    let model = assets::demo_model()?;
    site::build()?;
    let mut node = run::command("node", &["tests/browser/demo.mjs", "--model"]);
    node.arg(&model).args(options);
    if options.contains(&"--prompt") {
        setup::npm("tests/browser")?;
        setup::require_debian(&["chromium"])?;
    }
    run::check(node)
}
