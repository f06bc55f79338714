//! `--tuning FILE`: a file in which loads keep which variants of kernels they found the fastest here.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;

use minke::engine::Choices;

use super::{Failure, writing};

static CHOICES: Choices = Choices::new();
/// The file, and what it has.
static FILE: Mutex<Option<(PathBuf, String)>> = Mutex::new(None);

/// Reads the file, which there need not be yet.
pub fn open(path: PathBuf) -> Result<&'static Choices, Failure> {
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| Failure::Usage(format!("{}: {error}", path.display()))),
    }?;
    CHOICES.restore(&text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>());
    *FILE.lock().expect("nobody panics with it") = Some((path, text));
    Ok(&CHOICES)
}

/// Writes the file if a load has found out something.
pub fn keep() -> Result<(), Failure> {
    let Some((path, before)) = FILE.lock().expect("nobody panics with it").take() else { return Ok(()) };
    let text: String = CHOICES.all().iter().map(|choice| format!("{choice}\n")).collect();
    if text == before { Ok(()) } else { writing(&path, std::fs::write(&path, text)) }
}
