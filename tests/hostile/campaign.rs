//! Opens a file as far as the engine does without a GPU, and runs a campaign over a folder of hostile files.

use std::path::Path;
use std::rc::Rc;

use minke::engine::{accept, tokenizer};
use minke::model::config::{GenerationDefaults, ModelConfig};
use minke::model::{Model, ModelOptions};
use minke::text::{ChatInput, ChatTemplate, Tokenizer, TokenizerConfig};
use minke::weights::checkpoint::{Checkpoint, ConfigFacts};
use minke::weights::index::ShardIndex;
use minke::weights::source::read_all;
use minke::weights::{ByteSource, DiskFile, DiskFolder, Folder, MemoryFile, gguf, json as strict_json, safetensors};
use minke::{Error, FormatKind, Result, TemplateKind};
use pollster::block_on;
use serde_json::json;

use super::guard::guarded;

/// Does everything that the engine does with an opened checkpoint before it needs a GPU.
pub fn check_model(checkpoint: &Checkpoint) -> Result<()> {
    let config = ModelConfig::from_checkpoint(checkpoint)?;
    if let Some(bytes) = &checkpoint.generation_config {
        GenerationDefaults::parse(bytes, config.vocab_size)?;
    }
    Model::new(checkpoint, &config, ModelOptions::default())?;
    let (tokenizer, tokenizer_config) = tokenizer(checkpoint)?;
    encode(&tokenizer)?;
    match tokenizer_config.chat_template(false) {
        Ok(source) => check_template(source, &tokenizer_config),
        Err(Error::Template { kind: TemplateKind::Missing, .. }) if tokenizer_config.chat_templates.is_empty() => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Encodes texts for which some patterns take exponential time.
fn encode(tokenizer: &Tokenizer) -> Result<()> {
    let text = format!("{}b Hello, world! 你好 {}", "a".repeat(40), "x".repeat(10_000));
    tokenizer.encode(&text, true).map(drop)
}

/// A chat template alone: it must parse, and render a conversation.
fn check_template(source: &str, config: &TokenizerConfig) -> Result<()> {
    let template = ChatTemplate::new(source, config)?;
    let message = |role: &str, content: &str| json!({ "role": role, "content": content });
    let messages = vec![message("user", "Hello"), message("assistant", "Hi."), message("user", "Who are you?")];
    for add_generation_prompt in [true, false] {
        let now = Some(1_750_000_000);
        let (tools, args) = (Vec::new(), serde_json::Map::new());
        template.render(&ChatInput { messages: messages.clone(), tools, add_generation_prompt, args, now })?;
    }
    Ok(())
}

fn text(file: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| Error::format(FormatKind::BadUtf8, file, error.to_string()))
}

/// The warnings of a checkpoint.
pub fn sentences(checkpoint: &Checkpoint) -> Vec<String> {
    checkpoint.warnings.iter().map(ToString::to_string).collect()
}

/// Opens a GGUF file, whole model.
pub fn open_gguf(file: Rc<dyn ByteSource>, folder: Option<&dyn Folder>) -> Result<Vec<String>> {
    let checkpoint = block_on(Checkpoint::open_gguf(file, folder, &accept))?;
    check_model(&checkpoint)?;
    Ok(sentences(&checkpoint))
}

/// Opens a folder, whole model.
pub fn open_folder(folder: &dyn Folder) -> Result<Vec<String>> {
    let checkpoint = block_on(Checkpoint::open_folder(folder, &accept))?;
    check_model(&checkpoint)?;
    Ok(sentences(&checkpoint))
}

/// config.json alone.
pub fn open_config(bytes: &[u8]) -> Result<ModelConfig> {
    let facts = ConfigFacts::Json(strict_json::parse("config.json", bytes)?);
    accept(&facts)?;
    ModelConfig::from_facts(&facts, &|_| true)
}

/// Opens the file or folder at `path`, according to its name.
fn open_path(path: &Path) -> Result<()> {
    if path.is_dir() {
        let folder = DiskFolder::new(path);
        let files = std::fs::read_dir(path).expect("a readable folder").flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        let Some(name) = names.iter().find(|name| name.ends_with(".gguf")) else {
            return open_folder(&folder).map(drop);
        };
        let file = block_on(folder.open(name))?.expect("it was just listed");
        return open_gguf(file, Some(&folder)).map(drop);
    }
    let file: Rc<dyn ByteSource> = Rc::new(DiskFile::open(path)?);
    let name = file.name().to_ascii_lowercase();
    let bytes = |file: &dyn ByteSource| block_on(read_all(file, 64 << 20));
    if name.ends_with(".gguf") {
        let folder = path.parent().map(DiskFolder::new);
        open_gguf(file, folder.as_ref().map(|folder| folder as &dyn Folder)).map(drop)
    } else if name.ends_with(".safetensors") {
        block_on(safetensors::read_header(&*file, 0)).map(drop)
    } else if name.ends_with(".jinja") {
        check_template(&text(&name, bytes(&*file)?)?, &TokenizerConfig::default())
    } else if name.contains("index") && name.ends_with(".json") {
        let index = ShardIndex::parse(&name, &bytes(&*file)?)?;
        match index.shards.iter().find(|shard| !path.with_file_name(shard).is_file()) {
            Some(shard) => {
                Err(Error::format(FormatKind::MissingShard, shard, "the index names this file, but it does not exist"))
            }
            None => Ok(()),
        }
    } else if name.contains("tokenizer_config") && name.ends_with(".json") {
        let config = TokenizerConfig::from_json(&bytes(&*file)?, &name)?;
        check_template(config.chat_template(false)?, &config)
    } else if name.contains("tokenizer") && name.ends_with(".json") {
        encode(&Tokenizer::from_json(&bytes(&*file)?, &name)?)
    } else if name.contains("generation") && name.ends_with(".json") {
        GenerationDefaults::parse(&bytes(&*file)?, usize::MAX).map(drop)
    } else if name.ends_with(".json") {
        open_config(&bytes(&*file)?).map(drop)
    } else {
        // The name does not say what it is: it must fail as both.
        match block_on(gguf::read_header(&*file, 0)) {
            Ok(_) => open_gguf(file, None).map(drop),
            Err(_) => block_on(safetensors::read_header(&*file, 0)).map(drop),
        }
    }
}

/// Whether an error blames the files, and not the engine or the machine.
fn is_verdict(error: &Error) -> bool {
    matches!(
        error,
        Error::Format { .. }
            | Error::Architecture { .. }
            | Error::Dtype { .. }
            | Error::Template { .. }
            | Error::BufferLimit { .. }
    )
}

#[test]
fn hostile() {
    let Some(folder) = std::env::var_os("MINKE_HOSTILE") else {
        crate::support::skip("MINKE_HOSTILE", "it names no folder");
        return;
    };
    let files = std::fs::read_dir(&folder).expect("MINKE_HOSTILE is a folder");
    let mut paths: Vec<_> = files.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "MINKE_HOSTILE is an empty folder");
    let mut failures = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The stack size of WebAssembly.
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let (path, case) = (path.clone(), name.clone());
        let result = thread.spawn(move || guarded(&case, || open_path(&path))).expect("a thread").join();
        match result {
            Ok(Err(error)) if is_verdict(&error) => eprintln!("{name}: {error}"),
            Ok(Err(error)) => failures.push(format!("{name}: no verdict on the file: {error}")),
            Ok(Ok(())) => failures.push(format!("{name}: accepted")),
            Err(_) => failures.push(format!("{name}: panicked, or cost too much")),
        }
    }
    assert!(failures.is_empty(), "{} of {} failed: {failures:#?}", failures.len(), paths.len());
}

#[test]
fn a_campaign_opens_by_name() {
    let folder = std::env::temp_dir().join(format!("minke-hostile-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("empty")).unwrap();
    for name in ["a.gguf", "b.safetensors", "config.json", "x.index.json", "generation_config.json", "c.bin"] {
        std::fs::write(folder.join(name), "{").unwrap();
        assert!(matches!(open_path(&folder.join(name)), Err(Error::Format { .. })), "{name}");
    }
    assert!(open_path(&folder.join("empty")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A byte source for a file in memory.
pub fn memory(name: &str, bytes: Vec<u8>) -> Rc<dyn ByteSource> {
    Rc::new(MemoryFile::new(name, bytes))
}
