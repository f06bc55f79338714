//! Fuzzes tokenizer.json and encodes texts with the tokenizer it describes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minke::text::{Detokenizer, Tokenizer};

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|data: &[u8]| {
    bounds::bounded(|| {
        let Ok(tokenizer) = Tokenizer::from_json(data, "tokenizer.json") else { return };
        for text in [
            "",
            "Hello, world! 你好 12345\n\n  x",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
            "<x><|im_start|>\u{1f9d1}\u{200d}\u{1f4bb}",
        ] {
            let Ok(ids) = tokenizer.encode(text, true) else { continue };
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()), "an id past the vocabulary");
            let _ = tokenizer.decode(&ids, false);
            let mut stream = Detokenizer::new(&tokenizer, true);
            ids.iter().for_each(|&id| drop(stream.push(&tokenizer, id)));
            let _ = stream.finish(&tokenizer);
        }
    });
});
