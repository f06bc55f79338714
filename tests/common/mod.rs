//! Shared by the tests of whole models: finds reference data, and loads an engine from a folder or file.
#![allow(dead_code, missing_docs)] // each test binary uses its part

pub mod golden;
pub mod layers;
pub mod odd;
#[allow(clippy::duplicate_mod)] // reports.rs has `support`, too
#[path = "../support/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use minke::engine::{Engine, Host, LoadOptions, LogitRows, RunOn};
use minke::kernels::Variants;
use minke::plan::Counts;
use minke::weights::{DiskFile, DiskFolder, MemoryFolder};
use minke::{Cancel, Result};

pub use pollster::block_on;
pub use skip::skip;

pub const HOST: Host = Host {
    clock: || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64() * 1e3),
    local_time: || 1_700_000_000,
    seed: || 42,
    warn: |message| eprintln!("{message}"),
    workers: |arithmetic, count| Box::pin(async move { Ok(minke::cpu::threads(arithmetic, count)) }),
};

/// A path from an environment variable, or in the checkout; if it does not exist, the test is skipped.
pub fn data(variable: &str, default: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let explicit = given.is_some();
    let path = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(default));
    if path.exists() {
        return Some(path);
    }
    assert!(!explicit, "{variable} names {}, which does not exist", path.display());
    skip(default, format_args!("it is not there ({variable} may name another place)"));
    None
}

/// The folder of a golden case; if `root` has none of the name, the case is skipped.
pub fn case(root: &Path, name: &str) -> Option<PathBuf> {
    let folder = root.join(name);
    if folder.join("golden.json").exists() {
        return Some(folder);
    }
    skip(format_args!("golden case {name}"), format_args!("{} has none", root.display()));
    None
}

/// Options of a load on the processor, for tests that need any engine: it is several times as fast as the software adapters of machines
/// without a GPU.
pub fn on_cpu() -> LoadOptions {
    LoadOptions { run_on: RunOn::Cpu, ..LoadOptions::default() }
}

/// Options of a load on a GPU, for tests of what only a GPU does.
pub fn on_gpu() -> LoadOptions {
    LoadOptions { run_on: RunOn::Gpu, ..LoadOptions::default() }
}

/// Loads a GGUF file or a Hugging Face folder, on the processor unless `options` name a GPU; there with the base kernels unless they name
/// others.
pub fn load(path: &Path, options: LoadOptions) -> Result<Engine> {
    let run_on = if options.run_on == RunOn::Auto { RunOn::Cpu } else { options.run_on };
    let options = LoadOptions { variants: options.variants.or(Some(Variants::default())), run_on, ..options };
    let cancel = Cancel::default();
    let mut quiet = |_| {};
    block_on(async {
        if path.is_dir() {
            Engine::load_folder(&DiskFolder::new(path), None, options, HOST, &cancel, &mut quiet).await
        } else {
            let folder = DiskFolder::new(path.parent().expect("a file has a folder"));
            let file = Rc::new(DiskFile::open(path)?);
            Engine::load_gguf(file, Some(&folder), options, HOST, &cancel, &mut quiet).await
        }
    })
}

/// Logits of all tokens, one row each.
pub fn all_logits(engine: &Engine, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    let mut sink = |row: &[f32]| {
        rows.push(row.to_vec());
        Ok(())
    };
    block_on(engine.forward(ids, LogitRows::All, &Cancel::default(), &mut sink)).expect("logits");
    rows
}

/// What an engine has done since its counts were `before`.
pub fn counts_since(engine: &Engine, before: &Counts) -> Counts {
    let after = engine.counts();
    Counts {
        submits: after.submits - before.submits,
        passes: after.passes - before.passes,
        dispatches: after.dispatches - before.dispatches,
        readbacks: after.readbacks - before.readbacks,
        objects_created: after.objects_created - before.objects_created,
    }
}

pub fn argmax(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// A copy of a folder in memory, with its files modified.
pub fn copy(folder: &Path, change: impl Fn(&str, &mut Vec<u8>)) -> MemoryFolder {
    let mut copy = MemoryFolder::new("copy");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut bytes = std::fs::read(&path).expect("a file");
        change(&name, &mut bytes);
        copy = copy.with(&name, bytes);
    }
    copy
}

/// The end of an R1 template, which opens the reasoning.
pub const OPENS: &str = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}";

/// The golden data's Llama with another chat template.
pub fn thinker(template: &str) -> Option<Engine> {
    let folder = copy(&data("MINKE_GOLDEN", ".cache/golden")?.join("models/llama"), |name, bytes| {
        if name == "chat_template.jinja" {
            *bytes = template.as_bytes().to_vec();
        }
    });
    let (cancel, mut quiet) = (Cancel::default(), |_| {});
    let load = Engine::load_folder(&folder, None, on_cpu(), HOST, &cancel, &mut quiet);
    Some(block_on(load).expect("it loads"))
}
