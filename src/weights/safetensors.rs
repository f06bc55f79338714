//! Parses the header of a safetensors file: a `u64` length and JSON, before the tensors' bytes without gaps.
//!
//! The parser is stricter than the format's reference: no unknown fields, no duplicate tensors, at most 8 dimensions.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::dtype::Dtype;
use super::entry::TensorEntry;
use super::source::ByteSource;
use super::{blocks, json, sniff};
use crate::{Error, FormatKind, Result};

/// Bytes of the first read. Most headers are smaller, so that one request reads length and header.
const FIRST_READ: u64 = 128 << 10;
/// Maximum bytes of a header. The largest published ones have about 15 MB.
const MAX_HEADER: u64 = 32 << 20;
/// Maximum number of tensors in a file.
const MAX_TENSORS: usize = 1 << 18;
/// Maximum bytes of a tensor's name.
const MAX_NAME: usize = 1024;
/// Maximum number of dimensions of a tensor.
const MAX_RANK: usize = 8;

/// Reads the tensors of a safetensors file, by name; `shard` is stored in their entries.
pub async fn read_header(source: &dyn ByteSource, shard: usize) -> Result<BTreeMap<String, TensorEntry>> {
    let file = source.name();
    let fail = |kind, message: String| Error::format(kind, file, message);
    let start = source.read(0..source.len().min(FIRST_READ)).await?;
    let length = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    // A length may begin like another format: a header of 640 bytes like a pickle.
    let ours = length.is_some_and(|length| length <= MAX_HEADER) && start.get(8) == Some(&b'{');
    if let Some(hint) = sniff::hint(&start).filter(|_| !ours) {
        return Err(fail(FormatKind::UnsupportedFormat, format!("not a safetensors file: {hint}")));
    }
    let Some(length) = length else {
        return Err(fail(FormatKind::Truncated, format!("{} bytes; a safetensors file has at least 8", start.len())));
    };
    if length > MAX_HEADER {
        let message = format!("a header of {length} bytes is declared; at most {MAX_HEADER} are accepted");
        return Err(fail(FormatKind::LimitExceeded, message));
    }
    let data_start = 8 + length; // no overflow: bounded above
    if data_start > source.len() {
        let message = format!("a header of {length} bytes is declared; {} follow", source.len() - 8);
        return Err(fail(FormatKind::Truncated, message));
    }
    let mut header = start;
    if (header.len() as u64) < data_start {
        header.extend(source.read(header.len() as u64..data_start).await?);
    }
    header.truncate(data_start as usize); // bounded above
    header.drain(..8);
    parse_header(file, &header, source.len(), shard)
}

/// Parses the tensors that `header` (the JSON without its length) declares for a file of `file_len` bytes.
pub fn parse_header(file: &str, header: &[u8], file_len: u64, shard: usize) -> Result<BTreeMap<String, TensorEntry>> {
    let text = json::text(file, header)?;
    let kind = Cell::new(FormatKind::BadJson);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let declared = Header { kind: &kind }.deserialize(&mut deserializer).and_then(|it| deserializer.end().map(|()| it));
    let declared = declared.map_err(|error| {
        let kind = if error.is_eof() { FormatKind::BadJson } else { kind.get() };
        Error::format(kind, file, error.to_string())
    })?;
    let data_start = 8 + header.len() as u64;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in declared {
        let entry = check_tensor(file, name, tensor, data_start, shard)?;
        tensors.insert(entry.name.clone(), entry);
    }
    check_layout(file, &tensors, data_start, file_len)?;
    blocks::typed(file, tensors)
}

fn check_tensor(file: &str, name: String, tensor: Declared, data_start: u64, shard: usize) -> Result<TensorEntry> {
    let fail = |kind, message: String| Err(Error::format(kind, file, format!("tensor {:?}: {message}", short(&name))));
    let Declared { dtype, shape, offsets: [start, end] } = tensor;
    if name.is_empty() || name.len() > MAX_NAME {
        return fail(FormatKind::BadKey, format!("a name of {} bytes; 1 to {MAX_NAME} are accepted", name.len()));
    }
    let Some(dtype) = Dtype::from_safetensors(&dtype) else {
        return fail(FormatKind::UnknownDtype, format!("number format {dtype:?}"));
    };
    let Some(elements) = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim)) else {
        return fail(FormatKind::Overflow, format!("shape {shape:?} has more than 2^64 elements"));
    };
    let (per_block, block_bytes) = dtype.block();
    if elements % per_block != 0 {
        return fail(FormatKind::SizeMismatch, format!("{elements} elements of {} are not whole bytes", dtype.name()));
    }
    let Some(bytes) = (elements / per_block).checked_mul(block_bytes) else {
        return fail(FormatKind::Overflow, format!("shape {shape:?} of {} has more than 2^64 bytes", dtype.name()));
    };
    let Some(span) = end.checked_sub(start) else {
        return fail(FormatKind::BadOffset, format!("data_offsets [{start}, {end}] run backwards"));
    };
    if span != bytes {
        let message = format!("data_offsets span {span} bytes; shape {shape:?} of {} has {bytes}", dtype.name());
        return fail(FormatKind::SizeMismatch, message);
    }
    let Some(range_end) = data_start.checked_add(end) else {
        return fail(FormatKind::Overflow, format!("data_offsets end at {end}"));
    };
    Ok(TensorEntry { name, dtype, shape, shard, range: data_start + start..range_end })
}

/// A name, truncated for a message.
fn short(name: &str) -> String {
    name.chars().take(120).collect()
}

