//! Opens a checkpoint: its configuration, where each tensor is stored, and its tokenizer and template files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use serde_json::Value;

use super::choose::choose;
use super::entry::TensorEntry;
use super::gguf::{GgufHeader, HeaderStart};
use super::index::ShardIndex;
use super::metadata::GgufMetadata;
use super::pack::Unpacked;
use super::source::{ByteSource, Folder, read_all};
use super::split::{Parts, Split};
use super::{json, safetensors};
use crate::plan::Bytes;
use crate::{Error, FormatKind, Result, Warning, WarningCode};

/// Maximum size in bytes of config.json, tokenizer_config.json and generation_config.json.
const MAX_CONFIG: u64 = 4 << 20;
const MAX_INDEX: u64 = 32 << 20;
const MAX_TOKENIZER: u64 = 64 << 20;
const MAX_TEMPLATE: u64 = 1 << 20;

/// The kind of files a checkpoint consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are self-explanatory
pub enum Format {
    Safetensors,
    Gguf,
}

/// A model's unparsed configuration, which `model::config` interprets.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigFacts {
    /// config.json.
    Json(Value),
    /// The metadata of the (first) GGUF file.
    Gguf(Rc<GgufMetadata>),
}

impl ConfigFacts {
    /// The name of the file that the configuration comes from, for messages.
    pub fn file(&self) -> &str {
        match self {
            Self::Json(_) => "config.json",
            Self::Gguf(metadata) => &metadata.file,
        }
    }
}

/// The files of a model, with headers read and checked; no weights are fetched.
pub struct Checkpoint {
    /// The folder or file, for messages.
    pub id: String,
    /// Safetensors or GGUF.
    pub format: Format,
    /// Every tensor by its published name.
    pub tensors: BTreeMap<String, TensorEntry>,
    /// The files that hold the tensors.
    pub shards: Vec<Rc<dyn ByteSource>>,
    /// The model's configuration.
    pub config: ConfigFacts,
    /// tokenizer.json, if it exists.
    pub tokenizer_json: Option<Vec<u8>>,
    /// tokenizer_config.json, if it exists.
    pub tokenizer_config: Option<Vec<u8>>,
    /// generation_config.json, if it exists.
    pub generation_config: Option<Vec<u8>>,
    /// chat_template.jinja or GGUF's `tokenizer.chat_template`, if it exists.
    pub chat_template: Option<Vec<u8>>,
    /// Faults that do not prevent use.
    pub warnings: Vec<Warning>,
}

/// Decides from the configuration alone whether the model is wanted, before anything else is fetched.
pub type Accept<'a> = &'a dyn Fn(&ConfigFacts) -> Result<()>;

impl Checkpoint {
    /// Opens a Hugging Face folder: config.json, then (if `accept` agrees) the shards' headers and the tokenizer's
    /// files. A folder whose files can be listed, and that has no safetensors, may hold a GGUF model.
    ///
    /// # Errors
    /// `MissingFile` if config.json or the weights are missing (or the error of what was served instead, if that is
    /// known), `UnsupportedFeature` if there are several GGUF models, and every fault of the files.
    pub async fn open_folder(folder: &dyn Folder, accept: Accept<'_>) -> Result<Self> {
        let choice = choose(folder).await?;
        let mut checkpoint = match choice.gguf {
            Some(file) => Self::open_gguf(file, Some(folder), accept).await?,
            None => Self::open_configured(folder, accept).await?,
        };
        checkpoint.warnings.splice(0..0, choice.warnings);
        Ok(checkpoint)
    }

