//! Reads the headers of GGUF files, versions 2 and 3: metadata and tensor descriptions, before aligned tensor data.
//!
//! The header may be tens of megabytes long and its length is not declared, so it is read in growing windows, and every
//! count in it is checked against the bytes that the file really has.

use std::collections::{BTreeMap, BTreeSet};

use super::dtype::Dtype;
use super::entry::TensorEntry;
use super::metadata::{GgufArray, GgufMetadata, GgufValue};
use super::sniff;
use super::source::ByteSource;
use crate::{Error, FormatKind, Result, Warning, WarningCode};

/// Maximum bytes of a header. Vocabularies of 256,000 tokens with their merges take about 15 MB.
const MAX_HEADER: u64 = 128 << 20;
const MAX_TENSORS: u64 = 1 << 16;
const MAX_KEYS: u64 = 1 << 16;
const MAX_KEY_BYTES: u64 = 1 << 16;
/// Maximum bytes of a string: some files embed a whole tokenizer.json.
const MAX_STRING_BYTES: u64 = 24 << 20;
/// Maximum number of elements of all arrays together.
const MAX_ELEMENTS: u64 = 1 << 22;
/// ggml's own limit for names of tensors (64 with the closing zero).
const MAX_TENSOR_NAME: u64 = 63;
const MAX_DIMS: u32 = 4;
const MAX_ALIGNMENT: u64 = 1 << 16;

/// A parsed GGUF header.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// The format's version, 2 or 3.
    pub version: u32,
    /// All metadata.
    pub metadata: GgufMetadata,
    /// Tensors by name; shapes outermost dimension first, byte ranges within this file.
    pub tensors: BTreeMap<String, TensorEntry>,
    /// Faults that do not prevent use.
    pub warnings: Vec<Warning>,
}

/// A header of which the metadata has been read, which describes the model; [`Self::tensors`] reads the rest.
pub struct HeaderStart<'a> {
    /// All metadata.
    pub metadata: GgufMetadata,
    version: u32,
    tensor_count: u64,
    alignment: u64,
    reader: Reader<'a>,
}

/// Reads the header of a GGUF file and checks every tensor's byte range; `shard` is stored in the entries.
pub async fn read_header(source: &dyn ByteSource, shard: usize) -> Result<GgufHeader> {
    HeaderStart::read(source).await?.tensors(shard).await
}

impl<'a> HeaderStart<'a> {
    /// Reads the metadata.
    pub async fn read(source: &'a dyn ByteSource) -> Result<Self> {
        let mut reader = Reader::new(source);
        let magic = reader.window(64).await?;
        if magic.first_chunk::<4>() != Some(b"GGUF") {
            let hint = sniff::hint(magic).map(|hint| format!(": {hint}")).unwrap_or_default();
            let kind = if magic.len() < 4 { FormatKind::Truncated } else { FormatKind::BadMagic };
            return Err(
                reader.fail(kind, format!("{} bytes that do not begin with the magic \"GGUF\"{hint}", source.len()))
            );
        }
        reader.u32().await?;
        let version = reader.u32().await?;
        if !(2..=3).contains(&version) {
            let endian = if matches!(version.swap_bytes(), 1..=3) { " (a big-endian file)" } else { "" };
            let message = format!("GGUF version {version}{endian}; versions 2 and 3 are supported");
            return Err(reader.fail(FormatKind::UnsupportedVersion, message));
        }
        let tensor_count = reader.u64().await?;
        let key_count = reader.u64().await?;
        reader.at_most("tensors", tensor_count, MAX_TENSORS)?;
        reader.at_most("metadata keys", key_count, MAX_KEYS)?;
        let mut metadata = GgufMetadata { file: source.name().into(), values: BTreeMap::new() };
        for _ in 0..key_count {
            let key = reader.string("a metadata key", MAX_KEY_BYTES).await?;
            if key.is_empty() || key.contains('\0') {
                return Err(reader.fail(FormatKind::BadKey, format!("metadata key {key:?}")));
            }
            if metadata.values.contains_key(&key) {
                return Err(reader.fail(FormatKind::DuplicateKey, format!("metadata key {key:?} appears twice")));
            }
            let value = reader.value(&key).await?;
            metadata.values.insert(key, value);
        }
        let alignment = alignment(&metadata)?;
        Ok(Self { metadata, version, tensor_count, alignment, reader })
    }

