//! Writes a file of a pack: splits it into parts if it is larger than a shard, and hashes it on the way.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use minke::weights::pack::{PackedFile, PackedPart, hexadecimal};
use sha2::{Digest, Sha256};

use super::{Failure, writing};

/// A file that is being written. Its length is known in advance, because the names of parts contain their number.
pub struct PartWriter<'a> {
    folder: &'a Path,
    name: String,
    len: u64,
    shard: u64,
    /// Whether the file is named as a part even if it is not split.
    part: bool,
    written: u64,
    whole: Sha256,
    open: Option<Part>,
    parts: Vec<PackedPart>,
}

struct Part {
    name: String,
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

impl<'a> PartWriter<'a> {
    pub fn new(folder: &'a Path, name: &str, len: u64, shard: u64, part: bool) -> Self {
        let (name, whole) = (name.to_owned(), Sha256::new());
        Self { folder, name, len, shard, part, written: 0, whole, open: None, parts: Vec::new() }
    }

    fn part_name(&self) -> String {
        match self.len.div_ceil(self.shard).max(1) {
            1 if !self.part => self.name.clone(),
            count => format!("{}.{:05}-of-{count:05}", self.name, self.parts.len() + 1),
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let name = self.part_name();
        let path = self.folder.join(&name);
        if let Some(folder) = path.parent() {
            writing(folder, fs::create_dir_all(folder))?; // an index may name shards in folders
        }
        let file = writing(&path, File::create(&path))?;
        self.open = Some(Part { name, path, file: BufWriter::new(file), hash: Sha256::new(), size: 0 });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some(mut part) = self.open.take() else { return Ok(()) };
        writing(&part.path, part.file.flush())?;
        self.parts.push(PackedPart { name: part.name, size: part.size, sha256: hexadecimal(part.hash) });
        Ok(())
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        self.written += bytes.len() as u64;
        self.whole.update(bytes);
        while !bytes.is_empty() {
            if self.open.is_none() {
                self.start()?;
            }
            let part = self.open.as_mut().expect("it was just started");
            let room = usize::try_from(self.shard - part.size).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            part.hash.update(now);
            writing(&part.path, part.file.write_all(now))?;
            part.size += now.len() as u64;
            if part.size == self.shard {
                self.end()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Writes zeros up to an offset in the file.
    pub fn pad(&mut self, to: u64) -> Result<(), Failure> {
        self.write(&vec![0; (to - self.written) as usize])
    }

    /// Closes the file and returns its manifest entry.
    pub fn finish(mut self) -> Result<(String, PackedFile), Failure> {
        assert_eq!(self.written, self.len, "{} has the declared length", self.name);
        if self.len == 0 {
            self.start()?;
        }
        self.end()?;
        let parts = if self.part || self.parts.len() > 1 { self.parts } else { Vec::new() };
        Ok((self.name, PackedFile { size: self.len, sha256: hexadecimal(self.whole), parts }))
    }
}
