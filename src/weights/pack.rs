//! Packs: folders made for static hosts. Files larger than a host accepts are cut into parts; `minke.json` says how, and
//! holds the SHA-256 of every file and part. Joined, the parts are the file as it was, byte for byte.
//!
//! The manifest is asked for where config.json or the weights are not there under their own names, so the first file of
//! weights is always a part. Parts are joined below the parsers, on every target. safetensors has no number format for
//! blocks of quantised weights: they are bytes there, and their names end in `.Q4_0` or `.Q8_0`.
//!
//! ```json
//! { "minke": 1, "quantization": "q4",
//!   "files": { "config.json": { "size": 689, "sha256": "…" },
//!              "model.safetensors": { "size": 96000123, "sha256": "…", "parts": [
//!                { "name": "model.safetensors.00001-of-00004", "size": 25165824, "sha256": "…" }, … ] } } }
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::index::check_plain;
use super::json;
use super::source::{BLOCK, ByteSource, Folder, check_range, read_all};
use crate::{Error, FormatKind, Result};

/// The manifest's name.
pub const MANIFEST: &str = "minke.json";
/// The manifest's version.
pub const VERSION: u64 = 1;

const MAX_MANIFEST: u64 = 16 << 20;
/// Maximum number of files and parts of a pack.
const MAX_ENTRIES: usize = 1 << 16;
/// Maximum number of parts of a file that are kept open.
const OPEN_PARTS: usize = 4;

/// The contents of `minke.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// [`VERSION`].
    minke: u64,
    /// How unquantised weights were quantised, `q8` or `q4`; absent if the files are unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// All files except the manifest, by name.
    pub files: BTreeMap<String, PackedFile>,
}

/// A file of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedFile {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the whole file, in hexadecimal.
    pub sha256: String,
    /// The parts, in order; empty if the file is not split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PackedPart>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedPart {
    /// The name of the part's file.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Pack {
    /// Creates the manifest of these files.
    pub fn new(quantization: Option<String>, files: BTreeMap<String, PackedFile>) -> Self {
        Self { minke: VERSION, quantization, files }
    }

    /// Reads the manifest of a folder, if it has one.
    ///
    /// # Errors
    /// Faults of the manifest.
    pub async fn open(folder: &dyn Folder) -> Result<Option<Self>> {
        let Some(file) = folder.open(MANIFEST).await? else { return Ok(None) };
        Self::parse(&read_all(&*file, MAX_MANIFEST).await?).map(Some)
    }

    /// Parses a manifest and checks that names stay below the folder and sizes add up.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let fail = |kind, message: String| Err(Error::format(kind, MANIFEST, message));
        let value = json::parse(MANIFEST, bytes)?;
        match value.get("minke").and_then(serde_json::Value::as_u64) {
            Some(VERSION) => {}
            Some(other) => {
                return fail(
                    FormatKind::UnsupportedVersion,
                    format!("version {other}; version {VERSION} is supported"),
                );
            }
            None => return fail(FormatKind::MissingKey, "no version under \"minke\"".into()),
        }
        let pack: Self = match serde_json::from_value(value) {
            Ok(pack) => pack,
            Err(error) => return fail(FormatKind::BadIndex, error.to_string()),
        };
        let entries: usize = pack.files.values().map(|file| 1 + file.parts.len()).sum();
        if entries > MAX_ENTRIES {
            let message = format!("{entries} files and parts; at most {MAX_ENTRIES} are accepted");
            return fail(FormatKind::LimitExceeded, message);
        }
        let hash = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        for (name, file) in &pack.files {
            check_plain(MANIFEST, name)?;
            if !hash(&file.sha256) || !file.parts.iter().all(|part| hash(&part.sha256)) {
                return fail(FormatKind::BadValue, format!("{name:?}: a sha256 that is not 64 hexadecimal digits"));
            }
            file.parts.iter().try_for_each(|part| check_plain(MANIFEST, &part.name))?;
            let sum = file.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.size));
            if !file.parts.is_empty() && sum != Some(file.size) {
                let message = format!("the parts of {name:?} have {sum:?} bytes together, it has {}", file.size);
                return fail(FormatKind::SizeMismatch, message);
            }
        }
        Ok(pack)
    }

    /// Reads every file and checks sizes and hashes against the manifest. `progress` receives the bytes read since the
    /// last call and the file that they came from.
    ///
    /// # Errors
    /// `MissingFile`, `MissingShard`, `SizeMismatch`, [`Error::Integrity`], and errors of the folder.
    pub async fn verify(&self, folder: &dyn Folder, progress: &mut dyn FnMut(u64, &str)) -> Result<()> {
        for (name, file) in &self.files {
            let mut whole = Sha256::new();
            if file.parts.is_empty() {
                let Some(source) = folder.open(name).await? else {
                    let message = format!("{name:?} is missing; the manifest lists it");
                    return Err(Error::format(FormatKind::MissingFile, folder.id(), message));
                };
                check_size(&*source, name, file.size)?;
                digest(&*source, &mut [&mut whole], progress).await?;
            }
            for part in &file.parts {
                let (source, mut hash) = (open_part(folder, name, part).await?, Sha256::new());
                digest(&*source, &mut [&mut whole, &mut hash], progress).await?;
                check_hash(&part.name, &part.sha256, hash)?;
            }
            check_hash(name, &file.sha256, whole)?;
        }
        Ok(())
    }
}

