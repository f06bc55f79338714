//! Checks the architecture's rules: which modules may import which, and where wgpu, JavaScript and the target may be
//! named.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};

/// Modules and the modules that each may import, in addition to itself and the crate's error and cancel types.
const IMPORTS: &[(&str, &[&str])] = &[
    ("plan", &[]),
    ("gpu", &["plan"]),
    ("text", &[]),
    ("kernels", &["plan", "gpu"]), // gpu: the self-test runs kernels
    ("weights", &["plan", "gpu"]), // gpu: loads write to its buffers
    ("model", &["plan", "kernels", "weights"]),
    ("engine", &["plan", "gpu", "kernels", "weights", "model", "text"]),
    ("web", &["plan", "gpu", "kernels", "weights", "model", "text", "engine"]),
    ("bin", &[]), // a separate crate, which uses the library's public API
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// Every file of `src/` with its relative path and its text without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    rust_files(&root)
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let name = path.strip_prefix(&root).expect("below src").display().to_string();
            (name, code.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// Files that contain a word although they are not allowed to.
fn strangers(word: &str, allowed: &[&str]) -> Vec<String> {
    let known = |name: &str| allowed.iter().any(|a| name.starts_with(a));
    sources().into_iter().filter(|(name, code)| !known(name) && code.contains(word)).map(|(name, _)| name).collect()
}

#[test]
fn imports_go_one_way() {
    let modules: Vec<&str> = IMPORTS.iter().map(|(m, _)| *m).collect();
    for (name, code) in sources() {
        let module = name.split('/').next().expect("a name");
        let Some((_, allowed)) = IMPORTS.iter().find(|(m, _)| *m == module) else {
            assert!(
                ["lib.rs", "error.rs", "cancel.rs", "warning.rs"].contains(&name.as_str()),
                "{name} is in no room of the house"
            );
            continue;
        };
        for other in modules.iter().filter(|m| **m != module && !allowed.contains(m)) {
            assert!(!code.contains(&format!("crate::{other}")), "{name} imports {other}");
        }
    }
}

/// In the modules that a second executor would share, only code that runs kernels or fills buffers may name the first
/// one.
#[test]
fn few_files_below_the_engine_name_the_gpu() {
    let allowed =
        ["gpu/", "engine/", "web/", "lib.rs", "kernels/self_test.rs", "kernels/testing.rs", "kernels/sample/tests.rs"];
    let loads = ["weights/checkpoint.rs", "weights/load.rs", "weights/loader.rs", "weights/source.rs"];
    assert_eq!(strangers("crate::gpu", &[&allowed[..], &loads].concat()), Vec::<String>::new());
}

#[test]
fn wgpu_stays_in_gpu() {
    assert_eq!(strangers("wgpu", &["gpu/"]), Vec::<String>::new());
}

#[test]
fn javascript_stays_in_web() {
    // wgpu cannot ask for subgroups on the web.
    for word in ["JsValue", "wasm_bindgen"] {
        assert_eq!(strangers(word, &["web/", "gpu/subgroups.rs"]), Vec::<String>::new());
    }
    // Bytes that JavaScript has read are passed to the GPU directly.
    assert_eq!(strangers("js_sys", &["web/", "gpu/bytes.rs", "gpu/subgroups.rs"]), Vec::<String>::new());
}

#[test]
fn the_target_is_known_in_few_places() {
    let allowed =
        ["web/", "gpu/bytes.rs", "gpu/device.rs", "gpu/mod.rs", "weights/source.rs", "weights/mod.rs", "lib.rs"];
    assert_eq!(strangers("target_arch", &allowed), Vec::<String>::new());
}
