//! Cases of malformed GGUF files.

use minke::FormatKind::{self, *};
use minke::weights::MemoryFolder;
use minke::weights::checkpoint::Checkpoint;
use pollster::block_on;

use super::campaign::{memory, open_gguf};
use super::gguf::{array, f32v, string, tensor, text, typed, u32v};
use super::guard::{Expect, expect};
use super::table;

const F32: u32 = 0;
const Q4_0: u32 = 2;
const Q4_K: u32 = 12;
const I64: u32 = 27;

fn u16v(value: u16) -> Vec<u8> {
    typed(2, value.to_le_bytes())
}

/// Tokens of [`File::model`].
const VOCAB: u64 = 258;

/// The 256 bytes as byte-level BPE spells them: printable ones as themselves, the others from U+0100 on.
fn byte_tokens() -> impl Iterator<Item = String> {
    let mut others = 0x100..;
    (0..=255u8).map(move |byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte).to_string(),
        _ => others.next().and_then(char::from_u32).expect("a character").to_string(),
    })
}

/// The vocabulary of [`File::model`]: bytes, and a beginning and an end.
pub fn tokens() -> Vec<String> {
    byte_tokens().chain(["<s>".into(), "</s>".into()]).collect()
}

/// A builder of GGUF files.
#[derive(Clone)]
pub struct File {
    version: u32,
    tensor_count: Option<u64>,
    key_count: Option<u64>,
    keys: Vec<(Vec<u8>, Vec<u8>)>,
    tensors: Vec<Vec<u8>>,
    data: usize,
}

impl File {
    /// A complete, valid, tiny model.
    pub fn model() -> Self {
        let mut file =
            Self { version: 3, tensor_count: None, key_count: None, keys: Vec::new(), tensors: Vec::new(), data: 0 };
        let tokens = tokens();
        let types: Vec<i32> = (0..tokens.len()).map(|id| if id < 256 { 1 } else { 3 }).collect();
        let tokens: Vec<u8> = tokens.iter().flat_map(string).collect();
        let types: Vec<u8> = types.iter().flat_map(|kind| kind.to_le_bytes()).collect();
        for (key, value) in [
            ("general.architecture", text("llama")),
            ("llama.block_count", u32v(1)),
            ("llama.context_length", u32v(64)),
            ("llama.embedding_length", u32v(16)),
            ("llama.feed_forward_length", u32v(32)),
            ("llama.attention.head_count", u32v(4)),
            ("llama.attention.head_count_kv", u32v(2)),
            ("llama.attention.layer_norm_rms_epsilon", f32v(1e-5)),
            ("llama.rope.dimension_count", u32v(4)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("default")),
            ("tokenizer.ggml.tokens", array(8, VOCAB, tokens)),
            ("tokenizer.ggml.token_type", array(5, VOCAB, types)),
            ("tokenizer.ggml.merges", array(8, 0, [])),
            ("tokenizer.ggml.bos_token_id", u32v(256)),
            ("tokenizer.ggml.eos_token_id", u32v(257)),
        ] {
            file = file.key(key, value);
        }
        for (name, dims) in [
            ("token_embd.weight", vec![16, VOCAB]),
            ("output_norm.weight", vec![16]),
            ("blk.0.attn_norm.weight", vec![16]),
            ("blk.0.attn_q.weight", vec![16, 16]),
            ("blk.0.attn_k.weight", vec![16, 8]),
            ("blk.0.attn_v.weight", vec![16, 8]),
            ("blk.0.attn_output.weight", vec![16, 16]),
            ("blk.0.ffn_norm.weight", vec![16]),
            ("blk.0.ffn_gate.weight", vec![16, 32]),
            ("blk.0.ffn_up.weight", vec![16, 32]),
            ("blk.0.ffn_down.weight", vec![32, 16]),
        ] {
            let bytes = dims.iter().product::<u64>() * 4;
            file = file.tensor(name, &dims, F32, bytes as usize);
        }
        file
    }

    /// Appends a tensor.
    fn tensor(mut self, name: &str, dims: &[u64], dtype: u32, bytes: usize) -> Self {
        self.tensors.push(tensor(name, dims, dtype, self.data as u64));
        self.data += bytes.next_multiple_of(32);
        self
    }

