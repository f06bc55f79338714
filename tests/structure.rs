//! Checks the architecture's rules: which modules may import which, and where wgpu, JavaScript and the target may be
//! named.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules and the modules that each may import, in addition to itself and the crate's error and cancel types.
const IMPORTS: &[(&str, &[&str])] = &[
    ("vector", &[]),     // a crate of its own
    ("constraint", &[]), // a crate of its own
    ("plan", &[]),
    ("gpu", &["plan"]),
    ("text", &[]),
    ("kernels", &["plan"]),
    ("weights", &["plan"]),
    ("model", &["plan", "kernels", "weights"]),
    ("cpu", &["plan", "kernels"]),
    ("engine", &["plan", "cpu", "gpu", "kernels", "weights", "model", "text"]),
    ("web", &["plan", "cpu", "gpu", "kernels", "weights", "model", "text", "engine"]),
    ("worker", &[]), // a crate of its own, which uses the public API of plan, kernels and cpu
    ("bin", &[]),    // a separate crate, which uses the library's public API
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
        // Kernels are tested on a GPU.
        let tests = |other: &str| name == "kernels/testing.rs" && other == "gpu";
        for other in modules.iter().filter(|m| **m != module && !allowed.contains(m) && !tests(m)) {
            assert!(!code.contains(&format!("crate::{other}")), "{name} imports {other}");
        }
    }
}

/// Everything but the choice of a GPU goes through [`Executor`](minke::plan::Executor).
#[test]
fn the_gpu_is_chosen_in_one_place() {
    let allowed = ["gpu/", "engine/load.rs", "engine/load_options.rs", "kernels/testing.rs", "lib.rs"];
    assert_eq!(strangers("crate::gpu", &allowed), Vec::<String>::new());
}

#[test]
fn wgpu_stays_in_gpu() {
    assert_eq!(strangers("wgpu", &["gpu/"]), Vec::<String>::new());
}

#[test]
fn javascript_stays_in_web() {
    // wgpu cannot ask for subgroups on the web.
    for word in ["JsValue", "wasm_bindgen"] {
        assert_eq!(
            strangers(word, &["web/", "worker/", "constraint/web.rs", "gpu/subgroups.rs"]),
            Vec::<String>::new()
        );
    }
    // Bytes that JavaScript has read are passed to an executor as they are.
    let allowed = ["web/", "worker/", "constraint/web.rs", "plan/bytes.rs", "gpu/subgroups.rs"];
    assert_eq!(strangers("js_sys", &allowed), Vec::<String>::new());
}

#[test]
fn the_target_is_known_in_few_places() {
    let allowed = [
        "constraint/lib.rs",
        "engine/linked.rs",
        "vector/",
        "web/",
        "plan/bytes.rs",
        "plan/mod.rs",
        "gpu/device.rs",
        "gpu/mod.rs",
        "kernels/kernel.rs",
        "worker/",
        "weights/source.rs",
        "weights/mod.rs",
        "lib.rs",
    ];
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
    const PRE_TOKENIZERS: &str = "text/gguf_tokenizer.rs";
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

/// The circles that there are: a parser is as recursive as its grammar.
const KNOWN_CIRCLES: &[&str] = &["text/pattern/class.rs text/pattern/parse.rs"];

/// Each parent module that defines what the files of its folder share and calls them, too: what it names of its folder does not count.
const PARENTS: &[&str] = &[
    "kernels/mod.rs",
    "kernels/activation.rs",
    "kernels/attention.rs",
    "kernels/experts.rs",
    "kernels/grouped.rs",
    "kernels/latent.rs",
    "kernels/matmul.rs",
    "kernels/matvec.rs",
    "kernels/norm.rs",
    "kernels/rope_append.rs",
    "kernels/sample.rs",
    "text/pattern/mod.rs",
    "text/python/mod.rs",
    "weights/dequantize/mod.rs",
];

/// The paths that a tree of names stands for, as after `use`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<Vec<String>> {
    let name: String = tree.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let rest = &tree[name.len()..];
    let Some(rest) = rest.strip_prefix("::") else { return vec![vec![name]] };
    let below = match rest.strip_prefix('{') {
        None => paths(rest),
        Some(group) => {
            let (mut depth, mut start, mut found) = (0, 0, Vec::new());
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    ',' | '}' if depth == 0 => {
                        found.extend(paths(group[start..at].trim_start()));
                        start = at + 1;
                    }
                    _ => {}
                }
                if c == '}' && start == at + 1 {
                    break;
                }
            }
            found
        }
    };
    below.into_iter().map(|path| [vec![name.clone()], path].concat()).collect()
}

/// A path from the crate's root, as code in this module writes it.
fn from_root(path: Vec<String>, module: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    match path[0].as_str() {
        "crate" => path[1..].to_vec(),
        "self" => [module, &path[1..]].concat(),
        "super" => [&module[..module.len().saturating_sub(ups)], &path[ups..]].concat(),
        _ => [module, &path].concat(), // after `use` in a mod.rs: of a child
    }
}