/// A digest in hexadecimal.
pub fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn digest(
    source: &dyn ByteSource,
    hashes: &mut [&mut Sha256],
    progress: &mut dyn FnMut(u64, &str),
) -> Result<()> {
    let mut at = 0;
    while at < source.len() {
        let bytes = source.read(at..source.len().min(at + BLOCK)).await?;
        hashes.iter_mut().for_each(|hash| hash.update(&bytes));
        progress(bytes.len() as u64, source.name());
        at += bytes.len() as u64;
    }
    Ok(())
}

fn check_hash(name: &str, expected: &str, hash: Sha256) -> Result<()> {
    let found = hexadecimal(hash);
    if found != expected {
        return Err(Error::Integrity { file: name.to_owned(), expected: expected.to_owned(), found });
    }
    Ok(())
}

fn check_size(source: &dyn ByteSource, name: &str, expected: u64) -> Result<()> {
    if source.len() != expected {
        let message = format!("{} bytes; {MANIFEST} says {expected}", source.len());
        return Err(Error::format(FormatKind::SizeMismatch, name, message));
    }
    Ok(())
}

async fn open_part(folder: &dyn Folder, file: &str, part: &PackedPart) -> Result<Rc<dyn ByteSource>> {
    let Some(source) = folder.open(&part.name).await? else {
        let message = format!("{MANIFEST} names this part of {file:?}, but it does not exist");
        let missing = || Error::format(FormatKind::MissingShard, &part.name, message);
        return Err(folder.absence(&part.name).unwrap_or_else(missing));
    };
    check_size(&*source, &part.name, part.size)?;
    Ok(source)
}

/// A folder in which split files appear whole. The manifest is read when a file does not exist under its own name.
#[derive(Clone)]
pub struct Unpacked {
    folder: Rc<dyn Folder>,
    pack: Rc<RefCell<Option<Option<Rc<Pack>>>>>,
}

impl Unpacked {
    /// Wraps a folder.
    pub fn new(folder: &dyn Folder) -> Self {
        Self { folder: folder.share(), pack: Rc::default() }
    }

    /// The wrapped folder.
    pub(super) fn plain(&self) -> &dyn Folder {
        &*self.folder
    }

    /// The manifest, if there is one.
    ///
    /// # Errors
    /// Faults of the manifest.
    pub async fn pack(&self) -> Result<Option<Rc<Pack>>> {
        let known = self.pack.borrow().clone();
        if let Some(pack) = known {
            return Ok(pack);
        }
        let pack = Pack::open(&*self.folder).await?.map(Rc::new);
        *self.pack.borrow_mut() = Some(pack.clone());
        Ok(pack)
    }

    /// The file `name` from its parts, if the manifest lists parts of it.
    pub(super) async fn joined(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
        let Some(pack) = self.pack().await? else { return Ok(None) };
        let Some(file) = pack.files.get(name).filter(|file| !file.parts.is_empty()) else { return Ok(None) };
        let mut start = 0;
        let parts = file.parts.iter().map(|part| {
            let range = start..start + part.size; // the sum was checked
            start = range.end;
            (range, part.clone())
        });
        let joined = Joined {
            name: name.to_owned(),
            len: file.size,
            folder: self.folder.clone(),
            parts: parts.collect(),
            open: RefCell::default(),
        };
        Ok(Some(Rc::new(joined)))
    }
}

