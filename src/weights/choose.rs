//! Finds the model among the files of a directory or a drop, by first bytes and metadata instead of names.

use std::rc::Rc;

use super::gguf::HeaderStart;
use super::metadata::GgufMetadata;
use super::pack::MANIFEST;
use super::source::{ByteSource, Folder};
use super::split::Split;
use crate::{Error, FormatKind, Result, Warning, WarningCode};

/// The result of looking through a folder's files.
pub(super) struct Choice {
    /// The GGUF file that is the model, or any part of it; `None` if config.json describes the model.
    pub gguf: Option<Rc<dyn ByteSource>>,
    /// Warnings about files that are not used.
    pub warnings: Vec<Warning>,
}

/// A GGUF file that may be the model.
struct Candidate {
    name: String,
    file: Rc<dyn ByteSource>,
    metadata: GgufMetadata,
    split: Option<Split>,
}

/// Looks through a folder whose files can be listed. If it has config.json and safetensors, or is a pack, config.json
/// describes the model; a config.json alone does not, because repositories of GGUF files have one, too.
///
/// # Errors
/// `UnsupportedFeature` with the names of the models if there are several.
pub(super) async fn choose(folder: &dyn Folder) -> Result<Choice> {
    let mut choice = Choice { gguf: None, warnings: Vec::new() };
    let Some(names) = folder.list()? else { return Ok(choice) };
    let named = |name: &str| names.iter().any(|n| n.rsplit('/').next() == Some(name));
    if named(MANIFEST) {
        return Ok(choice);
    }
    let mut files = Vec::new();
    let published = |name: &String| name.ends_with(".safetensors");
    for name in names.iter().filter(|name| !published(name)) {
        // A file that cannot be read is not a candidate.
        if let Ok(Some(file)) = folder.open(name).await
            && matches!(is_gguf(&*file).await, Ok(true))
        {
            files.push((name, file));
        }
    }
    let mut unused = |name: &str, why: &str| {
        choice.warnings.push(Warning::new(WarningCode::UnusedFile, format!("{name} is not used: {why}")));
    };
    if named("config.json") && names.iter().any(published) {
        files.iter().for_each(|(name, _)| unused(name, "the model is read from config.json and safetensors"));
        return Ok(choice);
    }
    if files.len() < 2 {
        choice.gguf = files.pop().map(|(_, file)| file);
        return Ok(choice);
    }
    let (mut candidates, mut broken, mut strange) = (Vec::new(), None, None);
    for (name, file) in files {
        let read = HeaderStart::read(&*file).await.map(|start| start.metadata);
        let read = read.and_then(|metadata| Ok((Split::of(&metadata, name)?, metadata)));
        match read {
            Err(error) => {
                unused(name, &error.to_string());
                broken = broken.or(Some(file));
            }
            Ok((split, metadata)) => match kind(&metadata) {
                Some(kind) => {
                    unused(name, &format!("it is not a language model but {kind}"));
                    strange = strange.or(Some(file));
                }
                None => candidates.push(Candidate { name: name.clone(), file, metadata, split }),
            },
        }
    }
    let mut models: Vec<&Candidate> = Vec::new();
    for candidate in &candidates {
        match models.iter_mut().find(|model| model.same_model(candidate)) {
            None => models.push(candidate),
            Some(_) if candidate.split.is_none() => unused(&candidate.name, "it is a copy of another"),
            // A part that is named after its own number leads to the other parts by name.
            Some(model) => {
                let rank = |c: &Candidate| c.split.as_ref().map(|split| (split.affixes.is_none(), split.number));
                if rank(candidate) < rank(model) {
                    *model = candidate;
                }
            }
        }
    }
    choice.gguf = match models.as_slice() {
        [] => broken.or(strange), // opening it reports what is wrong
        [model] => Some(model.file.clone()),
        _ => {
            let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
            let message =
                format!("found {} models: {}; name one of them or pass it alone", names.len(), names.join(", "));
            return Err(Error::format(FormatKind::UnsupportedFeature, folder.id(), message));
        }
    };
    Ok(choice)
}

impl Candidate {
    /// Whether `other` is a copy of this file, or another part of the same model.
    fn same_model(&self, other: &Self) -> bool {
        let copy = || self.file.len() == other.file.len() && self.metadata.values == other.metadata.values;
        match (&self.split, &other.split) {
            (None, None) => copy(),
            (Some(mine), Some(its)) => mine.kin(its) && (mine.number != its.number || copy()),
            _ => false,
        }
    }
}

/// Whether a file begins with GGUF's magic.
async fn is_gguf(file: &dyn ByteSource) -> Result<bool> {
    Ok(file.len() >= 4 && file.read(0..4).await? == b"GGUF")
}