    /// Opens the model that config.json or a pack's manifest describes.
    async fn open_configured(folder: &dyn Folder, accept: Accept<'_>) -> Result<Self> {
        let unpacked = Unpacked::new(folder);
        let Some(config) = optional(folder, "config.json", MAX_CONFIG).await? else {
            // A pack may contain a GGUF file, or the parts of a split one.
            let gguf = |name: &str| name.to_ascii_lowercase().ends_with(".gguf");
            let pack = unpacked.pack().await?;
            let largest =
                pack.as_ref().and_then(|pack| pack.files.iter().max_by_key(|(name, file)| (gguf(name), file.size)));
            return match largest {
                Some((name, _)) => Self::open_gguf_in(&unpacked, name, accept).await,
                None => Err(missing(folder, &["config.json"])),
            };
        };
        let config = json::parse("config.json", &config)?;
        if !config.is_object() {
            return Err(Error::format(FormatKind::BadConfig, "config.json", "an object is expected"));
        }
        let config = ConfigFacts::Json(config);
        accept(&config)?;
        let mut checkpoint = Self {
            id: folder.id().into(),
            format: Format::Safetensors,
            tensors: BTreeMap::new(),
            shards: Vec::new(),
            config,
            tokenizer_json: None,
            tokenizer_config: None,
            generation_config: None,
            chat_template: None,
            warnings: Vec::new(),
        };
        checkpoint.read_shards(&unpacked).await?;
        checkpoint.tokenizer_json = optional(&unpacked, "tokenizer.json", MAX_TOKENIZER).await?;
        checkpoint.tokenizer_config = optional(folder, "tokenizer_config.json", MAX_CONFIG).await?;
        checkpoint.generation_config = optional(folder, "generation_config.json", MAX_CONFIG).await?;
        checkpoint.chat_template = optional(folder, "chat_template.jinja", MAX_TEMPLATE).await?;
        Ok(checkpoint)
    }

    async fn read_shards(&mut self, folder: &Unpacked) -> Result<()> {
        const WHOLE: &str = "model.safetensors";
        const INDEX: &str = "model.safetensors.index.json";
        // The most common file name is tried first.
        let (mut whole, mut index) = (folder.plain().open(WHOLE).await?, None);
        if whole.is_none() {
            index = optional(folder, INDEX, MAX_INDEX).await?;
        }
        if whole.is_none() && index.is_none() {
            whole = folder.joined(WHOLE).await?;
        }
        if let Some(file) = whole {
            self.tensors = safetensors::read_header(&*file, 0).await?;
            self.shards.push(file);
            return Ok(());
        }
        let Some(index) = index else {
            if folder.open("pytorch_model.bin").await?.is_some() {
                let message = "found only PyTorch pickles; safetensors or GGUF files are required";
                return Err(Error::format(FormatKind::UnsupportedFormat, "pytorch_model.bin", message));
            }
            return Err(missing(folder, &[WHOLE, INDEX]));
        };
        let index = ShardIndex::parse(INDEX, &index)?;
        // Tensors are collected by shard, to recognise a file that is stored under two names.
        let mut headers: Vec<BTreeMap<String, TensorEntry>> = Vec::new();
        for (shard, name) in index.shards.iter().enumerate() {
            let Some(file) = folder.open(name).await? else {
                let missing = || {
                    Error::format(FormatKind::MissingShard, name, "the index names this file, but it does not exist")
                };
                return Err(folder.absence(name).unwrap_or_else(missing));
            };
            headers.push(safetensors::read_header(&*file, shard).await?);
            self.shards.push(file);
        }
        // Headers are compared once per pair of shards, not per tensor.
        let mut same = BTreeMap::new();
        for (shard, header) in headers.iter().enumerate() {
            let mut unmapped = 0;
            for (name, entry) in header {
                match index.weight_map.get(name) {
                    Some(&mapped) if mapped == shard => {}
                    Some(&mapped) => {
                        if *same.entry((mapped, shard)).or_insert_with(|| same_header(&headers[mapped], header)) {
                            continue;
                        }
                        let message = format!(
                            "tensor {name:?} is mapped to {}, but this file contains it too",
                            index.shards[mapped]
                        );
                        return Err(Error::format(FormatKind::DuplicateTensor, &index.shards[shard], message));
                    }
                    None if self.tensors.contains_key(name) => {
                        let message = format!("tensor {name:?} is not in the index and in two shards");
                        return Err(Error::format(FormatKind::DuplicateTensor, &index.shards[shard], message));
                    }
                    None => unmapped += 1,
                }
                self.tensors.insert(name.clone(), entry.clone());
            }
            if unmapped > 0 {
                let shard = &index.shards[shard];
                self.warn(format!("{shard}: {unmapped} tensors that the index does not name"));
            }
        }
        for (name, &shard) in &index.weight_map {
            if !self.tensors.contains_key(name) {
                let message = format!("tensor {name:?}, which the index maps to this shard, is not in it");
                return Err(Error::format(FormatKind::MissingTensor, &index.shards[shard], message));
            }
        }
        let bytes: u64 = self.tensors.values().map(TensorEntry::bytes).fold(0, u64::saturating_add);
        if let Some(total) = index.total_size.filter(|total| *total != bytes) {
            self.warn(format!("{INDEX}: total_size is {total}; the tensors have {bytes} bytes [SizeMismatch]"));
        }
        Ok(())
    }