    /// Adds a key, or replaces its value.
    fn key(mut self, key: impl AsRef<[u8]>, value: Vec<u8>) -> Self {
        let key = key.as_ref();
        match self.keys.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key.to_vec(), value)),
        }
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(name, _)| name != key.as_bytes());
        self
    }

    /// Replaces the tensors with raw descriptions and `data` bytes.
    fn only(mut self, tensors: &[Vec<u8>], data: usize) -> Self {
        self.tensors = tensors.to_vec();
        self.data = data;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            bytes.extend(string(key));
            bytes.extend(value);
        }
        bytes.extend(self.tensors.concat());
        if self.data > 0 {
            bytes.resize(bytes.len().next_multiple_of(32) + self.data, 0);
        }
        bytes
    }
}

fn refused(name: &str, kind: FormatKind, bytes: Vec<u8>) -> String {
    let files = [("model.gguf", bytes.as_slice())];
    expect(name, Expect::Kind(kind), &files, || open_gguf(memory("model.gguf", bytes.clone()), None).map(drop))
}

/// The first bytes of a file, up to the counts.
fn head(version: u32, tensors: u64, keys: u64) -> Vec<u8> {
    [b"GGUF", &version.to_le_bytes()[..], &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
}

#[test]
fn the_valid_file_is_accepted() {
    let warnings = open_gguf(memory("model.gguf", File::model().bytes()), None).unwrap();
    assert_eq!(warnings, [""; 0]);
    let mut version_2 = File::model();
    version_2.version = 2;
    assert!(open_gguf(memory("model.gguf", version_2.bytes()), None).is_ok());
}

#[test]
fn not_a_gguf_file() {
    refused("G01 empty", Truncated, vec![]);
    refused("G02 short_magic", Truncated, b"GGU".to_vec());
    assert!(refused("G04 html_404", BadMagic, b"<!DOCTYPE html><html><body>404".to_vec()).contains("HTML"));
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec();
    assert!(refused("G05 lfs_pointer", BadMagic, pointer).contains("LFS pointer"));
    refused("older formats", BadMagic, b"ggjt\x01\0\0\0".to_vec());
    refused("G07 version_1", UnsupportedVersion, head(1, 0, 0));
    refused("G08 version_4", UnsupportedVersion, head(4, 0, 0));
    assert!(refused("big-endian", UnsupportedVersion, head(3u32.swap_bytes(), 0, 0)).contains("big-endian"));
    refused("G10 header_cut", Truncated, head(3, 1, 1)[..12].to_vec());
    refused("a magic alone", Truncated, b"GGUF".to_vec());
}

#[test]
fn counts_and_lengths() {
    refused("G11 n_tensors_max", LimitExceeded, head(3, u64::MAX, 0));
    refused("G13 n_tensors_2p32", LimitExceeded, head(3, 1 << 32, 0));
    refused("G14 n_kv_2p40", LimitExceeded, head(3, 0, 1 << 40));
    refused("counts within limits, nothing behind", Truncated, head(3, 1000, 1000));
    refused("G16 key_len_eof", Truncated, [head(3, 0, 1), 1000u64.to_le_bytes().to_vec()].concat());
    refused("a key's length of 2^64-1", LimitExceeded, [head(3, 0, 1), u64::MAX.to_le_bytes().to_vec()].concat());
    let m = File::model;
    refused("G23 str_2p63", LimitExceeded, m().key("a", typed(8, (1u64 << 63).to_le_bytes())).bytes());
    refused("G26 arr_overflow", LimitExceeded, m().key("a", array(10, 1 << 61, [])).bytes());
    refused("an array past the end", Truncated, m().key("a", array(10, 1 << 20, [])).bytes());
    refused("strings past the end", Truncated, m().key("a", array(8, 1 << 20, [])).bytes());
    let name = [&u64::MAX.to_le_bytes()[..], &[0; 64]].concat();
    refused("G40 name_len_max", LimitExceeded, m().only(&[name], 32).bytes());
    refused("G41 name_80", LimitExceeded, m().only(&[tensor("n".repeat(80), &[4], F32, 0)], 32).bytes());
}

#[test]
fn keys_and_values() {
    let m = File::model;
    refused("G17 key_empty", BadKey, m().key("", u32v(1)).bytes());
    refused("G19 key_utf8", BadUtf8, m().key([0xff, 0xfe], u32v(1)).bytes());
    refused("G20 kv_type_13", BadType, m().key("a", typed(13, [0; 8])).bytes());
    let mut twice = m();
    twice.keys.extend([(b"a".to_vec(), u32v(1)), (b"a".to_vec(), u32v(1))]);
    refused("G22 kv_dup", DuplicateKey, twice.bytes());
    refused("G25 arch_utf8", BadUtf8, m().key("general.architecture", typed(8, string([0xc3, 0x28]))).bytes());
    refused("G28 arr_nested", BadType, m().key("a", array(9, 1, array(4, 1, [0; 4]))).bytes());
    let deep = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat().repeat(10_000);
    refused("G29 arr_nested_10k", BadType, m().key("a", typed(9, deep)).bytes());
    refused("array of type 13", BadType, m().key("a", array(13, 1, [0; 8])).bytes());
    refused("G31 bool_2", BadValue, m().key("a", typed(7, [2])).bytes());
    refused("bool 2 in an array", BadValue, m().key("a", array(7, 2, [1, 2])).bytes());
    refused("G32 align_0", BadAlignment, m().key("general.alignment", u32v(0)).bytes());
    refused("alignment 3", BadAlignment, m().key("general.alignment", u32v(3)).bytes());
    refused("G34 align_2p31", BadAlignment, m().key("general.alignment", u32v(1 << 31)).bytes());
    refused("G35 align_i32", BadType, m().key("general.alignment", typed(5, 32i32.to_le_bytes())).bytes());
    refused("G37 arch_missing", MissingKey, m().without("general.architecture").bytes());
    refused("G38 arch_type", BadType, m().key("general.architecture", u32v(1)).bytes());
}

#[test]
fn tensor_descriptions() {
    let with = |tensors: &[Vec<u8>]| File::model().only(tensors, 256).bytes();
    refused("G43 name_dup", DuplicateTensor, with(&[tensor("t", &[4], F32, 0), tensor("t", &[4], F32, 32)]));
    refused("an empty name", BadKey, with(&[tensor("", &[4], F32, 0)]));
    refused("a name that is not UTF-8", BadUtf8, with(&[tensor([0xff], &[4], F32, 0)]));
    refused("G44 ndims_5", BadShape, with(&[tensor("t", &[1; 5], F32, 0)]));
    refused("no dimensions", BadShape, with(&[tensor("t", &[], F32, 0)]));
    refused("G46 ndims_max", BadShape, with(&[[string("t"), u32::MAX.to_le_bytes().to_vec()].concat()]));
    refused("G47 dim_0", BadShape, with(&[tensor("t", &[4, 0], F32, 0)]));
    refused("G49 nelem_overflow", Overflow, with(&[tensor("t", &[1 << 33, 1 << 33], F32, 0)]));
    refused("G50 nbytes_wrap", Overflow, with(&[tensor("t", &[1 << 31, (1 << 30) + 64], I64, 0)]));
    refused("G52 dtype_max", UnknownDtype, with(&[tensor("t", &[4], u32::MAX, 0)]));
    refused("G53 dtype_200", UnknownDtype, with(&[tensor("t", &[4], 200, 0)]));
    refused("a type that ggml gave up", UnknownDtype, with(&[tensor("t", &[32], 4, 0)]));
    refused("G55 q4_0_33", BadShape, with(&[tensor("t", &[33], Q4_0, 0)]));
    refused("G56 q4_k_32", BadShape, with(&[tensor("t", &[32], Q4_K, 0)]));
}

#[test]
fn tensor_places() {
    let with = |tensors: &[Vec<u8>], data| File::model().only(tensors, data).bytes();
    refused("G58 off_unaligned", BadOffset, with(&[tensor("t", &[4], F32, 1)], 64));
    refused("G59 off_overlap", Overlap, with(&[tensor("t", &[4], F32, 0), tensor("u", &[4], F32, 0)], 64));
    refused("a tensor inside another", Overlap, with(&[tensor("t", &[16], F32, 0), tensor("u", &[4], F32, 32)], 64));
    refused("a hole", BadOffset, with(&[tensor("t", &[4], F32, 0), tensor("u", &[4], F32, 96)], 128));
    refused("a hole at the start", BadOffset, with(&[tensor("t", &[4], F32, 32)], 64));
    let swapped = [tensor("t", &[4], F32, 32), tensor("u", &[4], F32, 0)];
    refused("tensors out of order", BadOffset, with(&swapped, 64));
    refused("G61 off_eof", BadOffset, with(&[tensor("t", &[4], F32, 1 << 20)], 64));
    refused("G62 off_wrap", Overflow, with(&[tensor("t", &[64], F32, u64::MAX - 31)], 64));
    refused("data cut short", Truncated, with(&[tensor("t", &[64], F32, 0)], 224));
    refused("G65 data_none", Truncated, File::model().only(&[tensor("t", &[4], F32, 0)], 0).bytes());
    let mut trailing = File::model().bytes();
    trailing.extend([7; 4096]);
    let result = open_gguf(memory("model.gguf", trailing.clone()), None);
    table::record("G64 data_trailing", &[("model.gguf", &trailing)], &result);
    let warnings = result.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("TrailingData"), "G64 data_trailing: {warnings:?}");
}

