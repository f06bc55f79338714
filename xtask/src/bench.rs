//! `cargo xtask bench`: device-independent counts, then measurements on this machine: against other engines, against
//! the adapter's bandwidth, without GPU work, and by size. Results are written to `target/bench`; `--record` writes
//! `docs/evidence/bench.md` from them.

use anyhow::{Result, bail};

use crate::check::vulkan;
use crate::run::{self, root};
use crate::{assets, build, setup};

const PARTS: [&str; 6] = ["counts", "host", "ceiling", "cpu", "scaling", "peers"];
/// The parts that a busy machine cannot disturb.
const COUNTS: &str = "counts";

/// `[part …] [--quick] [--record] [--rounds N]`: rounds are those of `peers`.
pub fn run(words: &[&str]) -> Result<()> {
    let mut parts = Vec::new();
    let (mut quick, mut rounds) = (Vec::new(), Vec::new());
    let (mut record, mut words) = (false, words.iter());
    while let Some(&word) = words.next() {
        match word {
            "--record" => record = true,
            "--quick" => quick.push(word),
            "--rounds" => rounds.extend([word, words.next().copied().unwrap_or("")]),
            part if PARTS.contains(&part) => parts.push(part),
            _ => bail!("{word:?} is no part of the bench; there are {}", PARTS.join(", ")),
        }
    }
    if parts.is_empty() && !record {
        parts = PARTS.to_vec();
    }
    if parts.iter().any(|part| *part != COUNTS) {
        prepare(parts.contains(&"peers"))?;
    }
    for part in parts {
        println!("— {part}");
        match part {
            COUNTS => counts(record)?,
            "ceiling" => {
                native(&quick)?;
                node("ceiling", &quick)?;
            }
            "cpu" => {
                let mut bench =
                    run::command("cargo", &["run", "--quiet", "--release", "--example", "bench_processor", "--"]);
                bench.args(&quick);
                run::check(bench)?;
                node("processor", &quick)?;
            }
            "peers" => node("peers", &[&quick[..], &rounds[..]].concat())?,
            _ => node(part, &quick)?,
        }
    }
    if record { node("report", &[]) } else { Ok(()) }
}

/// Prepares the model, the package, a browser and, if they are measured, the other engines.
fn prepare(peers: bool) -> Result<()> {
    assets::demo_model()?;
    build::all()?;
    setup::npm("tests/browser")?;
    setup::require_debian(&["chromium"])?;
    if peers && let Err(error) = setup::npm("benches") {
        println!("missing: the other engines ({error:#}); they are skipped");
    }
    Ok(())
}

fn counts(record: bool) -> Result<()> {
    let mut test = run::command("cargo", &["test", "--quiet", "--test", "counts", "--", "--nocapture"]);
    if record {
        test.env("MINKE_RECORD", "1");
    }
    vulkan(&mut test)?;
    run::quiet(test)?;
    println!("{}", std::fs::read_to_string(root().join("docs/evidence/counts.md"))?);
    Ok(())
}

fn native(quick: &[&str]) -> Result<()> {
    // The test profile suffices, because the driver does the relevant work.
    let mut bench = run::command("cargo", &["run", "--quiet", "--example", "bench_native", "--"]);
    bench.args(quick);
    vulkan(&mut bench)?;
    run::check(bench)
}

fn node(part: &str, options: &[&str]) -> Result<()> {
    let mut node = run::command("node", &[&format!("benches/{part}.mjs")]);
    node.args(options);
    run::check(node)
}
