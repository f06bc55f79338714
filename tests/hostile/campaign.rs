//! What "opening" a published file means here, and the campaign over a folder of hostile ones.

use std::path::Path;
use std::rc::Rc;

use minke::model::config::{GenerationDefaults, ModelConfig, architecture};
use minke::weights::checkpoint::{Checkpoint, ConfigFacts};
use minke::weights::index::ShardIndex;
use minke::weights::source::read_all;
use minke::weights::{ByteSource, DiskFile, DiskFolder, Folder, MemoryFile, gguf, json, safetensors};
use minke::{Error, Result};
use pollster::block_on;

use super::guard::guarded;

/// Decides from the configuration alone, as the engine does before it fetches anything else.
pub fn accept(facts: &ConfigFacts) -> Result<()> {
    architecture(facts).map(|_| ())
}

/// What follows once the headers are read: facts, tokenizer, generation settings.
pub fn check_model(checkpoint: &Checkpoint) -> Result<()> {
    let config = ModelConfig::from_checkpoint(checkpoint)?;
    if let ConfigFacts::Gguf(metadata) = &checkpoint.config {
        metadata.vocabulary()?;
    }
    if let Some(bytes) = &checkpoint.generation_config {
        GenerationDefaults::parse(bytes, config.vocab_size)?;
    }
    if let Some(bytes) = &checkpoint.tokenizer_json {
        check_tokenizer(bytes)?;
    }
    if let Some(bytes) = &checkpoint.chat_template {
        check_template(bytes)?;
    }
    Ok(())
}

/// tokenizer.json alone.
fn check_tokenizer(bytes: &[u8]) -> Result<()> {
    json::parse("tokenizer.json", bytes).map(|_| ())
}

/// A chat template alone.
fn check_template(bytes: &[u8]) -> Result<()> {
    std::str::from_utf8(bytes)
        .map(|_| ())
        .map_err(|error| Error::format(minke::FormatKind::BadUtf8, "chat_template.jinja", error.to_string()))
}

/// Opens a GGUF file, whole model.
pub fn open_gguf(file: Rc<dyn ByteSource>, folder: Option<&dyn Folder>) -> Result<Vec<String>> {
    let checkpoint = block_on(Checkpoint::open_gguf(file, folder, &accept))?;
    check_model(&checkpoint)?;
    Ok(checkpoint.warnings)
}

/// Opens a folder, whole model.
pub fn open_folder(folder: &dyn Folder) -> Result<Vec<String>> {
    let checkpoint = block_on(Checkpoint::open_folder(folder, &accept))?;
    check_model(&checkpoint)?;
    Ok(checkpoint.warnings)
}

/// config.json alone.
pub fn open_config(bytes: &[u8]) -> Result<ModelConfig> {
    let facts = ConfigFacts::Json(json::parse("config.json", bytes)?);
    accept(&facts)?;
    ModelConfig::from_facts(&facts, &|_| true)
}

/// Opens whatever lies at `path`, by what its name says it is.
fn open_path(path: &Path) -> Result<()> {
    if path.is_dir() {
        let folder = DiskFolder::new(path);
        let files = std::fs::read_dir(path).expect("a readable folder").flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        let Some(name) = names.iter().find(|name| name.ends_with(".gguf")) else {
            return open_folder(&folder).map(|_| ());
        };
        let file = block_on(folder.open(name))?.expect("it was just listed");
        return open_gguf(file, Some(&folder)).map(|_| ());
    }
    let file: Rc<dyn ByteSource> = Rc::new(DiskFile::open(path)?);
    let name = file.name().to_ascii_lowercase();
    let bytes = |file: &dyn ByteSource| block_on(read_all(file, 64 << 20));
    if name.ends_with(".gguf") {
        let folder = path.parent().map(DiskFolder::new);
        open_gguf(file, folder.as_ref().map(|folder| folder as &dyn Folder)).map(|_| ())
    } else if name.ends_with(".safetensors") {
        block_on(safetensors::read_header(&*file, 0)).map(|_| ())
    } else if name.ends_with(".jinja") {
        check_template(&bytes(&*file)?)
    } else if name.contains("index") && name.ends_with(".json") {
        ShardIndex::parse(&name, &bytes(&*file)?).map(|_| ())
    } else if name.contains("tokenizer") && name.ends_with(".json") {
        check_tokenizer(&bytes(&*file)?)
    } else if name.contains("generation") && name.ends_with(".json") {
        GenerationDefaults::parse(&bytes(&*file)?, usize::MAX).map(|_| ())
    } else if name.ends_with(".json") {
        open_config(&bytes(&*file)?).map(|_| ())
    } else {
        // No name to go by: it must be neither.
        match block_on(gguf::read_header(&*file, 0)) {
            Ok(_) => open_gguf(file, None).map(|_| ()),
            Err(_) => block_on(safetensors::read_header(&*file, 0)).map(|_| ()),
        }
    }
}

#[test]
fn hostile() {
    let Some(folder) = std::env::var_os("MINKE_HOSTILE") else {
        eprintln!("SKIPPED: MINKE_HOSTILE names no folder");
        return;
    };
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("MINKE_HOSTILE is a folder").flatten().map(|e| e.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "MINKE_HOSTILE is an empty folder");
    let mut accepted = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match guarded(&name, || open_path(path)) {
            Ok(()) => accepted.push(name),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    assert!(accepted.is_empty(), "accepted {} of {}: {accepted:#?}", accepted.len(), paths.len());
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

/// A file in memory, as a source.
pub fn memory(name: &str, bytes: Vec<u8>) -> Rc<dyn ByteSource> {
    Rc::new(MemoryFile::new(name, bytes))
}