fn part(number: u16, count: u16, base: File) -> Vec<u8> {
    base.key("split.no", u16v(number)).key("split.count", u16v(count)).bytes()
}

#[test]
fn an_unknown_architecture_is_refused_before_its_tensors_are_looked_at() {
    let file = memory("model.gguf", File::model().only(&[tensor("t", &[4], 200, 0)], 64).bytes());
    expect("an unknown architecture", Expect::Architecture, &[], || {
        let refuse = |_: &_| Err(minke::Error::Architecture { name: "x".into(), supported: vec![] });
        block_on(Checkpoint::open_gguf(file, None, &refuse)).map(drop)
    });
}

#[test]
fn split_files() {
    refused("G67 split_alone", MissingShard, part(0, 2, File::model()));
    refused("G68 split_no", BadShard, part(9, 2, File::model()));
    let open = |second: Option<Vec<u8>>| {
        let name = |n| format!("m-0000{n}-of-00002.gguf");
        let first = part(0, 2, File::model());
        let mut folder = MemoryFolder::new("folder").with(&name(1), first.clone());
        if let Some(second) = second {
            folder = folder.with(&name(2), second);
        }
        open_gguf(memory(&name(1), first), Some(&folder)).map(drop)
    };
    let rest = || File::model().only(&[tensor("blk.0.extra.weight", &[16], F32, 0)], 64);
    expect("two good parts", Expect::Accepted, &[], || open(Some(part(1, 2, rest()))));
    expect("the second is missing", Expect::Kind(MissingShard), &[], || open(None));
    expect("the second is the first again", Expect::Kind(BadShard), &[], || open(Some(part(0, 2, rest()))));
    expect("the second is of three", Expect::Kind(BadShard), &[], || open(Some(part(1, 3, rest()))));
    expect("the second repeats tensors", Expect::Kind(DuplicateTensor), &[], || open(Some(part(1, 2, File::model()))));
    expect("the second is an HTML page", Expect::Kind(BadMagic), &[], || open(Some(b"<html>".to_vec())));
    refused("a split of 65,535", LimitExceeded, part(0, u16::MAX, File::model()));
}