    /// Reads the tensors' descriptions and checks every tensor's byte range; `shard` is stored in the entries.
    pub async fn tensors(mut self, shard: usize) -> Result<GgufHeader> {
        let mut declared = Vec::new();
        let mut names = BTreeSet::new();
        for _ in 0..self.tensor_count {
            let tensor = self.reader.tensor().await?;
            if !names.insert(tensor.name.clone()) {
                let message = format!("tensor {:?} appears twice", tensor.name);
                return Err(self.reader.fail(FormatKind::DuplicateTensor, message));
            }
            declared.push(tensor);
        }
        let data_start = self.reader.position().next_multiple_of(self.alignment); // no overflow: far below 2^64
        let (tensors, warnings) = place(self.reader.source, declared, data_start, self.alignment, shard)?;
        Ok(GgufHeader { version: self.version, metadata: self.metadata, tensors, warnings })
    }
}

fn alignment(metadata: &GgufMetadata) -> Result<u64> {
    let bad = |kind, message| Err(Error::format(kind, &metadata.file, message));
    match metadata.get("general.alignment") {
        None => Ok(32),
        Some(GgufValue::U32(n)) if n.is_power_of_two() && u64::from(*n) <= MAX_ALIGNMENT => Ok(u64::from(*n)),
        Some(GgufValue::U32(n)) => {
            let message = format!("general.alignment is {n}; a power of two up to {MAX_ALIGNMENT} is expected");
            bad(FormatKind::BadAlignment, message)
        }
        Some(other) => bad(FormatKind::BadType, format!("general.alignment is {}, expected UINT32", other.type_name())),
    }
}

/// A tensor as declared in the header.
struct Declared {
    name: String,
    /// Outermost dimension first.
    shape: Vec<u64>,
    dtype: Dtype,
    bytes: u64,
    /// Offset relative to the data section.
    offset: u64,
}

/// Checks that the tensors cover the data section in order: aligned, within the file, without overlaps or holes.
fn place(
    source: &dyn ByteSource,
    declared: Vec<Declared>,
    data_start: u64,
    alignment: u64,
    shard: usize,
) -> Result<(BTreeMap<String, TensorEntry>, Vec<Warning>)> {
    let (file, file_len) = (source.name(), source.len());
    let mut tensors = BTreeMap::new();
    let mut end = data_start;
    for tensor in declared {
        let Declared { name, shape, dtype, bytes, offset } = tensor;
        let fail = |kind, message: String| Err(Error::format(kind, file, format!("tensor {name:?}: {message}")));
        let start = data_start.checked_add(offset);
        let Some((start, stop)) = start.and_then(|start| Some((start, start.checked_add(bytes)?))) else {
            return fail(FormatKind::Overflow, format!("offset {offset} + {bytes} bytes exceeds 64 bits"));
        };
        if offset % alignment != 0 {
            return fail(
                FormatKind::BadOffset,
                format!("offset {offset} is not a multiple of the alignment {alignment}"),
            );
        }
        if file_len <= data_start {
            return fail(FormatKind::Truncated, format!("data begins at byte {data_start}; the file has {file_len}"));
        }
        if start >= file_len {
            return fail(FormatKind::BadOffset, format!("data at byte {start}; the file has {file_len} bytes"));
        }
        if start < end {
            return fail(FormatKind::Overlap, format!("data at byte {start}; the tensor before it ends at {end}"));
        }
        if start > end.next_multiple_of(alignment) {
            return fail(
                FormatKind::BadOffset,
                format!("data at byte {start} leaves a hole; the data before it ends at {end}"),
            );
        }
        if stop > file_len {
            return fail(FormatKind::Truncated, format!("data ends at byte {stop}; the file has {file_len} bytes"));
        }
        end = stop;
        tensors.insert(name.clone(), TensorEntry { name, dtype, shape, shard, range: start..stop });
    }
    let mut warnings = Vec::new();
    let padded = end.next_multiple_of(alignment);
    if file_len > padded {
        let message = format!("{file}: {} bytes after the last tensor [TrailingData]", file_len - padded);
        warnings.push(Warning::new(WarningCode::Checkpoint, message));
    }
    Ok((tensors, warnings))
}

/// A forward reader that holds one window of the file.
struct Reader<'a> {
    source: &'a dyn ByteSource,
    window: Vec<u8>,
    /// Bytes of the window that have been consumed.
    used: usize,
    /// The window's offset in the file.
    start: u64,
    /// Bytes to read next: grows, because a header that is long so far is likely to continue.
    next_read: u64,
    /// Array elements that may still follow within the limit.
    elements_left: u64,
}

