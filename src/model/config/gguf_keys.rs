//! The metadata keys of a GGUF file, which are prefixed with the architecture's name, each fetched with its type checked.

use super::limits::size;
use crate::kernels::Scoring;
use crate::weights::GgufMetadata;
use crate::{Error, FormatKind, Result};

/// Metadata below an architecture's name.
pub(in crate::model) struct Keys<'a> {
    pub metadata: &'a GgufMetadata,
    /// GGUF's name of the architecture.
    pub prefix: &'a str,
}

impl<'a> Keys<'a> {
    pub fn of(metadata: &'a GgufMetadata) -> Result<Self> {
        const KEY: &str = "general.architecture";
        let prefix = metadata.string(KEY)?.ok_or_else(|| metadata.missing(KEY))?;
        if prefix.is_empty() {
            return Err(Error::format(FormatKind::BadConfig, &metadata.file, format!("{KEY} is empty")));
        }
        Ok(Self { metadata, prefix })
    }

    pub fn file(&self) -> &'a str {
        &self.metadata.file
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub fn missing(&self, name: &str) -> Error {
        self.metadata.missing(&self.key(name))
    }

    /// A whole number, given once or alike for all layers.
    pub fn unsigned(&self, name: &str) -> Result<Option<u64>> {
        self.metadata.unsigned_or_same(&self.key(name))
    }

    /// A number, given once or alike for all layers.
    pub fn float(&self, name: &str) -> Result<Option<f64>> {
        self.metadata.float_or_same(&self.key(name))
    }

    /// A factor; 0 says that there is none.
    pub fn factor(&self, name: &str) -> Result<Option<f64>> {
        Ok(self.float(name)?.filter(|&factor| factor != 0.0))
    }

    pub fn size(&self, name: &str, most: u64) -> Result<Option<usize>> {
        self.unsigned(name)?.map(|value| size(self.file(), &self.key(name), value, most)).transpose()
    }

    pub fn required(&self, name: &str, most: u64) -> Result<usize> {
        self.size(name, most)?.ok_or_else(|| self.missing(name))
    }

    /// A size; 0 says that there is no such thing.
    pub fn some(&self, name: &str, most: u64) -> Result<Option<usize>> {
        match self.unsigned(name)? {
            None | Some(0) => Ok(None),
            Some(_) => self.size(name, most),
        }
    }

    pub fn bad(&self, kind: FormatKind, message: String) -> Error {
        Error::format(kind, self.file(), message)
    }

    /// How a router's logits become scores, where the file says.
    pub fn scoring(&self) -> Result<Option<Scoring>> {
        match self.unsigned("expert_gating_func")? {
            None | Some(0) => Ok(None),
            Some(1) => Ok(Some(Scoring::Softmax)),
            Some(2) => Ok(Some(Scoring::Sigmoid)),
            Some(other) => {
                let message =
                    format!("metadata key {:?} is {other}; 1 and 2 are supported", self.key("expert_gating_func"));
                Err(self.bad(FormatKind::UnsupportedFeature, message))
            }
        }
    }
}