#[async_trait(?Send)]
impl Folder for Unpacked {
    fn id(&self) -> &str {
        self.folder.id()
    }

    fn share(&self) -> Rc<dyn Folder> {
        Rc::new(self.clone())
    }

    async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
        match self.folder.open(name).await? {
            Some(file) => Ok(Some(file)),
            None => self.joined(name).await,
        }
    }

    fn absence(&self, name: &str) -> Option<Error> {
        self.folder.absence(name)
    }

    /// The files of a pack if the manifest has been read, else those of the wrapped folder.
    fn list(&self) -> Result<Option<Vec<String>>> {
        match &*self.pack.borrow() {
            Some(Some(pack)) => Ok(Some(pack.files.keys().cloned().collect())),
            _ => self.folder.list(),
        }
    }
}

/// A file that is read from its parts, which are opened on first use.
struct Joined {
    name: String,
    len: u64,
    folder: Rc<dyn Folder>,
    parts: Vec<(Range<u64>, PackedPart)>,
    /// The parts opened most recently, by index.
    open: RefCell<VecDeque<(usize, Rc<dyn ByteSource>)>>,
}

impl Joined {
    async fn part(&self, index: usize) -> Result<Rc<dyn ByteSource>> {
        let known = self.open.borrow().iter().find(|(i, _)| *i == index).map(|(_, source)| source.clone());
        if let Some(source) = known {
            return Ok(source);
        }
        let source = open_part(&*self.folder, &self.name, &self.parts[index].1).await?;
        let mut open = self.open.borrow_mut();
        open.push_back((index, source.clone()));
        if open.len() > OPEN_PARTS {
            open.pop_front();
        }
        Ok(source)
    }
}

