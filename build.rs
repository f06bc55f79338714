//! Gives the crate its shaders: as they are, and for WebAssembly without comments and indentation, which a page would load for nothing
//! (12 kB compressed). Lines keep their numbers, so that a compiler's messages are the same.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

const SHADERS: &str = "shaders";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={SHADERS}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let short = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    copy(Path::new(SHADERS), &out.join(SHADERS), short)
}

/// Copies a folder of shaders.
fn copy(from: &Path, to: &Path, short: bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &to, short)?;
            continue;
        }
        let text = fs::read_to_string(&path)?;
        fs::write(to, if short { shortened(&text) } else { text })?;
    }
    Ok(())
}

/// WGSL without comments and indentation. It has no strings in which `//` could be anything else.
fn shortened(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default().trim().to_owned() + "\n").collect()
}
