//! Byte sources that are implemented in JavaScript (`pkg/src/sources`): HTTP ranges and local files.

use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;
use js_sys::{Array, Function, Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::value::{from_failure, get, string};
use crate::engine::Source;
use crate::plan::Bytes;
use crate::weights::source::{ByteSource, Folder};
use crate::{Error, Result};

/// `Reader` of `pkg/src/wasm.ts`.
pub(super) struct JsReader {
    name: String,
    len: u64,
    reader: JsValue,
    read: Function,
    /// Releases bytes that were read, so that JavaScript can reuse the memory.
    done: Option<Function>,
}

fn function(of: &JsValue, name: &str) -> Result<Option<Function>> {
    Ok(get(of, name)?.dyn_into().ok())
}

async fn call(function: &Function, this: &JsValue, arguments: &[JsValue]) -> Result<JsValue> {
    let arguments: Array = arguments.iter().collect();
    let promise: Promise = match function.apply(this, &arguments) {
        Ok(value) => Promise::resolve(&value),
        Err(thrown) => return Err(from_failure(&thrown)),
    };
    JsFuture::from(promise).await.map_err(|thrown| from_failure(&thrown))
}

impl JsReader {
    pub(super) fn new(reader: JsValue) -> Result<Self> {
        let len = get(&reader, "size")?.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0);
        let len = len.ok_or_else(|| Error::invalid("source", "a file lacks `size`"))? as u64;
        let read = function(&reader, "read")?.ok_or_else(|| Error::invalid("source", "a file lacks `read()`"))?;
        let done = function(&reader, "done")?;
        Ok(Self { name: string(&reader, "name")?, len, reader, read, done })
    }

    async fn bytes(&self, range: Range<u64>) -> Result<Uint8Array> {
        let wanted = crate::weights::source::check_range(&self.name, self.len, &range)?;
        let bytes = call(&self.read, &self.reader, &[(range.start as f64).into(), (range.end as f64).into()]).await?;
        let bytes: Uint8Array = bytes
            .dyn_into()
            .map_err(|_| Error::Internal { message: format!("{}: read() did not return bytes", self.name) })?;
        if bytes.length() as usize != wanted {
            return Err(Error::Network {
                url: self.name.clone(),
                status: None,
                message: format!("bytes {}..{}: {} arrived", range.start, range.end, bytes.length()),
                retryable: true,
            });
        }
        Ok(bytes)
    }
}

#[async_trait(?Send)]
impl ByteSource for JsReader {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        self.arriving(range).await.map(Bytes::into_vec)
    }

    async fn arriving(&self, range: Range<u64>) -> Result<Bytes> {
        self.bytes(range).await.map(|bytes| Bytes::Outside(bytes, self.done.clone()))
    }
}

/// A folder of a JavaScript `Source`.
#[derive(Clone)]
pub(super) struct JsFolder {
    id: String,
    source: JsValue,
    open: Function,
    absence: Option<Function>,
    names: Option<Vec<String>>,
}

impl JsFolder {
    /// `None` if the source cannot open files by name.
    pub(super) fn of(source: &JsValue, id: &str) -> Result<Option<Self>> {
        let Some(open) = function(source, "open")? else { return Ok(None) };
        let names: Option<Array> = get(source, "names")?.dyn_into().ok();
        Ok(Some(Self {
            id: id.to_owned(),
            source: source.clone(),
            open,
            absence: function(source, "absence")?,
            names: names.map(|names| names.iter().filter_map(|name| name.as_string()).collect()),
        }))
    }
}

#[async_trait(?Send)]
impl Folder for JsFolder {
    fn id(&self) -> &str {
        &self.id
    }

    fn share(&self) -> Rc<dyn Folder> {
        Rc::new(self.clone())
    }

    async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
        let reader = call(&self.open, &self.source, &[name.into()]).await?;
        if reader.is_null() || reader.is_undefined() {
            return Ok(None);
        }
        Ok(Some(Rc::new(JsReader::new(reader)?)))
    }

    fn absence(&self, name: &str) -> Option<Error> {
        let failure = self.absence.as_ref()?.call1(&self.source, &name.into()).ok()?;
        failure.is_object().then(|| from_failure(&failure))
    }

    fn list(&self) -> Result<Option<Vec<String>>> {
        Ok(self.names.clone())
    }
}

/// A `Source` of `pkg/src/wasm.ts`.
pub(super) struct JsSource {
    pub(super) id: String,
    folder: Option<JsFolder>,
    kind: Kind,
}

enum Kind {
    Folder { file: Option<String> },
    Gguf(Rc<JsReader>),
}

impl JsSource {
    pub(super) fn of(source: &JsValue) -> Result<Self> {
        let id = string(source, "id")?;
        let folder = JsFolder::of(source, &id)?;
        let kind = match string(source, "kind")?.as_str() {
            "folder" if folder.is_none() => return Err(Error::invalid("source", "a folder lacks `open()`")),
            "folder" => Kind::Folder { file: string(source, "file").ok() },
            "gguf" => Kind::Gguf(Rc::new(JsReader::new(get(source, "reader")?)?)),
            other => return Err(Error::invalid("source", format!("{other:?} is not a kind of source"))),
        };
        Ok(Self { id, folder, kind })
    }

    pub(super) fn source(&self) -> Source<'_> {
        let folder = self.folder.as_ref().map(|f| f as &dyn Folder);
        match (&self.kind, folder) {
            (Kind::Folder { file }, Some(folder)) => Source::Folder(folder, file.as_deref()),
            (Kind::Folder { .. }, None) => unreachable!("a folder can be opened"),
            (Kind::Gguf(reader), folder) => Source::Gguf(reader.clone(), folder),
        }
    }
}