#[test]
fn facts() {
    let with = |key: &str, value| File::model().key(key, value).bytes();
    refused("G70 block_count_0", BadConfig, with("llama.block_count", u32v(0)));
    refused("G71 block_count_max", LimitExceeded, with("llama.block_count", u32v(u32::MAX)));
    refused("G73 kv_heads_3", BadConfig, with("llama.attention.head_count_kv", u32v(3)));
    refused("no heads", BadConfig, with("llama.attention.head_count", u32v(0)));
    let bytes = with("llama.context_length", u32v(u32::MAX));
    let files = [("model.gguf", bytes.as_slice())];
    expect("G74 ctx_max", Expect::Accepted, &files, || open_gguf(memory("model.gguf", bytes.clone()), None).map(drop));
    refused("G76 eps_neg", BadConfig, with("llama.attention.layer_norm_rms_epsilon", f32v(-1.0)));
    refused("eps NaN", BadConfig, with("llama.attention.layer_norm_rms_epsilon", f32v(f32::NAN)));
    refused("G77 rope_dim_odd", BadConfig, with("llama.rope.dimension_count", u32v(7)));
    refused("rope base 0", BadConfig, with("llama.rope.freq_base", f32v(0.0)));
    refused("a size as a string", BadType, with("llama.embedding_length", text("16")));
    refused("a negative size", BadValue, with("llama.embedding_length", typed(5, (-16i32).to_le_bytes())));
    refused("a missing size", MissingKey, File::model().without("llama.embedding_length").bytes());
    refused("G79 toktype_u8", BadType, with("tokenizer.ggml.token_type", array(0, VOCAB, [1; VOCAB as usize])));
    refused("too few types", BadTokenizer, with("tokenizer.ggml.token_type", array(5, 1, [1, 0, 0, 0])));
    refused("G80 bos_range", BadTokenizer, with("tokenizer.ggml.bos_token_id", u32v(258)));
    let wide = File::model().key("llama.feed_forward_length", u32v(48)).bytes();
    refused("a tensor of another shape", BadShape, wide);
    expect("an architecture of the future", Expect::Architecture, &[], || {
        let file = memory("model.gguf", with("general.architecture", text("zzz")));
        open_gguf(file, None).map(drop)
    });
    let as_named = |name: &str| {
        let mut file = File::model().key("general.architecture", text(name));
        for (key, _) in &mut file.keys {
            if let Some(rest) = key.strip_prefix(b"llama.") {
                *key = [name.as_bytes(), b".", rest].concat();
            }
        }
        file
    };
    let latent = || as_named("deepseek2").key("deepseek2.attention.kv_lora_rank", u32v(8));
    refused("a latent without lengths of heads", MissingKey, latent().bytes());
    let short = latent()
        .key("deepseek2.attention.key_length_mla", u32v(4))
        .key("deepseek2.attention.value_length_mla", u32v(4));
    refused("a latent head that only turns", BadConfig, short.bytes());
    let more = |key: &str, value| {
        as_named("qwen3moe").key(format!("qwen3moe.{key}"), value).key("qwen3moe.expert_count", u32v(4))
    };
    refused("experts that nobody goes to", MissingKey, more("expert_count", u32v(4)).bytes());
    let scored = more("expert_used_count", u32v(2)).key("qwen3moe.expert_gating_func", u32v(4));
    refused("scores of another kind", UnsupportedFeature, scored.bytes());
    let grouped = more("expert_used_count", u32v(2)).key("qwen3moe.expert_group_count", u32v(3));
    refused("groups that do not divide the experts", BadConfig, grouped.bytes());
    let windows = as_named("gpt-oss").key("gpt-oss.attention.sliding_window", u32v(8));
    let windows = windows.key("gpt-oss.attention.sliding_window_pattern", array(7, 0, []));
    refused("a list of windows without layers", BadValue, windows.bytes());
    refused(
        "a Llama 4 without chunks",
        UnsupportedFeature,
        as_named("llama4").key("llama4.attention.sliding_window", u32v(0)).bytes(),
    );
    let long = as_named("phi3").key("phi3.rope.scaling.type", text("longrope"));
    refused("LongRoPE without its factors", MissingTensor, long.bytes());
    refused("only layers that predict further", BadConfig, with("llama.nextn_predict_layers", u32v(1)));
    let no_block = File::model().only(&[tensor("token_embd.weight", &[16, 4], F32, 0)], 256).bytes();
    refused("more tokens than the vocabulary", BadTokenizer, with("llama.vocab_size", u32v(3)));
    refused("an empty architecture", BadConfig, with("general.architecture", text("")));
    refused("G82 tensor_missing", MissingTensor, no_block);
}

/// Every case, for the table.
pub fn all() {
    the_valid_file_is_accepted();
    not_a_gguf_file();
    counts_and_lengths();
    keys_and_values();
    tensor_descriptions();
    tensor_places();
    an_unknown_architecture_is_refused_before_its_tensors_are_looked_at();
    split_files();
    facts();
}
