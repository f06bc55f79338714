//! Models split into several GGUF files, named `…-00001-of-00003.gguf`. Which part a file is, its metadata says too: names
//! that were changed on the way do no harm where the folder's files can be listed.

use std::rc::Rc;

use super::gguf::HeaderStart;
use super::metadata::GgufMetadata;
use super::source::{ByteSource, Folder};
use crate::{Error, FormatKind, Result};

/// What a part of a split GGUF model says about itself.
pub(super) struct Split {
    /// This part's number, from 0.
    pub number: usize,
    pub count: usize,
    /// `split.tensors.count`: tensors in all parts.
    pub tensors: Option<u64>,
    /// What stands before and after `-00001-of-00003` in the file's name, where that is its own number.
    pub affixes: Option<(String, String)>,
}

/// Parts of one split model; names have five digits, real ones at most three.
const MAX_PARTS: u64 = 1024;

impl Split {
    /// What the header says; `None` for a whole model.
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

    /// That the file with this metadata is part `number` of the same split.
    pub fn check(&self, metadata: &GgufMetadata, number: usize) -> Result<()> {
        let found = (metadata.unsigned("split.no")?, metadata.unsigned("split.count")?);
        if found != (Some(number as u64), Some(self.count as u64)) {
            let message = format!("expected part {number} of {} (counted from 0), found {found:?}", self.count);
            return Err(Error::format(FormatKind::BadShard, &metadata.file, message));
        }
        Ok(())
    }

    /// Whether a file of this split may be of the same model: one that is named after its own number has the same name.
    pub fn kin(&self, other: &Self) -> bool {
        let named_alike = match (&self.affixes, &other.affixes) {
            (Some(mine), Some(its)) => mine == its,
            _ => true,
        };
        named_alike && (self.count, self.tensors) == (other.count, other.tensors)
    }
}

/// The parts of a split model, looked for in a folder.
pub(super) struct Parts<'a> {
    split: &'a Split,
    folder: Option<&'a dyn Folder>,
    /// The folder's files that say they are parts of such a model, with their numbers; once it was asked.
    listed: Option<Vec<(usize, Rc<dyn ByteSource>)>>,
}

impl<'a> Parts<'a> {
    pub fn new(split: &'a Split, folder: Option<&'a dyn Folder>) -> Self {
        Self { split, folder, listed: None }
    }

    /// Part `number`: the `given` file if that is it; by its name or, where that leads to no such part, by what the folder's
    /// files say of themselves.
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
            return Err(lacking("its name cannot be told, because the given file is not named after its own part"));
        }
        let Some(folder) = self.folder else { return Err(lacking("only one file was given")) };
        let Some(file) = folder.open(&name).await? else {
            return Err(folder.absence(&name).unwrap_or_else(|| lacking("not there")));
        };
        self.split.check(&HeaderStart::read(&*file).await?.metadata, number)?;
        Ok(file)
    }

    /// The files that may be parts of this model. An error where two say that they are the same part: one may be another model's.
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
                let message =
                    format!("{:?} says that it is part {} of {}, too", other.name(), its.number + 1, its.count);
                return Err(Error::format(FormatKind::BadShard, name, message));
            }
            parts.push((its.number, file));
        }
        Ok(parts)
    }
}