/// A description of a GGUF file that is not a language model; `None` for a language model.
fn kind(metadata: &GgufMetadata) -> Option<String> {
    let text = |key| metadata.string(key).ok().flatten();
    match (text("general.type"), text("general.architecture")) {
        (Some("mmproj"), _) | (_, Some("clip")) => Some("a projector of images or sound".into()),
        (Some(other), _) if other != "model" => Some(format!("of the type {other:?}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::weights::{Checkpoint, MemoryFile, MemoryFolder};

    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn text(value: &str) -> Vec<u8> {
        [&8u32.to_le_bytes()[..], &string(value)].concat()
    }

    fn number(value: u32) -> Vec<u8> {
        [4u32.to_le_bytes(), value.to_le_bytes()].concat()
    }

    /// A GGUF file with one vector of 8 numbers.
    fn gguf(tensor: &str, keys: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend([1u64, keys.len() as u64].map(u64::to_le_bytes).concat());
        keys.iter().for_each(|(key, value)| bytes.extend([string(key), value.clone()].concat()));
        bytes.extend([&string(tensor)[..], &1u32.to_le_bytes(), &8u64.to_le_bytes(), &[0; 12]].concat());
        bytes.resize(bytes.len().next_multiple_of(32) + 32, 0);
        bytes
    }

    fn model(name: &str) -> Vec<u8> {
        gguf("a", &[("general.architecture", text("llama")), ("general.name", text(name))])
    }

    fn part(no: u32, count: u32, tensors: u32) -> Vec<u8> {
        let split = [
            ("split.no", number(no)),
            ("split.count", number(count)),
            ("split.tensors.count", number(tensors)),
            ("general.architecture", text("llama")),
        ];
        gguf(&format!("t{no}"), &split[..if no == 0 { 4 } else { 3 }])
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> MemoryFolder {
        files.iter().fold(MemoryFolder::new("drop"), |folder, (name, bytes)| folder.with(name, bytes.clone()))
    }

    /// The files that the model is read from, and the warnings.
    fn open(files: &[(&str, Vec<u8>)]) -> Result<(Vec<String>, Vec<String>)> {
        let checkpoint = block_on(Checkpoint::open_folder(&folder(files), &|_| Ok(())))?;
        assert!(checkpoint.warnings.iter().all(|warning| warning.code == WarningCode::UnusedFile));
        let names = checkpoint.shards.iter().map(|shard| shard.name().to_owned());
        Ok((names.collect(), checkpoint.warnings.iter().map(ToString::to_string).collect()))
    }

    fn kind_of<T: std::fmt::Debug>(result: Result<T>) -> FormatKind {
        match result {
            Err(Error::Format { kind, .. }) => kind,
            other => panic!("{other:?}"),
        }
    }

    fn safetensors() -> Vec<u8> {
        let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0]].concat()
    }

    #[test]
    fn a_projector_is_ignored_with_a_warning() {
        let projectors = [
            gguf("v", &[("general.architecture", text("clip"))]),
            gguf("v", &[("general.type", text("mmproj")), ("general.architecture", text("llama"))]),
            gguf("v", &[("general.type", text("adapter")), ("general.architecture", text("llama"))]),
        ];
        for projector in projectors {
            for (one, other) in [("a.gguf", "b"), ("b.gguf.part", "a.GGUF")] {
                let (names, warnings) = open(&[(one, projector.clone()), (other, model("m"))]).expect("it opens");
                assert_eq!(names, [other]);
                assert!(
                    matches!(&warnings[..], [told] if told.starts_with(&format!("{one} is not used"))),
                    "{warnings:?}"
                );
            }
        }
        let (names, _) = open(&[("projector", gguf("v", &[("general.architecture", text("clip"))]))]).expect("alone");
        assert_eq!(names, ["projector"], "the engine says what it is");
    }

    #[test]
    fn several_models_are_an_error_that_names_them() {
        let error =
            open(&[("a.gguf", model("a")), ("b", model("b")), ("notes.txt", b"GGUF?".to_vec())]).expect_err("two");
        assert!(error.to_string().contains("found 2 models: a.gguf, b;"), "{error}");
        assert_eq!(kind_of::<()>(Err(error)), FormatKind::UnsupportedFeature);
        let (names, warnings) = open(&[("a (1).gguf", model("a")), ("a.gguf", model("a"))]).expect("one, twice");
        assert_eq!((names.len(), warnings.len()), (1, 1), "{warnings:?}");
        let broken = b"GGUF\x03\0\0\0".to_vec();
        let (names, warnings) = open(&[("a.gguf", model("a")), ("b.gguf", broken.clone())]).expect("one is whole");
        assert!(names == ["a.gguf"] && warnings[0].contains("b.gguf"), "{warnings:?}");
        assert_eq!(kind_of(open(&[("a.gguf", broken.clone()), ("b.gguf", broken)])), FormatKind::Truncated);
    }

    #[test]
    fn config_and_safetensors_decide_before_gguf() {
        let config = ("config.json", b"{}".to_vec());
        let weights = ("model.safetensors", safetensors());
        let (names, warnings) = open(&[config.clone(), weights, ("m.gguf", model("m"))]).expect("a folder");
        assert!(names == ["model.safetensors"] && warnings[0].starts_with("m.gguf is not used"), "{warnings:?}");
        let (names, warnings) = open(&[config.clone(), ("m.gguf", model("m"))]).expect("a repository of GGUF");
        assert_eq!((names, warnings.len()), (vec!["m.gguf".to_owned()], 0));
        assert_eq!(kind_of(open(&[config])), FormatKind::MissingFile);
        assert_eq!(kind_of(open(&[("model.safetensors", safetensors())])), FormatKind::MissingFile);
    }

    #[test]
    fn parts_are_found_by_metadata() {
        let whole = || [part(0, 3, 3), part(1, 3, 3), part(2, 3, 3)];
        let [first, second, third] = whole();
        let named = |names: [&'static str; 3]| names.into_iter().zip(whole()).collect::<Vec<_>>();
        for names in [
            ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"],
            ["M-00001-of-00003.GGUF", "M-00002-of-00003.GGUF", "M-00003-of-00003.GGUF"],
            ["model.gguf", "model(1).gguf", "model (2).gguf"],
            ["z", "y", "x"],
            // Parts are named after the numbers of other parts.
            ["m-00002-of-00003.gguf", "m-00003-of-00003.gguf", "m-00001-of-00003.gguf"],
            ["m-00001-of-00003.gguf", "m-00003-of-00003.gguf", "m-00002-of-00003.gguf"],
            ["m-00001-of-00003.gguf", "m-00001-of-00003 (1).gguf", "other.gguf"],
        ] {
            assert_eq!(open(&named(names)).expect("it opens"), (names.map(str::to_owned).to_vec(), vec![]));
            // Any part may be the given file, among unrelated files.
            let around = folder(&named(names)).with("other-00002-of-00004.gguf", part(1, 4, 3)).with("note", *b"text");
            for (name, bytes) in named(names) {
                let file = Rc::new(MemoryFile::new(name, bytes));
                let checkpoint = block_on(Checkpoint::open_gguf(file, Some(&around), &|_| Ok(()))).expect("it opens");
                let found = checkpoint.shards.iter().map(|shard| shard.name());
                assert_eq!(found.collect::<Vec<_>>(), names);
            }
        }
        let lacking = [("x.gguf", first.clone()), ("y.gguf", third.clone())];
        assert_eq!(kind_of(open(&lacking)), FormatKind::MissingShard);
        let wrong = [("m-00001-of-00003.gguf", first.clone()), ("m-00002-of-00003.gguf", third), ("m-3.gguf", second)];
        assert!(open(&wrong).is_ok(), "a number that is not its own");
        let twice = [("m-00001-of-00002.gguf", part(0, 2, 2)), ("m-00002-of-00002.gguf", part(0, 2, 2))];
        assert_eq!(kind_of(open(&twice)), FormatKind::BadShard);
        // Parts of two different models.
        let both = [
            ("a-00001-of-00002.gguf", part(0, 2, 2)),
            ("a-00002-of-00002.gguf", part(1, 2, 2)),
            ("b-00001-of-00002.gguf", part(0, 2, 2)),
            ("b-00002-of-00002.gguf", part(1, 2, 2)),
        ];
        assert_eq!(kind_of(open(&both)), FormatKind::UnsupportedFeature);
        assert_eq!(kind_of(open(&[both[0].clone(), both[3].clone()])), FormatKind::UnsupportedFeature);
        let a = Rc::new(MemoryFile::new(both[0].0, both[0].1.clone()));
        let rest = folder(&[both[0].clone(), both[3].clone()]);
        let mixed = block_on(Checkpoint::open_gguf(a, Some(&rest), &|_| Ok(()))).map(|checkpoint| checkpoint.id);
        assert_eq!(kind_of(mixed), FormatKind::MissingShard, "a part of another model is not taken");
        let fewer = [("x", part(0, 3, 3)), ("y", part(1, 3, 3)), ("z", part(2, 3, 4))];
        assert_eq!(kind_of(open(&fewer)), FormatKind::UnsupportedFeature);
        assert_eq!(kind_of(open(&[("x", first)])), FormatKind::MissingShard);
        // Two files claim to be the second part, and their names do not help.
        let contested = [("x", part(0, 2, 2)), ("y", part(1, 2, 2)), ("z", part(1, 2, 2))];
        assert_eq!(kind_of(open(&contested)), FormatKind::BadShard);
        let copied = [both[0].clone(), both[1].clone(), ("a-00002-of-00002 (1).gguf", part(1, 2, 2))];
        assert_eq!(open(&copied).expect("names tell").0, [both[0].0, both[1].0]);
    }
}
