//! Byte sources of model files: memory and disk; `web` adds HTTP ranges and dropped files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;

use crate::plan::Bytes;
use crate::{Error, FormatKind, Result};

/// Bytes of a checkpoint that are read at once.
pub const BLOCK: u64 = 4 << 20;

/// A file of known length that can be read in ranges.
#[async_trait(?Send)]
pub trait ByteSource {
    /// The file's name, as error messages show it.
    fn name(&self) -> &str;

    /// The file's length in bytes.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly the bytes of `range`, which must be within the file; anything else is a typed error.
    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>>;

    /// As [`Self::read`], for bytes that are passed on to the GPU: in a browser they may stay in JavaScript's memory.
    async fn arriving(&self, range: Range<u64>) -> Result<Bytes> {
        self.read(range).await.map(Bytes::Here)
    }
}

/// A collection of named files: a repository, a URL ending in `/`, a directory, a drop.
#[async_trait(?Send)]
pub trait Folder {
    /// The folder's name, as error messages show it.
    fn id(&self) -> &str;

    /// A shared handle to this folder.
    fn share(&self) -> Rc<dyn Folder>;

    /// Opens the file `name`; `None` if it does not exist.
    async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>>;

    /// The error of what was served instead of a file that `open` did not find, if more is known than that it does not
    /// exist.
    fn absence(&self, _name: &str) -> Option<Error> {
        None
    }

    /// The names of the folder's files, if they can be listed, as those of a directory or a drop.
    fn list(&self) -> Result<Option<Vec<String>>> {
        Ok(None)
    }
}

/// Checks that `range` is within a file of `len` bytes and returns the range's length.
pub fn check_range(name: &str, len: u64, range: &Range<u64>) -> Result<usize> {
    let wrong = || {
        let message = format!("bytes {}..{} were requested; the file has {len} bytes", range.start, range.end);
        Error::format(FormatKind::Truncated, name, message)
    };
    if range.end > len {
        return Err(wrong());
    }
    range.end.checked_sub(range.start).and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong)
}

/// Reads a whole file; an error if it is larger than `limit` bytes.
pub async fn read_all(source: &dyn ByteSource, limit: u64) -> Result<Vec<u8>> {
    if source.len() > limit {
        let message = format!("the file has {} bytes; at most {limit} are accepted", source.len());
        return Err(Error::format(FormatKind::LimitExceeded, source.name(), message));
    }
    source.read(0..source.len()).await
}

/// A file held in memory.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    name: String,
    bytes: Rc<[u8]>,
}

impl MemoryFile {
    /// Creates a file `name` with these bytes.
    pub fn new(name: impl Into<String>, bytes: impl Into<Rc<[u8]>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

#[async_trait(?Send)]
impl ByteSource for MemoryFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let length = check_range(&self.name, self.len(), &range)?;
        let start = range.start as usize; // at most the slice's length, which is a usize
        Ok(self.bytes[start..start + length].to_vec())
    }
}

/// A folder held in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryFolder {
    id: String,
    files: BTreeMap<String, MemoryFile>,
}

impl MemoryFolder {
    /// An empty folder.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), files: BTreeMap::new() }
    }

    /// Adds a file to the folder.
    pub fn with(mut self, name: &str, bytes: impl Into<Rc<[u8]>>) -> Self {
        self.files.insert(name.into(), MemoryFile::new(name, bytes));
        self
    }
}

#[async_trait(?Send)]
impl Folder for MemoryFolder {
    fn id(&self) -> &str {
        &self.id
    }

    fn share(&self) -> Rc<dyn Folder> {
        Rc::new(self.clone())
    }

