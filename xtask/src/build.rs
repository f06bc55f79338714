//! Builds the package: wasm, its JavaScript glue, everything in `pkg/dist`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use wasm_bindgen_cli_support::Bindgen;

use crate::run::{self, root};
use crate::{notices, setup};

/// Maximum compressed size of what a page loads to run a model on a GPU.
const LIMIT: u64 = 1_500_000;

/// Builds everything; returns the package's compressed bytes.
pub fn all() -> Result<u64> {
    setup::wasm_target()?;
    setup::npm("pkg")?;
    MODULES.iter().try_for_each(wasm)?;
    package()?;
    sizes()
}

/// A module of WebAssembly.
struct Module {
    /// Its crate.
    package: &'static str,
    /// The name of its files.
    name: &'static str,
    /// The Cargo profile.
    profile: &'static str,
    /// The flag of wasm-opt.
    optimise: &'static str,
    /// Types of the glue.
    types: &'static str,
    /// Maximum compressed size.
    limit: u64,
}

const MODULES: [Module; 3] = [
    Module {
        package: "minke",
        name: "minke",
        profile: "wasm",
        optimise: "-Os",
        types: "import type { Glue } from \"../src/wasm.js\";
export function instantiate(guard: <T extends object>(exports: T) => T): Glue;
",
        limit: LIMIT,
    },
    // What the processor's workers run.
    Module {
        package: "minke-worker",
        name: "minke_cpu",
        profile: "cpu",
        optimise: "-O3",
        types: "import type { ProcessorGlue } from \"../src/wasm.js\";
export function instantiate(guard: <T extends object>(exports: T) => T): ProcessorGlue;
",
        limit: 350_000,
    },
    // What makes the masks of constraints.
    Module {
        package: "minke-constraint",
        name: "minke_constraint",
        profile: "wasm",
        optimise: "-Os",
        types: "import type { ConstraintGlue } from \"../src/wasm.js\";
export function instantiate(guard: <T extends object>(exports: T) => T): ConstraintGlue;
",
        limit: 700_000,
    },
];

/// Builds a module to `pkg/wasm`, with its glue.
fn wasm(module: &Module) -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let Module { package, name, profile, .. } = *module;
    run::check(run::command(
        "cargo",
        &["build", "--profile", profile, "--target", TARGET, "--lib", "--package", package],
    ))?;
    let input = root().join("target").join(TARGET).join(profile).join(package.replace('-', "_") + ".wasm");
    let out = root().join("pkg/wasm");
    let stamp = root().join(format!("target/xtask-{name}.stamp"));
    let digest = format!("{:x} {}", Sha256::digest(fs::read(&input)?), env!("CARGO_PKG_VERSION"));
    let made = out.join(format!("{name}_bg.wasm"));
    if fs::read_to_string(&stamp).is_ok_and(|s| s == digest) && made.is_file() {
        return Ok(());
    }
    fs::create_dir_all(&out)?;
    let mut output = Bindgen::new()
        .input_path(&input)
        .out_name(name)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .context("wasm-bindgen")?;
    let extra: Vec<_> = output.snippets().values().flatten().chain(output.local_modules().keys()).collect();
    ensure!(extra.is_empty(), "the glue must be one file, and brings {extra:?}");
    fs::write(out.join(format!("{name}.js")), glue(output.js())?)?;
    fs::write(out.join(format!("{name}.d.ts")), module.types)?;
    let raw = root().join(format!("target/{name}_bindgen.wasm"));
    fs::write(&raw, output.wasm_mut().emit_wasm())?;
    let mut optimise =
        run::command("pkg/node_modules/.bin/wasm-opt", &[module.optimise, "--strip-debug", "--strip-producers"]);
    // The features of rustc's wasm32 baseline and SIMD, listed explicitly: enabling all features would produce code that
    // older engines reject.
    for feature in [
        "bulk-memory",
        "multivalue",
        "mutable-globals",
        "nontrapping-float-to-int",
        "reference-types",
        "sign-ext",
        "simd",
    ] {
        optimise.arg(format!("--enable-{feature}"));
    }
    optimise.arg(&raw).arg("-o").arg(&made);
    run::quiet(optimise)?;
    fs::write(stamp, digest)?;
    Ok(())
}

