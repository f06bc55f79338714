//! Parses `model.safetensors.index.json`, which maps tensors to shards.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};

use super::json;
use crate::{Error, FormatKind, Result};

/// Maximum number of shards of a model.
const MAX_SHARDS: usize = 1024;
/// Maximum number of tensors of a model.
const MAX_TENSORS: usize = 1 << 18;

/// A parsed shard index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShardIndex {
    /// Names of the shard files, sorted.
    pub shards: Vec<String>,
    /// Tensor name → index in `shards`.
    pub weight_map: BTreeMap<String, usize>,
    /// `metadata.total_size`: bytes of all tensors, if the file declares it.
    pub total_size: Option<u64>,
}

impl ShardIndex {
    /// Parses an index; shard names that lead out of the folder are rejected.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let text = json::text(file, bytes)?;
        let kind = Cell::new(FormatKind::BadJson);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let raw = Index { kind: &kind }.deserialize(&mut deserializer).and_then(|it| deserializer.end().map(|()| it));
        let raw = raw.map_err(|error| {
            let syntax =
                matches!(error.classify(), serde_json::error::Category::Syntax | serde_json::error::Category::Eof);
            Error::format(if syntax { FormatKind::BadJson } else { kind.get() }, file, error.to_string())
        })?;
        let Some((weight_map, shards)) = raw.weight_map else {
            return Err(Error::format(FormatKind::BadIndex, file, "weight_map is missing"));
        };
        if weight_map.is_empty() {
            return Err(Error::format(FormatKind::BadIndex, file, "weight_map is empty"));
        }
        for name in shards.keys() {
            check_path(file, name)?;
        }
        // Shards were numbered in order of appearance; renumber them by name.
        let mut order = vec![0; shards.len()];
        for (by_name, &as_it_came) in shards.values().enumerate() {
            order[as_it_came] = by_name;
        }
        let weight_map = weight_map.into_iter().map(|(tensor, shard)| (tensor, order[shard])).collect();
        Ok(Self { shards: shards.into_keys().collect(), weight_map, total_size: raw.total_size })
    }
}

/// Checks that a shard's name is a plain relative path to a safetensors file below the folder.
fn check_path(file: &str, name: &str) -> Result<()> {
    check_plain(file, name)?;
    if !name.ends_with(".safetensors") {
        return Err(Error::format(FormatKind::BadIndex, file, format!("shard {name:?} is not a .safetensors file")));
    }
    Ok(())
}

/// Checks that a name from a file is a plain relative path below the folder; a percent-encoded one could lead out of it.
pub(super) fn check_plain(file: &str, name: &str) -> Result<()> {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | ':' | '*' | '<' | '>' | '|' | '"');
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(['.', ' ']);
    let hexadecimal = |w: &[u8]| w[0] == b'%' && w[1..].iter().all(u8::is_ascii_hexdigit);
    let encoded = name.as_bytes().windows(3).any(hexadecimal);
    if name.len() > 255 || encoded || name.chars().any(odd) || name.split('/').any(bad_part) {
        return Err(Error::format(
            FormatKind::UnsafePath,
            file,
            format!("shard name {name:?} is not a plain relative path"),
        ));
    }
    Ok(())
}

type WeightMap = (BTreeMap<String, usize>, BTreeMap<String, usize>);

#[derive(Default)]
struct Raw {
    weight_map: Option<WeightMap>,
    total_size: Option<u64>,
}

#[derive(Clone, Copy)]
struct Index<'a> {
    kind: &'a Cell<FormatKind>,
}

impl<'de> DeserializeSeed<'de> for Index<'_> {
    type Value = Raw;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        self.kind.set(FormatKind::BadIndex);
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Index<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut raw = Raw::default();
        let mut seen_metadata = false;
        while let Some(key) = access.next_key::<String>()? {
            let twice = match key.as_str() {
                "weight_map" => raw.weight_map.replace(access.next_value_seed(Map { kind: self.kind })?).is_some(),
                "metadata" => {
                    raw.total_size = access.next_value::<Metadata>()?.bytes();
                    std::mem::replace(&mut seen_metadata, true)
                }
                _ => {
                    access.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                self.kind.set(FormatKind::DuplicateKey);
                return Err(A::Error::custom(format!("{key} appears twice")));
            }
        }
        Ok(raw)
    }
}

/// `metadata`, of which only `total_size` is used; some writers make it a float.
#[derive(serde::Deserialize)]
struct Metadata {
    total_size: Option<serde_json::Number>,
}

impl Metadata {
    fn bytes(&self) -> Option<u64> {
        let size = self.total_size.as_ref()?;
        size.as_u64().or_else(|| size.as_f64().filter(|bytes| *bytes >= 0.0).map(|bytes| bytes as u64))
    }
}

struct Map<'a> {
    kind: &'a Cell<FormatKind>,
}

impl<'de> DeserializeSeed<'de> for Map<'_> {
    type Value = WeightMap;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<WeightMap, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Map<'_> {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("weight_map as an object of tensor names and file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<WeightMap, A::Error> {
        let (mut tensors, mut shards) = (BTreeMap::new(), BTreeMap::new());
        while let Some((tensor, shard)) = access.next_entry::<String, String>()? {
            let next = shards.len();
            let shard = *shards.entry(shard).or_insert(next);
            if shards.len() > MAX_SHARDS || tensors.len() == MAX_TENSORS {
                self.kind.set(FormatKind::LimitExceeded);
                return Err(A::Error::custom(format!("more than {MAX_SHARDS} shards or {MAX_TENSORS} tensors")));
            }
            if tensors.contains_key(&tensor) {
                self.kind.set(FormatKind::DuplicateTensor);
                return Err(A::Error::custom(format!("tensor {tensor:?} appears twice")));
            }
            tensors.insert(tensor, shard);
        }
        Ok((tensors, shards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbered_by_name() {
        let text =
            r#"{"metadata": {"total_size": 1.2e1}, "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors"}}"#;
        let index = ShardIndex::parse("index", text.as_bytes()).unwrap();
        assert_eq!(index.shards, ["m-1.safetensors", "m-2.safetensors"]);
        assert_eq!((index.weight_map["a"], index.weight_map["b"]), (0, 1));
        assert_eq!(index.total_size, Some(12));
    }

    #[test]
    fn paths_stay_below_the_folder() {
        for good in [
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "sub/x y.safetensors",
            "é#1?.safetensors",
            "日本 100%.safetensors",
        ] {
            assert!(check_path("index", good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "/x",
            "//h/x",
            "../x",
            "a/../x",
            "a/./x",
            "..\\x",
            "c:x",
            "https://h/x",
            "%2e%2e/x",
            "100%25",
            "x|y",
            "a//x",
            "x\0",
        ];
        for bad in bad {
            let name = format!("{bad}.safetensors");
            let error = check_path("index", &name).unwrap_err();
            assert!(matches!(error, Error::Format { kind: FormatKind::UnsafePath, .. }), "{name}: {error}");
        }
    }
}