    async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
        Ok(self.files.get(name).map(|file| Rc::new(file.clone()) as Rc<dyn ByteSource>))
    }

    fn list(&self) -> Result<Option<Vec<String>>> {
        Ok(Some(self.files.keys().cloned().collect()))
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use disk::{DiskFile, DiskFolder};

#[cfg(not(target_arch = "wasm32"))]
mod disk {
    use std::fs::File;
    use std::io::{ErrorKind, Read, Seek, SeekFrom};
    use std::ops::Range;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;

    use async_trait::async_trait;

    use super::{ByteSource, Folder, check_range};
    use crate::{Error, Result};

    fn io_error(name: &str, error: &std::io::Error) -> Error {
        Error::Network { url: name.into(), status: None, message: error.to_string(), retryable: false }
    }

    /// A file on disk.
    #[derive(Debug)]
    pub struct DiskFile {
        name: String,
        file: File,
        len: u64,
    }

    impl DiskFile {
        /// Opens the file at `path`; its name is the last part of the path.
        pub fn open(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref();
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let file = File::open(path).map_err(|error| io_error(&path.to_string_lossy(), &error))?;
            let len = file.metadata().map_err(|error| io_error(&name, &error))?.len();
            Ok(Self { name, file, len })
        }
    }

    #[async_trait(?Send)]
    impl ByteSource for DiskFile {
        fn name(&self) -> &str {
            &self.name
        }

        fn len(&self) -> u64 {
            self.len
        }

        async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
            let length = check_range(&self.name, self.len, &range)?;
            let mut bytes = vec![0; length];
            let mut file = &self.file;
            file.seek(SeekFrom::Start(range.start)).map_err(|error| io_error(&self.name, &error))?;
            file.read_exact(&mut bytes).map_err(|error| io_error(&self.name, &error))?;
            Ok(bytes)
        }
    }

    /// A directory on disk.
    #[derive(Debug, Clone)]
    pub struct DiskFolder {
        id: String,
        path: PathBuf,
    }

    impl DiskFolder {
        /// The directory at `path`, whose existence is not checked until a file is opened.
        pub fn new(path: impl AsRef<Path>) -> Self {
            let path = path.as_ref().to_owned();
            Self { id: path.to_string_lossy().into_owned(), path }
        }
    }

    #[async_trait(?Send)]
    impl Folder for DiskFolder {
        fn id(&self) -> &str {
            &self.id
        }

        fn share(&self) -> Rc<dyn Folder> {
            Rc::new(self.clone())
        }

        async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
            let path = self.path.join(name);
            match path.metadata() {
                Ok(metadata) if metadata.is_file() => Ok(Some(Rc::new(DiskFile::open(path)?))),
                Ok(_) => Ok(None),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
                Err(error) => Err(io_error(name, &error)),
            }
        }

        /// Files, without those in subdirectories; an empty list if the directory does not exist.
        fn list(&self) -> Result<Option<Vec<String>>> {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(&self.path).into_iter().flatten() {
                let entry = entry.map_err(|error| io_error(&self.id, &error))?;
                // A name that is not UTF-8 could not be opened by name.
                if let (true, Ok(name)) = (entry.path().is_file(), entry.file_name().into_string()) {
                    names.push(name);
                }
            }
            names.sort();
            Ok(Some(names))
        }
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;

    #[test]
    fn reads_are_exact_or_errors() {
        let file = MemoryFile::new("f", [1u8, 2, 3, 4]);
        assert_eq!(block_on(file.read(1..3)).unwrap(), [2, 3]);
        assert_eq!(block_on(file.read(4..4)).unwrap(), [0u8; 0]);
        for range in [3..5, 5..5, 0..u64::MAX] {
            let error = block_on(file.read(range)).unwrap_err();
            assert!(matches!(error, Error::Format { kind: FormatKind::Truncated, .. }), "{error}");
        }
        #[allow(clippy::reversed_empty_ranges)] // a caller's mistake must not panic
        let reversed = block_on(file.read(3..1));
        assert!(reversed.is_err());
        assert!(matches!(block_on(read_all(&file, 3)), Err(Error::Format { kind: FormatKind::LimitExceeded, .. })));
    }

    #[test]
    fn disk_and_memory_read_alike() {
        let folder = DiskFolder::new(env!("CARGO_MANIFEST_DIR"));
        let file = block_on(folder.open("Cargo.toml")).unwrap().expect("the manifest is there");
        let all = block_on(read_all(&*file, 1 << 20)).unwrap();
        assert_eq!(block_on(file.read(1..9)).unwrap(), all[1..9]);
        assert!(block_on(folder.open("no such file")).unwrap().is_none());
        assert!(block_on(folder.open("src")).unwrap().is_none(), "a directory is no file");
        let names = folder.list().unwrap().expect("a directory can be listed");
        assert!(names.contains(&"Cargo.toml".to_owned()) && !names.contains(&"src".to_owned()), "{names:?}");
    }
}