#[async_trait(?Send)]
impl ByteSource for Joined {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        check_range(&self.name, self.len, &range)?;
        let mut bytes = Vec::new(); // the length is only declared: memory is allocated for what the parts really have
        let first = self.parts.partition_point(|(part, _)| part.end <= range.start);
        for (index, (part, _)) in
            self.parts.iter().enumerate().skip(first).take_while(|(_, (p, _))| p.start < range.end)
        {
            let wanted = range.start.max(part.start)..range.end.min(part.end);
            if !wanted.is_empty() {
                let source = self.part(index).await?;
                bytes.extend(source.read(wanted.start - part.start..wanted.end - part.start).await?);
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::weights::MemoryFolder;

    fn sha256(bytes: &[u8]) -> String {
        hexadecimal(Sha256::new_with_prefix(bytes))
    }

    /// Ten bytes in parts of four, and a whole file.
    fn pack() -> (Pack, MemoryFolder) {
        let bytes: Vec<u8> = (0..10).collect();
        let mut folder = MemoryFolder::new("pack").with("small", *b"abc");
        let mut parts = Vec::new();
        for (i, part) in bytes.chunks(4).enumerate() {
            let name = format!("large.{i}");
            folder = folder.with(&name, part);
            parts.push(PackedPart { name, size: part.len() as u64, sha256: sha256(part) });
        }
        let file = |bytes: &[u8], parts| PackedFile { size: bytes.len() as u64, sha256: sha256(bytes), parts };
        let files = [("large".to_owned(), file(&bytes, parts)), ("small".to_owned(), file(b"abc", Vec::new()))];
        let pack = Pack::new(None, files.into());
        let manifest = serde_json::to_vec(&pack).expect("JSON");
        assert_eq!(Pack::parse(&manifest).expect("a manifest"), pack);
        (pack, folder.with(MANIFEST, manifest))
    }

    fn kind<T>(result: Result<T>) -> FormatKind {
        match result {
            Err(Error::Format { kind, .. }) => kind,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn parts_read_as_one_file() {
        let (pack, folder) = pack();
        block_on(pack.verify(&folder, &mut |_, _| {})).expect("whole");
        let unpacked = Unpacked::new(&folder);
        let large = block_on(unpacked.open("large")).unwrap().expect("it is listed");
        assert_eq!(large.len(), 10);
        for start in 0..10u64 {
            for end in start..=10 {
                let want: Vec<u8> = (start as u8..end as u8).collect();
                assert_eq!(block_on(large.read(start..end)).unwrap(), want);
            }
        }
        assert_eq!(kind(block_on(large.read(3..11))), FormatKind::Truncated);
        assert!(block_on(unpacked.open("small")).unwrap().is_some());
        assert!(block_on(unpacked.open("other")).unwrap().is_none());
    }

    #[test]
    fn what_is_not_as_the_manifest_says_is_an_error() {
        let (pack, folder) = pack();
        let verify = |folder: &MemoryFolder| kind(block_on(pack.verify(folder, &mut |_, _| {})));
        for (name, bytes) in [("large.1", &[4u8, 5, 6, 8][..]), ("small", b"abd")] {
            let error = block_on(pack.verify(&folder.clone().with(name, bytes), &mut |_, _| {})).expect_err(name);
            assert!(matches!(&error, Error::Integrity { file, .. } if file == name), "{error}");
        }
        let short = folder.clone().with("large.1", [4, 5, 6]);
        assert_eq!(verify(&short), FormatKind::SizeMismatch);
        let large = block_on(Unpacked::new(&short).open("large")).unwrap().expect("it is listed");
        assert_eq!(kind(block_on(large.read(0..10))), FormatKind::SizeMismatch);
        assert_eq!(block_on(large.read(0..4)).unwrap(), [0, 1, 2, 3], "parts that are not read do no harm");
        let manifest = serde_json::to_vec(&pack).expect("JSON");
        let only = MemoryFolder::new("pack").with(MANIFEST, manifest).with("large.0", [0, 1, 2, 3]);
        assert_eq!(verify(&only), FormatKind::MissingShard);
        let large = block_on(Unpacked::new(&only).open("large")).unwrap().expect("it is listed");
        assert_eq!(kind(block_on(large.read(3..5))), FormatKind::MissingShard);
    }

    #[test]
    fn sizes_that_no_file_has_take_no_memory() {
        let (size, sha256) = (1u64 << 60, sha256(b"abc"));
        let part = PackedPart { name: "part".into(), size, sha256: sha256.clone() };
        let file = PackedFile { size, sha256, parts: vec![part] };
        let manifest = serde_json::to_vec(&Pack::new(None, [("large".to_owned(), file)].into())).expect("JSON");
        let folder = MemoryFolder::new("pack").with(MANIFEST, manifest).with("part", *b"abc");
        let large = block_on(Unpacked::new(&folder).open("large")).unwrap().expect("it is listed");
        assert_eq!(large.len(), size);
        assert_eq!(kind(block_on(large.read(0..size))), FormatKind::SizeMismatch);
    }

    #[test]
    fn faulty_manifests_are_rejected() {
        let (pack, _) = pack();
        let manifest = serde_json::to_string(&pack).expect("JSON");
        let with = |from: &str, to: &str| {
            assert!(manifest.contains(from), "{from}");
            kind(Pack::parse(manifest.replacen(from, to, 1).as_bytes()))
        };
        assert_eq!(with("\"minke\":1", "\"minke\":2"), FormatKind::UnsupportedVersion);
        assert_eq!(with("\"minke\":1,", ""), FormatKind::MissingKey);
        assert_eq!(with("\"size\":10", "\"size\":11"), FormatKind::SizeMismatch);
        assert_eq!(with("\"size\":4", "\"size\":18446744073709551615"), FormatKind::SizeMismatch);
        assert_eq!(with("\"size\":10", "\"size\":-1"), FormatKind::BadIndex);
        assert_eq!(with("\"size\":10", "\"length\":10"), FormatKind::BadIndex);
        assert_eq!(with("large.1", "../large.1"), FormatKind::UnsafePath);
        assert_eq!(with("\"small\"", "\"https://host/small\""), FormatKind::UnsafePath);
        assert_eq!(with("\"sha256\":\"", "\"sha256\":\"x"), FormatKind::BadValue);
        assert_eq!(with("\"small\"", "\"large\""), FormatKind::DuplicateKey);
        assert_eq!(kind(Pack::parse(b"[]")), FormatKind::MissingKey);
    }
}