/// Rewrites wasm-bindgen's module so that all module-scope state is inside a function.
///
/// A module can only ever hold one instance, but a trapped instance must be replaceable and models must not share a heap.
/// `guard` wraps the instance's exports, so that it covers every entry into wasm, including promise callbacks.
fn glue(module: &str) -> Result<String> {
    let mut names = Vec::new();
    let mut body = String::new();
    for line in module.lines() {
        if let Some(rest) = line.strip_prefix("export { ") {
            ensure!(rest.contains("__wbg_init as default"), "unknown export in the glue: {line}");
        } else if let Some(rest) = line.strip_prefix("export ") {
            let words: Vec<&str> = rest.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let name = match words.as_slice() {
                ["class" | "function", name, ..] => name,
                ["async", "function", name, ..] => name,
                _ => bail!("unknown export in the glue: {line}"),
            };
            names.push(name.to_string());
            body += rest;
            body.push('\n');
        } else {
            ensure!(!line.starts_with("import "), "the glue must import nothing: {line}");
            body += line;
            body.push('\n');
        }
    }
    const ASSIGN: &str = "wasm = instance.exports;";
    ensure!(body.matches(ASSIGN).count() == 1, "the glue must set `wasm` exactly once");
    let body = body.replace(ASSIGN, "wasm = guard(instance.exports);");
    Ok(format!(
        "export function instantiate(guard) {{\n{body}\nreturn {{ init: __wbg_init, {} }};\n}}\n",
        names.join(", ")
    ))
}

/// Sub-paths of the package: the folders of `pkg/src` whose `index.ts` each is the entry of.
const SUBPATHS: [&str; 6] = ["ai-sdk", "langchain", "openai", "prompt-api", "testing", "webllm"];

/// Builds `pkg/dist`: types, the page's module, the engine for `worker: false`, the worker, the wasm.
fn package() -> Result<()> {
    let pkg = root().join("pkg");
    let dist = pkg.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    tsc("pkg")?;
    let entries: Vec<String> = SUBPATHS.iter().map(|name| format!("{name}/index.d.ts")).collect();
    keep_declarations(&dist, ["index.d.ts", "worker.d.ts"].into_iter().chain(entries.iter().map(String::as_str)))?;
    // All scripts are in one folder, beside the files that they find with `import.meta.url`.
    let faces: Vec<String> = SUBPATHS.iter().map(|name| format!("{name}=src/{name}/index.ts")).collect();
    let mut args = vec!["index=src/index.ts"];
    args.extend(faces.iter().map(String::as_str));
    args.extend(["--splitting", "--format=esm", "--outdir=dist", "--target=es2022", "--packages=external"]);
    esbuild("pkg", &args)?;
    // The worker is one self-contained script without module syntax, so that bundlers can make it a classic worker.
    esbuild("pkg", &["src/worker.ts", "--format=iife", "--outfile=dist/worker.js", "--target=es2022"])?;
    let worker = fs::read_to_string(dist.join("worker.js"))?;
    ensure!(!worker.contains("import.meta") && !worker.contains("import("), "the worker must be a plain script");
    for entry in fs::read_dir(&dist)? {
        let path = entry?.path();
        if path.is_dir() {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let evaluates = text.contains("new Function") || text.contains("eval(");
        ensure!(!evaluates, "{} evaluates text, which strict policies forbid", path.display());
    }
    for module in &MODULES {
        let file = format!("{}_bg.wasm", module.name);
        fs::copy(pkg.join("wasm").join(&file), dist.join(&file))?;
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(root().join(file), pkg.join(file)).with_context(|| file.to_owned())?;
    }
    fs::write(pkg.join("THIRD-PARTY.md"), notices::third_party()?)?;
    Ok(())
}

/// Removes the declarations that the given ones do not refer to, not even through others.
fn keep_declarations<'a>(dist: &Path, entries: impl IntoIterator<Item = &'a str>) -> Result<()> {
    remove_except(dist, &referred(dist, entries)?)
}