    fn warn(&mut self, message: String) {
        self.warnings.push(Warning::new(WarningCode::Checkpoint, message));
    }

    /// Opens a GGUF file. If it is part of a split model, the other parts are opened from `folder`.
    pub async fn open_gguf(file: Rc<dyn ByteSource>, folder: Option<&dyn Folder>, accept: Accept<'_>) -> Result<Self> {
        let given = HeaderStart::read(&*file).await?;
        let split = Split::of(&given.metadata, file.name())?;
        let mut parts = split.as_ref().map(|split| Parts::new(split, folder));
        let first = match &mut parts {
            Some(parts) => parts.open(&file, 0).await?,
            None => file.clone(),
        };
        let mut start = if Rc::ptr_eq(&first, &file) { given } else { HeaderStart::read(&*first).await? };
        let config = ConfigFacts::Gguf(Rc::new(std::mem::take(&mut start.metadata)));
        accept(&config)?;
        let GgufHeader { mut tensors, mut warnings, .. } = start.tensors(0).await?;
        let mut shards = vec![first.clone()];
        if let (Some(split), Some(parts)) = (&split, &mut parts) {
            for number in 1..split.count {
                let part = parts.open(&file, number).await?;
                let header = HeaderStart::read(&*part).await?.tensors(number).await?;
                for (name, entry) in header.tensors {
                    if tensors.contains_key(&name) {
                        let message = format!("tensor {name:?} is already in an earlier part");
                        return Err(Error::format(FormatKind::DuplicateTensor, part.name(), message));
                    }
                    tensors.insert(name, entry);
                }
                warnings.extend(header.warnings);
                shards.push(part);
            }
            if split.tensors.is_some_and(|declared| declared != tensors.len() as u64) {
                let message = format!("split.tensors.count is {:?}; the parts have {}", split.tensors, tensors.len());
                return Err(Error::format(FormatKind::BadShard, file.name(), message));
            }
        }
        let ConfigFacts::Gguf(metadata) = &config else { unreachable!("set above") };
        let chat_template = metadata.string("tokenizer.chat_template")?.map(|text| text.as_bytes().to_vec());
        Ok(Self {
            id: file.name().into(),
            format: Format::Gguf,
            tensors,
            shards,
            tokenizer_json: None,
            tokenizer_config: None,
            generation_config: None,
            chat_template,
            warnings,
            config,
        })
    }

    /// Opens the GGUF file `name` of a folder, with the other parts if it is split.
    pub async fn open_gguf_in(folder: &dyn Folder, name: &str, accept: Accept<'_>) -> Result<Self> {
        let folder = Unpacked::new(folder);
        let Some(file) = folder.open(name).await? else { return Err(missing(&folder, &[name])) };
        Self::open_gguf(file, Some(&folder), accept).await
    }

    /// The name of the file that the configuration comes from, for messages.
    pub fn config_file(&self) -> &str {
        self.config.file()
    }

