//! Resolves a path on the command line to a model folder or GGUF file.

use std::path::Path;

use minke::engine::{Host, Source};
use minke::weights::{Checkpoint, ConfigFacts, DiskFolder, Pack};
use minke::{Error, FormatKind, Result};
use pollster::block_on;

use super::file_name;

/// A model folder, or a GGUF file in a folder.
pub struct Place {
    pub folder: DiskFolder,
    file: Option<String>,
}

impl Place {
    /// # Errors
    /// `MissingFile` if the path does not exist.
    pub fn new(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self { folder: DiskFolder::new(path), file: None });
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // A file of a pack may exist only as parts.
        if !path.exists() && !folder.join("minke.json").exists() {
            let message = "there is no such file or folder";
            return Err(Error::format(FormatKind::MissingFile, path.display().to_string(), message));
        }
        let file = Some(file_name(path).to_string_lossy().into_owned());
        Ok(Self { folder: DiskFolder::new(folder), file })
    }

    pub fn source(&self) -> Source<'_> {
        Source::Folder(&self.folder, self.file.as_deref())
    }

    /// Reads the headers, whatever the architecture.
    pub fn open(&self) -> Result<Checkpoint> {
        let any = |_: &ConfigFacts| Ok(());
        block_on(async {
            match &self.file {
                Some(name) => Checkpoint::open_gguf_in(&self.folder, name, &any).await,
                None => Checkpoint::open_folder(&self.folder, &any).await,
            }
        })
    }

    /// The manifest, if the folder is a pack.
    pub fn pack(&self) -> Result<Option<Pack>> {
        block_on(Pack::open(&self.folder))
    }
}

/// This machine's clocks and source of randomness.
pub const HOST: Host = Host {
    clock,
    local_time,
    seed,
    warn,
    workers: |arithmetic, count| Box::pin(async move { Ok(minke::cpu::threads(arithmetic, count)) }),
};

fn clock() -> f64 {
    since_epoch().as_secs_f64() * 1e3
}

/// The time in UTC: the standard library has no time zones.
fn local_time() -> i64 {
    since_epoch().as_secs() as i64
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(since_epoch())
}

fn warn(message: &str) {
    eprintln!("minke: {message}");
}

fn since_epoch() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