/// Files and those that they refer to, also through others, as by `from "./errors.js"` and `import("./errors.js")`.
/// Declarations refer to declarations.
fn referred<'a>(dist: &Path, entries: impl IntoIterator<Item = &'a str>) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut left: Vec<PathBuf> = entries.into_iter().map(|entry| dist.join(entry)).collect();
    while let Some(path) = left.pop() {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let extension = if path.to_string_lossy().ends_with(".d.ts") { "d.ts" } else { "js" };
        let folder = path.parent().expect("a file is in a folder").to_owned();
        if found.insert(path) {
            let words = text.split('"').filter(|word| word.starts_with('.') && word.ends_with(".js"));
            let targets = words.map(|word| normal(&folder.join(word)).with_extension(extension));
            left.extend(targets.filter(|target| target.is_file()));
        }
    }
    Ok(found)
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut made, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(made.pop()),
            _ => made.push(part),
        }
        made
    })
}

/// Removes the files of a folder that are not in a list, and folders that are empty then.
fn remove_except(folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_except(&path, kept)?;
            if fs::read_dir(&path)?.next().is_none() {
                fs::remove_dir(&path)?;
            }
        } else if !kept.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Type checks a folder, and writes declarations if its configuration says so.
pub fn tsc(folder: &str) -> Result<()> {
    run::quiet(run::command("pkg/node_modules/.bin/tsc", &["--project", folder])).map(drop)
}

pub fn esbuild(folder: &str, args: &[&str]) -> Result<()> {
    let program = root().join("pkg/node_modules/.bin/esbuild");
    let mut esbuild = run::command(&program.to_string_lossy(), &["--bundle", "--minify", "--log-level=warning"]);
    esbuild.args(args).current_dir(root().join(folder));
    run::quiet(esbuild).map(drop)
}

/// Copies a folder, leaving out names that end in `.` and the given extension.
pub fn copy(from: &Path, to: &Path, without: &str) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name), without)?;
        } else if without.is_empty() || !name.to_string_lossy().ends_with(&format!(".{without}")) {
            fs::create_dir_all(to)?;
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// Prints the sizes of the package's files, and fails if those that a page loads to run a model on a GPU exceed the maximum.
fn sizes() -> Result<u64> {
    let dist = root().join("pkg/dist");
    let own = referred(&dist, ["index.js"])?;
    let mut total = 0;
    let files = fs::read_dir(&dist)?.filter_map(|e| e.ok()).filter(|e| e.path().is_file());
    let mut names: Vec<_> = files.map(|e| e.file_name()).collect();
    names.sort();
    for name in names {
        let name = name.to_string_lossy();
        if name.ends_with(".d.ts") {
            continue;
        }
        let bytes = fs::read(dist.join(&*name))?;
        let packed = gzip(&bytes)?;
        println!("{name:>26} {:>9} bytes {packed:>9} gzip", bytes.len());
        if let Some(module) = MODULES.iter().find(|module| *name == format!("{}_bg.wasm", module.name)) {
            ensure!(packed <= module.limit, "{name} weighs {packed} bytes compressed; the limit is {}", module.limit);
        }
        // The modules of the processor and of constraints are fetched only where they are used, and so are the sub-paths. With
        // `worker: false` a page loads the engine's script instead of the worker's, which is larger.
        let counts = own.contains(&dist.join(&*name)) && !name.starts_with("engine-") || name == "minke_bg.wasm";
        total += if counts { packed } else { 0 };
    }
    println!("{:>16} {total:>25} gzip (limit {LIMIT})", "minke on a GPU");
    if total > LIMIT {
        bail!("the package weighs {total} bytes compressed; the limit is {LIMIT}");
    }
    Ok(total)
}

fn gzip(bytes: &[u8]) -> Result<u64> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len() as u64)
}