const FIRST_READ: u64 = 256 << 10;
const LARGEST_READ: u64 = 4 << 20;

impl<'a> Reader<'a> {
    fn new(source: &'a dyn ByteSource) -> Self {
        Self { source, window: Vec::new(), used: 0, start: 0, next_read: FIRST_READ, elements_left: MAX_ELEMENTS }
    }

    fn fail(&self, kind: FormatKind, message: String) -> Error {
        Error::format(kind, self.source.name(), message)
    }

    fn position(&self) -> u64 {
        self.start + self.used as u64
    }

    fn left_in_file(&self) -> u64 {
        self.source.len() - self.position()
    }

    fn at_most(&self, what: &str, count: u64, limit: u64) -> Result<()> {
        if count > limit {
            let message = format!("{count} {what} are declared; at most {limit} are accepted");
            return Err(self.fail(FormatKind::LimitExceeded, message));
        }
        Ok(())
    }

    /// Peeks at the next bytes: `wanted`, or as many as the file has.
    async fn window(&mut self, wanted: usize) -> Result<&[u8]> {
        if self.window.len() - self.used < wanted {
            let window_end = self.start + self.window.len() as u64;
            let missing = (wanted - (self.window.len() - self.used)) as u64;
            let read = missing.max(self.next_read).min(self.source.len() - window_end);
            if window_end + read > MAX_HEADER + LARGEST_READ {
                return Err(self.fail(FormatKind::LimitExceeded, format!("a header of more than {MAX_HEADER} bytes")));
            }
            if read > 0 {
                let more = self.source.read(window_end..window_end + read).await?;
                self.start += self.used as u64;
                self.window.drain(..self.used);
                self.used = 0;
                self.window.extend_from_slice(&more);
                self.next_read = (self.next_read * 2).min(LARGEST_READ);
            }
        }
        let end = self.window.len().min(self.used + wanted);
        Ok(&self.window[self.used..end])
    }