/// Checks that the tensors cover the data exactly: no overlap, no hole, no trailing bytes.
fn check_layout(file: &str, tensors: &BTreeMap<String, TensorEntry>, data_start: u64, file_len: u64) -> Result<()> {
    let mut by_place: Vec<&TensorEntry> = tensors.values().collect();
    by_place.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut expected = data_start;
    for tensor in by_place {
        if tensor.range.start != expected {
            let (kind, what) = if tensor.range.start < expected {
                (FormatKind::Overlap, "overlaps the tensor before it, which ends")
            } else {
                (FormatKind::BadOffset, "leaves a hole; the data before it ends")
            };
            let message = format!("tensor {:?} at byte {} {what} at {expected}", tensor.name, tensor.range.start);
            return Err(Error::format(kind, file, message));
        }
        expected = tensor.range.end;
    }
    let message = || format!("the header declares {expected} bytes; the file has {file_len}");
    match file_len.cmp(&expected) {
        std::cmp::Ordering::Less => Err(Error::format(FormatKind::Truncated, file, message())),
        std::cmp::Ordering::Greater => Err(Error::format(FormatKind::TrailingData, file, message())),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

struct Declared {
    dtype: String,
    shape: Vec<u64>,
    offsets: [u64; 2],
}

/// Deserialises the whole header. `kind` is the kind of an error at the current position.
#[derive(Clone, Copy)]
struct Header<'a> {
    kind: &'a Cell<FormatKind>,
}

impl<'de> DeserializeSeed<'de> for Header<'_> {
    type Value = BTreeMap<String, Declared>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Header<'_> {
    type Value = BTreeMap<String, Declared>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut tensors = BTreeMap::new();
        let mut has_metadata = false;
        while let Some(name) = access.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    self.kind.set(FormatKind::DuplicateKey);
                    return Err(A::Error::custom("__metadata__ appears twice"));
                }
                access.next_value::<Metadata>()?;
                continue;
            }
            if tensors.contains_key(&name) {
                self.kind.set(FormatKind::DuplicateTensor);
                return Err(A::Error::custom(format!("tensor {name:?} appears twice")));
            }
            if tensors.len() == MAX_TENSORS {
                self.kind.set(FormatKind::LimitExceeded);
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            let tensor = access.next_value_seed(Tensor { kind: self.kind })?;
            tensors.insert(name, tensor);
        }
        Ok(tensors)
    }
}

/// `__metadata__`: a map of strings, which is ignored.
struct Metadata;

impl<'de> serde::Deserialize<'de> for Metadata {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of strings in __metadata__")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Metadata, A::Error> {
                while access.next_entry::<String, String>()?.is_some() {}
                Ok(Metadata)
            }
        }
        deserializer.deserialize_map(Strings)
    }
}

/// Deserialises the object of one tensor.
struct Tensor<'a> {
    kind: &'a Cell<FormatKind>,
}

impl<'de> DeserializeSeed<'de> for Tensor<'_> {
    type Value = Declared;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Declared, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tensor<'_> {
    type Value = Declared;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Declared, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = access.next_key::<String>()? {
            let twice = match field.as_str() {
                "dtype" => dtype.replace(access.next_value::<String>()?).is_some(),
                "shape" => {
                    self.kind.set(FormatKind::BadShape);
                    let seed = Numbers { most: MAX_RANK, what: "dimensions that are whole numbers" };
                    shape.replace(access.next_value_seed(seed)?).is_some()
                }
                "data_offsets" => {
                    self.kind.set(FormatKind::BadOffset);
                    let seed = Numbers { most: 2, what: "two data_offsets that are whole numbers" };
                    let numbers = access.next_value_seed(seed)?;
                    let pair = <[u64; 2]>::try_from(numbers)
                        .map_err(|numbers| A::Error::custom(format!("{} data_offsets instead of 2", numbers.len())))?;
                    offsets.replace(pair).is_some()
                }
                _ => {
                    access.next_value::<IgnoredAny>()?;
                    return Err(A::Error::custom(format!("unknown field {field:?} in a tensor")));
                }
            };
            self.kind.set(FormatKind::BadJson);
            if twice {
                self.kind.set(FormatKind::DuplicateKey);
                return Err(A::Error::custom(format!("field {field:?} appears twice in a tensor")));
            }
        }
        match (dtype, shape, offsets) {
            (Some(dtype), Some(shape), Some(offsets)) => Ok(Declared { dtype, shape, offsets }),
            _ => Err(A::Error::custom("a tensor without dtype, shape or data_offsets")),
        }
    }
}

/// Deserialises a list of at most `most` unsigned integers.
struct Numbers {
    most: usize,
    what: &'static str,
}

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Vec<u64>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "at most {} {}", self.most, self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = access.next_element::<u64>()? {
            if numbers.len() == self.most {
                return Err(A::Error::custom(format!("more than {} {}", self.most, self.what)));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::weights::MemoryFile;

    /// Lengths whose bytes look like the start of a pickle or a gzip archive.
    #[test]
    fn the_length_may_look_like_another_format() {
        for length in [0x0280, 0x0380, 0x0480, 0x0580, 0x8b1f] {
            let mut header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_vec();
            header.resize(length, b' ');
            let file = [&(length as u64).to_le_bytes()[..], &header, &[0; 4]].concat();
            let tensors = block_on(read_header(&MemoryFile::new("a", file), 0)).expect("a header");
            assert_eq!(tensors["a"].bytes(), 4);
        }
        let pickle = [0x80, 2, b'}', b'q', 0, b'.', 0, 0, 0, 0];
        let error = block_on(read_header(&MemoryFile::new("a", pickle.to_vec()), 0)).unwrap_err();
        assert!(error.to_string().contains("pickle"), "{error}");
    }
}