/// The files of a room, and which of them names something that another defines.
///
/// What counts: every path of a file's code, in `use` lines and elsewhere, that begins with `crate`, `super` or `self`, or in a
/// `mod.rs` with a child. A name that a `mod.rs` passes on (`pub use child::Name`) is the child's: importing it from
/// the `mod.rs` leads to the child. A name that a `mod.rs` defines leads to the `mod.rs`. `mod child;` and `pub use child::Name`
/// themselves do not count: they say what the folder holds. Unit tests do not count.
fn edges(room: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut files: BTreeMap<Vec<String>, (String, String)> = BTreeMap::new();
    for (name, code) in sources() {
        if name.starts_with(&format!("{room}/")) && !name.ends_with("tests.rs") {
            let module = name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').map(str::to_owned).collect();
            files.insert(module, (name, without_tests(&code).to_owned()));
        }
    }
    // What follows each of the places where paths begin, and whether it is passed on.
    let found = |module: &[String], code: &str| -> Vec<(Vec<String>, bool)> {
        let mut found = Vec::new();
        for line_start in code.match_indices("use ").map(|(at, _)| at) {
            let before = code[..line_start].rsplit('\n').next().unwrap_or_default().trim_start();
            let passed_on = before.starts_with("pub");
            if before.is_empty() || passed_on && !before.contains([';', '{']) {
                let tree = code[line_start + 4..].trim_start();
                found.extend(paths(tree).into_iter().map(|path| (from_root(path, module), passed_on)));
            }
        }
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in code.match_indices(start) {
                let before = &code[..at];
                let inside = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                if !(inside || before.ends_with("use ") || before.ends_with("pub(in ")) {
                    found.extend(paths(&code[at..]).into_iter().map(|path| (from_root(path, module), false)));
                }
            }
        }
        for child in files.keys().filter(|file| file.len() == module.len() + 1 && file.starts_with(module)) {
            let start = format!("{}::", child[module.len()]);
            for (at, _) in code.match_indices(&start) {
                let inside = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                if !(inside || code[..at].ends_with("use ")) {
                    found.extend(paths(&code[at..]).into_iter().map(|path| (from_root(path, module), false)));
                }
            }
        }
        found
    };
    let all: BTreeMap<&Vec<String>, Vec<(Vec<String>, bool)>> =
        files.iter().map(|(module, (_, code))| (module, found(module, code))).collect();
    let resolve = |mut path: Vec<String>| -> Option<String> {
        for _ in 0..8 {
            let module = (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|m| files.contains_key(m))?;
            let item = path.get(module.len());
            let passed_on = all[&module].iter().find(|(to, passed_on)| *passed_on && to.last() == item && *to != path);
            match passed_on {
                Some((to, _)) => path = to.clone(),
                None => return Some(files[&module].0.clone()),
            }
        }
        None
    };
    let mut edges = BTreeMap::new();
    for (module, (name, _)) in &files {
        let targets =
            all[module].iter().filter(|(_, passed_on)| !passed_on).filter_map(|(path, _)| resolve(path.clone()));
        let own_folder = PARENTS.contains(&name.as_str()).then(|| name.trim_end_matches("mod.rs").replace(".rs", "/"));
        let counts =
            |target: &String| target != name && !own_folder.as_ref().is_some_and(|folder| target.starts_with(folder));
        edges.insert(name.clone(), targets.filter(counts).collect());
    }
    edges
}

/// The files that each file leads to, itself only by a circle.
fn reach(edges: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<String> = edges[from].iter().cloned().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file.clone()) {
            next.extend(edges[&file].iter().cloned());
        }
    }
    reached
}

#[test]
fn no_circles_between_the_files_of_a_room() {
    let mut circles = Vec::new();
    for (room, _) in IMPORTS {
        let edges = edges(room);
        let reached: BTreeMap<&String, BTreeSet<String>> =
            edges.keys().map(|file| (file, reach(&edges, file))).collect();
        for file in edges.keys() {
            let circle: Vec<&str> =
                reached[file].iter().filter(|other| reached[other].contains(file)).map(String::as_str).collect();
            if circle.first() == Some(&file.as_str()) {
                circles.push(circle.join(" "));
            }
        }
    }
    assert_eq!(circles, KNOWN_CIRCLES);
}

/// Lines that a file of `src/` has at most, and a function: what is longer has more than one subject.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 100;

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in rust_files(&root) {
        let name = path.strip_prefix(&root).expect("below src").display().to_string();
        let lines = std::fs::read_to_string(&path).expect("UTF-8").lines().count();
        if lines > FILE_LINES {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    assert_eq!(long, [""; 0]);
}

/// The functions of a file with their numbers of lines, comments left out: each ends at the brace that stands as far left as it began.
fn functions(code: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let declared = line.trim_start();
        let words = declared.split(['(', '<']).next().unwrap_or_default();
        if !words.split(' ').any(|word| word == "fn") || declared.ends_with([';', '}']) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - declared.len()]);
        let length = lines[at..].iter().position(|line| *line == end);
        found.extend(length.map(|length| (declared, length + 1)));
    }
    found
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let sources = sources();
    for (name, code) in &sources {
        let all = functions(code);
        long.extend(
            all.into_iter().filter(|(_, n)| *n > FUNCTION_LINES).map(|(text, n)| format!("{name}: {n} lines: {text}")),
        );
    }
    assert_eq!(long, [""; 0]);
    let (_, table) = sources.iter().find(|(name, _)| name == "model/families.rs").expect("a file with functions");
    assert!(functions(table).len() > 3, "functions are found");
}