    /// Consumes the next `n` bytes.
    async fn take(&mut self, n: usize) -> Result<&[u8]> {
        if self.left_in_file() < n as u64 {
            let message = format!("the file ends at byte {}, inside the header", self.source.len());
            return Err(self.fail(FormatKind::Truncated, message));
        }
        self.window(n).await?;
        let start = self.used;
        self.used += n;
        Ok(&self.window[start..start + n])
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N).await?);
        Ok(bytes)
    }

    async fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array().await?))
    }

    async fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array().await?))
    }

    async fn string(&mut self, what: &str, limit: u64) -> Result<String> {
        let length = self.u64().await?;
        if length > limit {
            let message = format!("{what} of {length} bytes at byte {}; at most {limit} are accepted", self.position());
            return Err(self.fail(FormatKind::LimitExceeded, message));
        }
        let position = self.position();
        let bytes = self.take(length as usize).await?; // at most `limit`
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(self.fail(FormatKind::BadUtf8, format!("{what} at byte {position} is not UTF-8"))),
        }
    }

    async fn bool(&mut self, key: &str) -> Result<bool> {
        match self.array::<1>().await? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.fail(FormatKind::BadValue, format!("metadata key {key:?}: a BOOL of {other}"))),
        }
    }

    async fn value(&mut self, key: &str) -> Result<GgufValue> {
        let type_number = self.u32().await?;
        Ok(match type_number {
            0 => GgufValue::U8(u8::from_le_bytes(self.array().await?)),
            1 => GgufValue::I8(i8::from_le_bytes(self.array().await?)),
            2 => GgufValue::U16(u16::from_le_bytes(self.array().await?)),
            3 => GgufValue::I16(i16::from_le_bytes(self.array().await?)),
            4 => GgufValue::U32(u32::from_le_bytes(self.array().await?)),
            5 => GgufValue::I32(i32::from_le_bytes(self.array().await?)),
            6 => GgufValue::F32(f32::from_le_bytes(self.array().await?)),
            7 => GgufValue::Bool(self.bool(key).await?),
            8 => GgufValue::String(self.string(&format!("the string under {key:?}"), MAX_STRING_BYTES).await?),
            9 => GgufValue::Array(self.array_value(key).await?),
            10 => GgufValue::U64(u64::from_le_bytes(self.array().await?)),
            11 => GgufValue::I64(i64::from_le_bytes(self.array().await?)),
            12 => GgufValue::F64(f64::from_le_bytes(self.array().await?)),
            other => return Err(self.fail(FormatKind::BadType, format!("metadata key {key:?} has value type {other}"))),
        })
    }

    async fn array_value(&mut self, key: &str) -> Result<GgufArray> {
        let type_number = self.u32().await?;
        let count = self.u64().await?;
        let element_bytes: u64 = match type_number {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8, // a string has at least its length
            9 => return Err(self.fail(FormatKind::BadType, format!("metadata key {key:?} is an array of arrays"))),
            other => {
                return Err(
                    self.fail(FormatKind::BadType, format!("metadata key {key:?} is an array of value type {other}"))
                );
            }
        };
        self.at_most(&format!("array elements (metadata key {key:?})"), count, self.elements_left)?;
        self.elements_left -= count;
        if count * element_bytes > self.left_in_file() {
            let message =
                format!("metadata key {key:?}: {count} array elements, but only {} bytes left", self.left_in_file());
            return Err(self.fail(FormatKind::Truncated, message));
        }
        macro_rules! numbers {
            ($variant:ident, $type:ty) => {
                GgufArray::$variant(self.numbers(count as usize, <$type>::from_le_bytes).await?)
            };
        }
        Ok(match type_number {
            0 => numbers!(U8, u8),
            1 => numbers!(I8, i8),
            2 => numbers!(U16, u16),
            3 => numbers!(I16, i16),
            4 => numbers!(U32, u32),
            5 => numbers!(I32, i32),
            6 => numbers!(F32, f32),
            10 => numbers!(U64, u64),
            11 => numbers!(I64, i64),
            12 => numbers!(F64, f64),
            7 => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.bool(key).await?);
                }
                GgufArray::Bool(items)
            }
            _ => {
                let what = format!("a string under {key:?}");
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.string(&what, MAX_STRING_BYTES).await?);
                }
                GgufArray::String(items)
            }
        })
    }

    /// Reads `count` numbers of `N` bytes, a window at a time.
    async fn numbers<T, const N: usize>(&mut self, count: usize, from_bytes: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while items.len() < count {
            let now = (count - items.len()).min(1 << 14);
            let bytes = self.take(now * N).await?;
            let (chunks, _) = bytes.as_chunks::<N>();
            items.extend(chunks.iter().map(|chunk| from_bytes(*chunk)));
        }
        Ok(items)
    }

    async fn tensor(&mut self) -> Result<Declared> {
        let name = self.string("a tensor's name", MAX_TENSOR_NAME).await?;
        let fail =
            |kind, message: String| Error::format(kind, self.source.name(), format!("tensor {name:?}: {message}"));
        if name.is_empty() {
            return Err(fail(FormatKind::BadKey, "the name is empty".into()));
        }
        let rank = self.u32().await?;
        if !(1..=MAX_DIMS).contains(&rank) {
            return Err(fail(FormatKind::BadShape, format!("{rank} dimensions; 1 to {MAX_DIMS} are expected")));
        }
        let mut dims = Vec::new();
        for _ in 0..rank {
            dims.push(self.u64().await?);
        }
        let type_number = self.u32().await?;
        let offset = self.u64().await?;
        let fail =
            |kind, message: String| Error::format(kind, self.source.name(), format!("tensor {name:?}: {message}"));
        if dims.contains(&0) {
            return Err(fail(FormatKind::BadShape, format!("shape {dims:?} has a zero")));
        }
        // ggml counts elements in i64.
        let elements =
            dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim)).filter(|n| i64::try_from(*n).is_ok());
        let elements =
            elements.ok_or_else(|| fail(FormatKind::Overflow, format!("shape {dims:?} exceeds 2^63 elements")))?;
        let dtype = Dtype::from_ggml(type_number)
            .ok_or_else(|| fail(FormatKind::UnknownDtype, format!("ggml type {type_number}")))?;
        let (per_block, _) = dtype.block();
        if dims[0] % per_block != 0 {
            let message = format!("rows of {} weights are not whole blocks of {per_block} ({})", dims[0], dtype.name());
            return Err(fail(FormatKind::BadShape, message));
        }
        let bytes = dtype.bytes(elements).filter(|bytes| i64::try_from(*bytes).is_ok());
        let bytes = bytes.ok_or_else(|| {
            fail(FormatKind::Overflow, format!("shape {dims:?} of {} exceeds 2^63 bytes", dtype.name()))
        })?;
        dims.reverse();
        Ok(Declared { name, shape: dims, dtype, bytes, offset })
    }
}
