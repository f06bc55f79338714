//! Collects the licences of the crates in the wasm, for the package's `THIRD-PARTY.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The notices as Markdown: every crate with its licence, then each text once with the crates that carry it.
pub fn third_party() -> Result<String> {
    let metadata = run::quiet(run::command(
        "cargo",
        &["metadata", "--format-version", "1", "--locked", "--filter-platform", "wasm32-unknown-unknown"],
    ))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), p)).collect();
    let mut table = String::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in linked(&metadata, &packages)? {
        let package = packages[id];
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        table += &format!("- {name}: {}\n", package["license"].as_str().unwrap_or("see its text below"));
        let folder = Path::new(text(&package["manifest_path"])).parent().context("a manifest lies in a folder")?;
        for licence in licence_files(folder)? {
            let licence = licence.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            texts.entry(licence.trim().to_owned()).or_default().insert(name.clone());
        }
    }
    let mut out = format!("# Third-party software in this package\n\nThe WebAssembly modules contain:\n\n{table}");
    for (licence, names) in texts {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        out += &format!("\n---\n\n{names}\n\n````text\n{licence}\n````\n");
    }
    out += GGML;
    Ok(out)
}

/// The notice for ggml, which is not a crate: `src/weights/dequantize/grids.rs` contains its tables.
const GGML: &str = "
---

The code books of the i-quants are those of ggml

````text
MIT License

Copyright (c) 2023-2026 The ggml authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the \"Software\"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
````
";

/// Ids of the crates that are normal dependencies, without the modules' own and without those that only run at build time.
fn linked<'a>(metadata: &'a Value, packages: &BTreeMap<&str, &Value>) -> Result<BTreeSet<&'a str>> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).iter().map(|n| (text(&n["id"]), n)).collect();
    let ours = |name| packages.iter().find(|(_, p)| p["name"] == name).map(|(id, _)| *id);
    let modules = ["minke", "minke-worker", "minke-constraint"].map(|name| ours(name).context(name));
    let modules = modules.into_iter().collect::<Result<Vec<_>>>()?;
    let mut found = BTreeSet::new();
    let mut todo = modules.clone();
    while let Some(id) = todo.pop() {
        for dependency in list(&nodes[id]["deps"]) {
            let normal = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let id = text(&dependency["pkg"]);
            if normal && !only_at_build_time(packages[id]) && found.insert(id) {
                todo.push(id);
            }
        }
    }
    found.retain(|id| !modules.contains(id));
    Ok(found)
}

fn only_at_build_time(package: &Value) -> bool {
    list(&package["targets"]).iter().any(|target| list(&target["kind"]).iter().any(|kind| kind == "proc-macro"))
}

/// The licence texts of a crate: next to its manifest, or in a subfolder.
fn licence_files(folder: &Path) -> Result<Vec<String>> {
    const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];
    let mut texts = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && NAMES.iter().any(|word| name.starts_with(word)) {
            texts.push(String::from_utf8_lossy(&fs::read(path)?).into_owned());
        } else if path.is_dir() && name == "LICENSES" {
            for entry in fs::read_dir(path)? {
                texts.push(String::from_utf8_lossy(&fs::read(entry?.path())?).into_owned());
            }
        }
    }
    Ok(texts)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