    /// The tensor `name`, or `MissingTensor`.
    pub fn tensor(&self, name: &str) -> Result<&TensorEntry> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::format(FormatKind::MissingTensor, &self.id, format!("tensor {name:?} is missing")))
    }

    /// The tensor `name` if it has exactly this shape, or an error that states both.
    pub fn tensor_shaped(&self, name: &str, shape: &[u64]) -> Result<&TensorEntry> {
        let entry = self.tensor(name)?;
        if entry.shape != shape {
            let message = format!("tensor {name:?} has shape {:?}; the configuration requires {shape:?}", entry.shape);
            return Err(Error::format(FormatKind::BadShape, self.shards[entry.shard].name(), message));
        }
        Ok(entry)
    }

    /// The stored bytes of a range of rows of a tensor.
    pub async fn read_rows(&self, entry: &TensorEntry, rows: Range<u64>) -> Result<Vec<u8>> {
        self.arriving(entry, rows).await.map(Bytes::into_vec)
    }

    /// As [`Self::read_rows`], but in a browser the bytes may stay in JavaScript's memory.
    pub async fn arriving(&self, entry: &TensorEntry, rows: Range<u64>) -> Result<Bytes> {
        if rows.start > rows.end || rows.end > entry.rows() {
            let message = format!("rows {rows:?} of tensor {:?}, which has {}", entry.name, entry.rows());
            return Err(Error::Internal { message });
        }
        let row_bytes = entry.row_bytes()?;
        let start = entry.range.start + rows.start * row_bytes; // the rows are within the tensor, so within the file
        let end = entry.range.start + rows.end * row_bytes;
        self.shards[entry.shard].arriving(start..end).await
    }

    /// Bytes of all tensors.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.values().map(TensorEntry::bytes).fold(0, u64::saturating_add)
    }

    /// Weights of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(TensorEntry::elements).fold(0, u64::saturating_add)
    }
}

/// The error for a required file that was found under none of its names: the error of what was served instead, if that
/// is known.
fn missing(folder: &dyn Folder, names: &[&str]) -> Error {
    let none = || Error::format(FormatKind::MissingFile, folder.id(), format!("{} is missing", names.join(" or ")));
    names.iter().find_map(|name| folder.absence(name)).unwrap_or_else(none)
}

async fn optional(folder: &dyn Folder, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    match folder.open(name).await? {
        Some(file) => read_all(&*file, limit).await.map(Some),
        None => Ok(None),
    }
}

/// Whether two shards declare the same tensors at the same offsets: they are one file under two names.
fn same_header(a: &BTreeMap<String, TensorEntry>, b: &BTreeMap<String, TensorEntry>) -> bool {
    let place = |entry: &TensorEntry| (entry.dtype, entry.shape.clone(), entry.range.clone());
    a.len() == b.len() && a.iter().zip(b).all(|((a, x), (b, y))| a == b && place(x) == place(y))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use pollster::block_on;

    use super::*;
    use crate::weights::MemoryFolder;

    /// A folder on a server that answers 403 for files that do not exist.
    #[derive(Clone)]
    struct Denied(MemoryFolder);

    #[async_trait(?Send)]
    impl Folder for Denied {
        fn id(&self) -> &str {
            self.0.id()
        }

        fn share(&self) -> Rc<dyn Folder> {
            Rc::new(self.clone())
        }

        async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
            self.0.open(name).await
        }

        fn absence(&self, name: &str) -> Option<Error> {
            let message = "the server answered 403".to_owned();
            Some(Error::Network { url: name.into(), status: Some(403), message, retryable: false })
        }
    }

    #[test]
    fn an_error_says_what_was_served_instead_of_a_required_file() {
        let index = br#"{"weight_map":{"a":"1.safetensors"}}"#;
        let sha256 = "0".repeat(64);
        let part = |name: &str| {
            let part = format!(r#"{{"name":"{name}","size":1,"sha256":"{sha256}"}}"#);
            let file = format!(r#"{{"size":1,"sha256":"{sha256}","parts":[{part}]}}"#);
            format!(r#"{{"minke":1,"files":{{"model.safetensors":{file}}}}}"#).into_bytes()
        };
        let empty = MemoryFolder::new("m");
        let config = empty.clone().with("config.json", *b"{}");
        for (folder, file) in [
            (empty, "config.json"),
            (config.clone(), "model.safetensors"),
            (config.clone().with("model.safetensors.index.json", *index), "1.safetensors"),
            (config.with("minke.json", part("p")), "p"),
        ] {
            let error = block_on(Checkpoint::open_folder(&Denied(folder), &|_| Ok(()))).map(|c| c.id).expect_err(file);
            assert!(matches!(&error, Error::Network { url, status: Some(403), .. } if url == file), "{file}: {error}");
        }
        let gguf = block_on(Checkpoint::open_gguf_in(&Denied(MemoryFolder::new("m")), "m.gguf", &|_| Ok(())));
        assert!(matches!(gguf.map(|c| c.id), Err(Error::Network { url, .. }) if url == "m.gguf"));
    }
}
