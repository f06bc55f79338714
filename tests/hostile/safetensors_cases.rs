//! Cases of malformed safetensors files and shard indices.

use minke::FormatKind::{self, *};
use minke::weights::checkpoint::Checkpoint;
use minke::weights::{MemoryFile, MemoryFolder, safetensors};
use pollster::block_on;

use super::campaign::sentences;
use super::config_cases::CONFIG;
use super::guard::{Expect, expect};
use minke::engine::accept;

/// A file with this header and this many bytes of data.
pub fn file(header: impl AsRef<[u8]>, data: usize) -> Vec<u8> {
    let header = header.as_ref();
    [&(header.len() as u64).to_le_bytes()[..], header, &vec![0; data]].concat()
}

fn open(bytes: Vec<u8>) -> minke::Result<()> {
    block_on(safetensors::read_header(&MemoryFile::new("model.safetensors", bytes), 0)).map(drop)
}

fn refused(name: &str, kind: FormatKind, bytes: Vec<u8>) -> String {
    expect(name, Expect::Kind(kind), &[(WEIGHTS, &bytes)], || open(bytes.clone()))
}

fn accepted(name: &str, bytes: Vec<u8>) {
    expect(name, Expect::Accepted, &[], || open(bytes));
}

/// One F32 tensor "a" with these fields.
fn one(fields: &str) -> String {
    format!(r#"{{"a":{{"dtype":"F32",{fields}}}}}"#)
}

const GOOD: &str = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;

#[test]
fn lengths() {
    accepted("a good file", file(GOOD, 16));
    refused("S01 empty", Truncated, vec![]);
    refused("S02 seven", Truncated, vec![0; 7]);
    refused("S04 n_eof", Truncated, [&60u64.to_le_bytes()[..], b"{}"].concat());
    refused("S05 n_max", LimitExceeded, [&u64::MAX.to_le_bytes()[..], b"{}"].concat());
    refused("S07 n_2p53", LimitExceeded, [&((1u64 << 53) + 1).to_le_bytes()[..], b"{}"].concat());
    refused("no header", BadJson, file("", 0));
}

#[test]
fn headers() {
    refused("S08 utf8", BadUtf8, file([0xff], 0));
    refused("S10 json_array", BadJson, file("[]", 0));
    refused("S11 bom", BadJson, file(format!("\u{feff}{GOOD}"), 16));
    accepted("lead_space", file(format!("   {GOOD}  "), 16));
    let tensor = r#""a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#;
    refused("S14 dup_tensor", DuplicateTensor, file(format!("{{{tensor},{tensor}}}"), 16));
    refused("S16 meta_type", BadJson, file(r#"{"__metadata__":{"a":1}}"#, 0));
    refused("S17 meta_array", BadJson, file(r#"{"__metadata__":[]}"#, 0));
    accepted("metadata", file(r#"{"__metadata__":{"format":"pt"}}"#, 0));
    refused("S40 extra_field", BadJson, file(one(r#""shape":[4],"data_offsets":[0,16],"x":1"#), 16));
    accepted("proto", file(GOOD.replace("\"a\"", "\"__proto__\""), 16));
    refused("an empty name", BadKey, file(GOOD.replace("\"a\"", "\"\""), 16));
    refused("a name of 2,000 bytes", BadKey, file(GOOD.replace("\"a\"", &format!("\"{}\"", "a".repeat(2000))), 16));
    refused("nested deeply", LimitExceeded, file(format!(r#"{{"a":{}"#, "[".repeat(100_000)), 0));
    refused("a tensor as a number", BadJson, file(r#"{"a":1}"#, 0));
    refused("text after the header", BadJson, file(format!("{GOOD}x"), 16));
    let zip = [b"PK\x03\x04".to_vec(), vec![0; 60]].concat();
    assert!(refused("S47 pickle_zip", UnsupportedFormat, zip).contains("PyTorch zip"));
    assert!(refused("an HTML page", UnsupportedFormat, b"<!doctype html><p>404".to_vec()).contains("HTML"));
}

#[test]
fn tensors() {
    refused("S19 dtype_unknown", UnknownDtype, file(GOOD.replace("F32", "F7"), 16));
    refused("a GGUF format", UnknownDtype, file(GOOD.replace("F32", "Q4_0"), 16));
    refused("S20 no_shape", BadJson, file(one(r#""data_offsets":[0,16]"#), 16));
    refused("S22 shape_float", BadShape, file(one(r#""shape":[2.5,2],"data_offsets":[0,20]"#), 20));
    refused("S23 shape_1e400", BadShape, file(one(r#""shape":[1e400],"data_offsets":[0,16]"#), 16));
    refused("S25 shape_overflow", Overflow, file(one(r#""shape":[4294967296,4294967296],"data_offsets":[0,16]"#), 16));
    refused("S26 bytes_overflow", Overflow, file(one(r#""shape":[4611686018427387905],"data_offsets":[0,4]"#), 4));
    refused("S28 off_reversed", BadOffset, file(one(r#""shape":[4],"data_offsets":[16,0]"#), 16));
    refused("S29 off_neg", BadOffset, file(one(r#""shape":[4],"data_offsets":[-16,0]"#), 16));
    refused("S31 off_three", BadOffset, file(one(r#""shape":[4],"data_offsets":[0,8,16]"#), 16));
    refused("one offset", BadOffset, file(one(r#""shape":[4],"data_offsets":[0]"#), 16));
    refused("S43 rank_9", BadShape, file(one(r#""shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16]"#), 16));
    refused("S44 f4_odd", SizeMismatch, file(r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, 2));
    refused("span and shape differ", SizeMismatch, file(one(r#""shape":[4],"data_offsets":[0,12]"#), 12));
    accepted("nan_weights", [file(GOOD, 0), f32::NAN.to_le_bytes().repeat(4)].concat());
    accepted("no elements", file(one(r#""shape":[0],"data_offsets":[0,0]"#), 0));
}

#[test]
fn places() {
    refused("S32 off_eof", Truncated, file(one(r#""shape":[1000],"data_offsets":[0,4000]"#), 16));
    let tensor = |name: usize, start, end: usize| {
        format!(r#""t{name}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#, end - start)
    };
    let ten: Vec<_> = (0..10).map(|i| tensor(i, 0, 16)).collect();
    refused("S34 overlap10", Overlap, file(format!("{{{}}}", ten.join(",")), 16));
    refused("S35 hole_start", BadOffset, file(format!("{{{}}}", tensor(0, 4, 8)), 8));
    refused("a hole between", BadOffset, file(format!("{{{},{}}}", tensor(0, 0, 4), tensor(1, 8, 12)), 12));
    refused("S37 polyglot", TrailingData, file(GOOD, 17));
    refused("S38 short2", Truncated, file(GOOD, 14));
    let unaligned = format!("{{{},{}}}", tensor(0, 0, 1), &GOOD[1..GOOD.len() - 1].replace("[0,16]", "[1,17]"));
    accepted("unaligned", file(unaligned, 17));
}

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A folder with this index and these shards.
fn folder(index: &str, shards: &[(&str, Vec<u8>)]) -> MemoryFolder {
    let folder = MemoryFolder::new("folder").with("config.json", CONFIG.as_bytes());
    let folder = folder.with("model.safetensors.index.json", index.as_bytes());
    shards.iter().fold(folder, |folder, (name, bytes)| folder.with(name, bytes.clone()))
}

fn open_index(index: &str, shards: &[(&str, Vec<u8>)]) -> minke::Result<Vec<String>> {
    block_on(Checkpoint::open_folder(&folder(index, shards), &accept)).map(|checkpoint| sentences(&checkpoint))
}

#[test]
fn indices() {
    let refused = |name: &str, kind, index: &str, shards: &[(&'static str, Vec<u8>)]| {
        let shard = |(name, bytes): &(&'static str, Vec<u8>)| (*name, bytes.clone());
        let mut files = vec![(INDEX, index.as_bytes().to_vec())];
        files.extend(shards.iter().map(shard));
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        expect(name, Expect::Kind(kind), &files, || open_index(index, shards).map(drop))
    };
    refused("I01 no_weight_map", BadIndex, "{}", &[]);
    refused("I02 weight_map_array", BadIndex, r#"{"weight_map":[]}"#, &[]);
    refused("not JSON", BadJson, r#"{"weight_map":"#, &[]);
    refused("a shard as a number", BadIndex, r#"{"weight_map":{"a":1}}"#, &[]);
    for (name, path) in [
        ("I04 absolute_url", "https://evil.example/x.safetensors"),
        ("I05 scheme_relative", "//evil.example/x"),
        ("I07 encoded_traversal", "%2e%2e%2fx.safetensors"),
        ("I08 backslash", r"..\\x.safetensors"),
        ("traversal", "../x.safetensors"),
    ] {
        refused(name, UnsafePath, &format!(r#"{{"weight_map":{{"a":"{path}"}}}}"#), &[]);
    }
    let many: Vec<String> = (0..100_000).map(|i| format!(r#""t{i}":"{i}.safetensors""#)).collect();
    refused("I13 shards_100k", LimitExceeded, &format!(r#"{{"weight_map":{{{}}}}}"#, many.join(",")), &[]);

    let (a, b) = (GOOD.to_owned(), GOOD.replace("\"a\"", "\"b\""));
    let both = format!("{},{}", &a[..a.len() - 1], &b[1..].replace("[0,16]", "[16,32]"));
    let (one, two) = ("1.safetensors", "2.safetensors");
    let map = r#"{"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"#;
    refused("I14 shard_404", MissingShard, map, &[(one, file(&a, 16))]);
    refused("I10 unmapped_tensor", DuplicateTensor, map, &[(one, file(&a, 16)), (two, file(&both, 32))]);
    refused("a tensor that no shard has", MissingTensor, map, &[(one, file(&a, 16)), (two, file("{}", 0))]);
    refused("a tensor twice", DuplicateTensor, r#"{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}"#, &[]);
    let good = open_index(map, &[(one, file(&a, 16)), (two, file(&b, 16))]).unwrap();
    assert_eq!(good, [""; 0]);
    let wrong_size = map.replace("{\"weight_map", r#"{"metadata":{"total_size":1},"weight_map"#);
    let warnings = open_index(&wrong_size, &[(one, file(&a, 16)), (two, file(&b, 16))]).unwrap();
    assert!(warnings[0].contains("SizeMismatch"), "total_size_wrong: {warnings:?}");
    let same = open_index(map, &[(one, file(&both, 32)), (two, file(&both, 32))]);
    assert!(same.is_ok(), "same_file_twice: {same:?}");
}

#[test]
fn folders() {
    let missing = |name: &str, folder: MemoryFolder| {
        expect(name, Expect::Kind(MissingFile), &[], || block_on(Checkpoint::open_folder(&folder, &accept)).map(drop))
    };
    assert!(missing("no config.json", MemoryFolder::new("f")).contains("config.json"));
    missing("no weights", MemoryFolder::new("f").with("config.json", CONFIG.as_bytes()));
    let pickled = MemoryFolder::new("f").with("config.json", CONFIG.as_bytes()).with("pytorch_model.bin", [0u8; 4]);
    expect("only pickles", Expect::Kind(UnsupportedFormat), &[], || {
        block_on(Checkpoint::open_folder(&pickled, &accept)).map(drop)
    });
    // An unsupported architecture is rejected before anything else is opened.
    let unwanted = MemoryFolder::new("f").with("config.json", CONFIG.as_bytes());
    expect("an unknown architecture", Expect::Architecture, &[], || {
        let refuse = |_: &_| Err(minke::Error::Architecture { name: "x".into(), supported: vec![] });
        block_on(Checkpoint::open_folder(&unwanted, &refuse)).map(drop)
    });
}

/// Every case, for the table.
pub fn all() {
    lengths();
    headers();
    tensors();
    places();
    indices();
    folders();
}
