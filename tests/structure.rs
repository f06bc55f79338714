//! The house's rules: which way imports go, and where wgpu, JavaScript and the target are known.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};

/// Modules and those each may import, besides itself and the crate's error and cancel types.
const IMPORTS: &[(&str, &[&str])] = &[
    ("plan", &[]),
    ("gpu", &["plan"]),
    ("text", &[]),
    ("kernels", &["plan", "gpu"]), // gpu: the self-test runs kernels
    ("weights", &["plan", "gpu"]), // gpu: loads write to its buffers
    ("model", &["plan", "kernels", "weights"]),
    ("engine", &["plan", "gpu", "kernels", "weights", "model", "text"]),
    ("web", &["plan", "gpu", "kernels", "weights", "model", "text", "engine"]),
    ("bin", &[]), // a crate of its own, over the library as anybody has it
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

/// Every file of `src/` with its path from there and its text without comments.
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

/// Files that contain a word, other than those allowed to.
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

/// Of the rooms that a second executor shares, only what runs kernels or fills buffers names the first.
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
    // What JavaScript has read is handed to the GPU as it is.
    assert_eq!(strangers("js_sys", &["web/", "gpu/bytes.rs", "gpu/subgroups.rs"]), Vec::<String>::new());
}

#[test]
fn the_target_is_known_in_few_places() {
    let allowed =
        ["web/", "gpu/bytes.rs", "gpu/device.rs", "gpu/mod.rs", "weights/source.rs", "weights/mod.rs", "lib.rs"];
    assert_eq!(strangers("target_arch", &allowed), Vec::<String>::new());
}

/// What a file has without its unit tests.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests {").next().expect("what is before the first")
}

/// What stands between each of these and the next quotation mark.
fn quoted_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split('"').next().expect("what is before the first")).collect()
}

/// A model family is named in its row of the table and in the file of its architecture; all other code asks the row's fields. Names
/// are `model_type`s and GGUF's `general.architecture`s, and what they begin with. Comments and unit tests may name families.
#[test]
fn families_are_named_in_their_table() {
    const TABLE: &str = "model/families.rs";
    // GGUF's names of pre-tokenizers and vocabularies, some of which are called as a family.
    const PRE_TOKENIZERS: &str = "text/gguf_vocab.rs";
    let sources = sources();
    let (_, table) = sources.iter().find(|(name, _)| name == TABLE).expect("the table");
    let mut names = quoted_after(table, "amily::plain(\"");
    for list in table.split("text_model_of: &[").skip(1) {
        names.extend(list.split(']').next().expect("a list").split('"').skip(1).step_by(2));
    }
    assert!(["qwen2_moe", "gpt-oss", "llava"].iter().all(|name| names.contains(name)), "{names:?}");
    let architectures: Vec<String> = table
        .split("build: ")
        .filter_map(|rest| Some(format!("model/{}.rs", rest.split_once("::")?.0)))
        .chain([TABLE, PRE_TOKENIZERS].map(str::to_owned))
        .collect();
    for (name, code) in sources.iter().filter(|(name, _)| !architectures.contains(name) && !name.ends_with("tests.rs"))
    {
        let code = without_tests(code).replace("'\"'", "").replace("\\\"", "");
        for text in code.split('"').skip(1).step_by(2).filter(|text| text.len() >= 3) {
            assert!(!names.iter().any(|family| family.starts_with(text)), "{name} names the family {text:?}");
        }
    }
}
