//! The vocabulary in a GGUF header, read for tests.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use minke::text::GgufVocab;

enum Meta {
    Number(f64),
    Text(String),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

struct Reader(Vec<u8>, usize);

impl Reader {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        self.1 += N;
        self.0[self.1 - N..self.1].try_into().expect("in the header")
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn text(&mut self) -> String {
        let length = self.u64() as usize;
        self.1 += length;
        String::from_utf8(self.0[self.1 - length..self.1].to_vec()).expect("UTF-8")
    }

    fn number(&mut self, kind: u32) -> f64 {
        match kind {
            0 | 7 => f64::from(self.take::<1>()[0]),
            1 => f64::from(self.take::<1>()[0] as i8),
            2 => f64::from(u16::from_le_bytes(self.take())),
            3 => f64::from(i16::from_le_bytes(self.take())),
            4 => f64::from(self.u32()),
            5 => f64::from(i32::from_le_bytes(self.take())),
            6 => f64::from(f32::from_le_bytes(self.take())),
            10 | 11 => self.u64() as f64,
            12 => f64::from_le_bytes(self.take()),
            other => panic!("metadata type {other}"),
        }
    }

    fn value(&mut self) -> Meta {
        match self.u32() {
            8 => Meta::Text(self.text()),
            9 => {
                let kind = self.u32();
                let count = self.u64();
                if kind == 8 {
                    Meta::Texts((0..count).map(|_| self.text()).collect())
                } else {
                    Meta::Numbers((0..count).map(|_| self.number(kind)).collect())
                }
            }
            kind => Meta::Number(self.number(kind)),
        }
    }
}

/// The vocabulary and the chat template.
pub fn read(path: &Path) -> (GgufVocab, Option<String>) {
    let mut bytes = Vec::new();
    File::open(path).expect("readable").take(16 << 20).read_to_end(&mut bytes).expect("readable");
    let mut reader = Reader(bytes, 8);
    reader.u64();
    let count = reader.u64();
    let mut meta: HashMap<String, Meta> = (0..count).map(|_| (reader.text(), reader.value())).collect();
    let mut text = |key: &str| match meta.remove(key) {
        Some(Meta::Text(text)) => Some(text),
        _ => None,
    };
    let (model, pre) = (text("tokenizer.ggml.model"), text("tokenizer.ggml.pre"));
    let template = text("tokenizer.chat_template");
    let mut texts = |key: &str| match meta.remove(key) {
        Some(Meta::Texts(list)) => list,
        _ => Vec::new(),
    };
    let (tokens, merges) = (texts("tokenizer.ggml.tokens"), texts("tokenizer.ggml.merges"));
    let mut numbers = |key: &str| match meta.remove(key) {
        Some(Meta::Numbers(list)) => list,
        _ => Vec::new(),
    };
    let (types, scores) = (numbers("tokenizer.ggml.token_type"), numbers("tokenizer.ggml.scores"));
    let number = |key: &str| match meta.get(&format!("tokenizer.ggml.{key}")) {
        Some(Meta::Number(n)) => Some(*n),
        _ => None,
    };
    let id = |key: &str| number(key).map(|n| n as u32);
    let flag = |key: &str| number(key).map(|n| n != 0.0);
    let vocab = GgufVocab {
        model: model.expect("a model"),
        pre,
        tokens,
        token_types: types.into_iter().map(|t| t as i32).collect(),
        merges,
        scores: scores.into_iter().map(|s| s as f32).collect(),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        unk: id("unknown_token_id"),
        pad: id("padding_token_id"),
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
    };
    (vocab, template)
}
