//! Models split into several GGUF files, named `…-00001-of-00003.gguf`.

use std::rc::Rc;

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
    /// The file name up to `-00001-of-00003.gguf`, where it has that form.
    prefix: Option<String>,
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
        let suffix = Self::suffix(number, count);
        let prefix = file.strip_suffix(&suffix).map(Into::into);
        Ok(Some(Self { number, count, tensors: metadata.unsigned("split.tensors.count")?, prefix }))
    }

    fn suffix(number: usize, count: usize) -> String {
        format!("-{:05}-of-{count:05}.gguf", number + 1)
    }

    /// Part `number`, from the folder.
    pub async fn open(&self, folder: Option<&dyn Folder>, number: usize) -> Result<Rc<dyn ByteSource>> {
        let suffix = Self::suffix(number, self.count);
        let name = match &self.prefix {
            Some(prefix) => format!("{prefix}{suffix}"),
            None => format!("…{suffix}"),
        };
        let lacking = |why: &str| {
            Error::format(FormatKind::MissingShard, &name, format!("part {} of {}: {why}", number + 1, self.count))
        };
        if self.prefix.is_none() {
            return Err(lacking("its name cannot be told, because the given file is not named after its own part"));
        }
        let Some(folder) = folder else { return Err(lacking("only one file was given")) };
        folder.open(&name).await?.ok_or_else(|| lacking("not there"))
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
}
