//! Reads the vocabulary in a GGUF header, even if the rest of the file is missing.

use std::path::Path;

use minke::engine::gguf_vocab;
use minke::text::GgufVocab;
use minke::weights::DiskFile;
use minke::weights::gguf::HeaderStart;

/// The vocabulary and the chat template of a GGUF file, or of its beginning.
pub fn read(path: &Path) -> (GgufVocab, Option<String>) {
    let file = DiskFile::open(path).expect("a readable file");
    let metadata = pollster::block_on(HeaderStart::read(&file)).expect("metadata").metadata;
    let template = metadata.string("tokenizer.chat_template").expect("a string");
    (gguf_vocab(&metadata).expect("a vocabulary"), template.map(str::to_owned))
}
