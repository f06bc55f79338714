//! Recognises other file types by their first bytes, so that an error can say what a file really is.

/// A description of a file by its first bytes, `start`, if it is a recognised type other than the expected one.
pub(super) fn hint(start: &[u8]) -> Option<&'static str> {
    let text: String = start.iter().take(64).map(|&b| char::from(b).to_ascii_lowercase()).collect();
    let text = text.trim_start_matches(['\u{ef}', '\u{bb}', '\u{bf}']).trim_start();
    Some(match start {
        [b'P', b'K', 3, 4, ..] => "this is a PyTorch zip (.bin or .pt); publish safetensors or GGUF instead",
        [0x80, 2..=5, ..] => "this is a Python pickle; publish safetensors or GGUF instead",
        [0x1f, 0x8b, ..] => "this is a gzip archive",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "this is a zstd archive",
        [b'G', b'G', b'U', b'F', ..] => "this is a GGUF file",
        [b'F', b'U', b'G', b'G', ..] => "this is a GGUF file with its magic reversed",
        [b'g' | b't', b'g' | b'j', b'g' | b'm', b'f' | b'l' | b't', ..]
        | [b'l' | b'f' | b't', b'm' | b'j', b'g', b'g', ..] => "this is one of the formats that came before GGUF",
        [0x89, b'H', b'D', b'F', ..] => "this is an HDF5 file",
        _ if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<head") => {
            "this is an HTML page, often an error or a login page"
        }
        _ if text.starts_with("<?xml") => "this is an XML answer, often an error message",
        _ if text.starts_with("version https://git-lfs") => "this is a git LFS pointer, not the file itself",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn other_file_types_are_recognised() {
        assert!(hint(b"<!DOCTYPE html><html>").unwrap().contains("HTML"));
        assert!(hint(b"\n <html lang").unwrap().contains("HTML"));
        assert!(hint(b"version https://git-lfs.github.com/spec/v1\n").unwrap().contains("LFS pointer"));
        assert!(hint(b"PK\x03\x04\0\0").unwrap().contains("PyTorch zip"));
        assert!(hint(b"ggml").unwrap().contains("before GGUF"));
        assert!(hint(b"\x10\0\0\0\0\0\0\0{\"a\"").is_none());
        assert!(hint(b"").is_none());
    }
}
