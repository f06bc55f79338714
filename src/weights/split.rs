//! Finds the parts of models that are split into several GGUF files, named `…-00001-of-00003.gguf`. The metadata also
//! contains a part's number: files that were renamed are found if the folder's files can be listed.

use std::rc::Rc;

use super::gguf::HeaderStart;
use super::metadata::GgufMetadata;
use super::source::{ByteSource, Folder};
use crate::{Error, FormatKind, Result};

/// The split metadata of a part of a GGUF model.
pub(super) struct Split {
    /// This part's number, counted from 0.
    pub number: usize,
    pub count: usize,
    /// `split.tensors.count`: tensors in all parts.
    pub tensors: Option<u64>,
    /// The file's name before and after `-00001-of-00003`, if that contains the part's own number.
    pub affixes: Option<(String, String)>,
}

/// Maximum number of parts of a model; names have five digits, of which real models use at most three.
const MAX_PARTS: u64 = 1024;

impl Split {
    /// Reads the split metadata of a header; `None` for a model that is not split.
    pub fn of(metadata: &GgufMetadata, file: &str) -> Result<Option<Self>> {
        let number = metadata.unsigned("split.no")?;
        let Some(count) = metadata.unsigned("split.count")? else { return Ok(None) };
        let bad = |kind, message| Err(Error::format(kind, file, message));
        if count > MAX_PARTS {
            return bad(FormatKind::LimitExceeded, format!("split.count is {count}; at most {MAX_PARTS} are accepted"));
        }
        let Some(number) = number else {
            return if count <= 1 { Ok(None) } else { bad(FormatKind::BadShard, "split.no is missing".into()) };
        };
        if number >= count.max(1) {
            return bad(FormatKind::BadShard, format!("split.no is {number} of {count} parts (counted from 0)"));
        }
        if count <= 1 {
            return Ok(None);
        }
        let (number, count) = (number as usize, count as usize); // both at most 1024
        let affixes = file.rsplit_once(&Self::position(number, count));
        let affixes = affixes.filter(|(_, after)| after.eq_ignore_ascii_case(".gguf"));
        let affixes = affixes.map(|(before, after)| (before.to_owned(), after.to_owned()));
        Ok(Some(Self { number, count, tensors: metadata.unsigned("split.tensors.count")?, affixes }))
    }

    fn position(number: usize, count: usize) -> String {
        format!("-{:05}-of-{count:05}", number + 1)
    }

    /// Checks that the file with this metadata is part `number` of the same split.
    pub fn check(&self, metadata: &GgufMetadata, number: usize) -> Result<()> {
        let found = (metadata.unsigned("split.no")?, metadata.unsigned("split.count")?);
        if found != (Some(number as u64), Some(self.count as u64)) {
            let message = format!("expected part {number} of {} (counted from 0), found {found:?}", self.count);
            return Err(Error::format(FormatKind::BadShard, &metadata.file, message));
        }
        Ok(())
    }

    /// Whether the part `other` may belong to the same model: if both are named after their own numbers, the rest of
    /// the name must match.
    pub fn kin(&self, other: &Self) -> bool {
        let named_alike = match (&self.affixes, &other.affixes) {
            (Some(mine), Some(its)) => mine == its,
            _ => true,
        };
        named_alike && (self.count, self.tensors) == (other.count, other.tensors)
    }
}

/// Finds the parts of a split model in a folder.
pub(super) struct Parts<'a> {
    split: &'a Split,
    folder: Option<&'a dyn Folder>,
    /// The files of the folder that claim to be parts of the model, with their numbers, once the folder has been listed.
    listed: Option<Vec<(usize, Rc<dyn ByteSource>)>>,
}

impl<'a> Parts<'a> {
    pub fn new(split: &'a Split, folder: Option<&'a dyn Folder>) -> Self {
        Self { split, folder, listed: None }
    }

    /// Opens part `number`: the `given` file if its number matches, else a file by name or, failing that, by the
    /// metadata of the folder's files.
    pub async fn open(&mut self, given: &Rc<dyn ByteSource>, number: usize) -> Result<Rc<dyn ByteSource>> {
        if number == self.split.number {
            return Ok(given.clone());
        }
        let fault = match self.named(number).await {
            Ok(file) => return Ok(file),
            Err(fault) => fault,
        };
        if self.listed.is_none() {
            self.listed = Some(self.list().await?);
        }
        let found = self.listed.iter().flatten().find(|(n, _)| *n == number);
        found.map(|(_, file)| file.clone()).ok_or(fault)
    }

    async fn named(&self, number: usize) -> Result<Rc<dyn ByteSource>> {
        let position = Split::position(number, self.split.count);
        let name = match &self.split.affixes {
            Some((before, after)) => format!("{before}{position}{after}"),
            None => format!("…{position}.gguf"),
        };
        let lacking = |why: &str| {
            Error::format(
                FormatKind::MissingShard,
                &name,
                format!("part {} of {}: {why}", number + 1, self.split.count),
            )
        };
        if self.split.affixes.is_none() {
            return Err(lacking("its name cannot be derived, because the given file is not named after its own part"));
        }
        let Some(folder) = self.folder else { return Err(lacking("only one file was given")) };
        let Some(file) = folder.open(&name).await? else {
            return Err(folder.absence(&name).unwrap_or_else(|| lacking("not there")));
        };
        self.split.check(&HeaderStart::read(&*file).await?.metadata, number)?;
        Ok(file)
    }

    /// The files that may be parts of this model. It is an error if two claim to be the same part: one may belong to
    /// another model.
    async fn list(&self) -> Result<Vec<(usize, Rc<dyn ByteSource>)>> {
        let mut parts: Vec<(usize, Rc<dyn ByteSource>)> = Vec::new();
        let Some(folder) = self.folder else { return Ok(parts) };
        for name in folder.list()?.unwrap_or_default() {
            let Ok(Some(file)) = folder.open(&name).await else { continue };
            let Ok(HeaderStart { metadata, .. }) = HeaderStart::read(&*file).await else { continue };
            let Ok(Some(its)) = Split::of(&metadata, &name) else { continue };
            if !self.split.kin(&its) {
                continue;
            }
            if let Some((_, other)) = parts.iter().find(|(n, _)| *n == its.number) {
                let message = format!("{:?} also claims to be part {} of {}", other.name(), its.number + 1, its.count);
                return Err(Error::format(FormatKind::BadShard, name, message));
            }
            parts.push((its.number, file));
        }
        Ok(parts)
    }
}
