//! The `minke` command line: inspects checkpoints, makes packs for static hosts, and generates on this machine's GPU.

#![forbid(unsafe_code)]

mod gguf;
mod inspect;
mod loaded;
mod pack;
mod parts;
mod place;
mod plan;
mod run;
mod safetensors;
mod serve;
mod tuning;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};
use minke::engine::{Constraint, LoadOptions, RunOn};
use minke::kernels::KvFormat;
use minke::model::Quantization;

const HELP: &str = "minke inspect PATH [--json]
    shows what a checkpoint is, what it costs, and why it would not run
minke run PATH --prompt TEXT [--max-tokens N] [--temperature T] [--seed S] [--raw]
               [--quantization q4|q8|none] [--kv f16|q8] [--context N] [--device auto|gpu|cpu]
               [--tuning FILE] [--json-schema FILE | --grammar FILE]
    generates, within a schema or a Lark grammar if there is one; the answer goes to stdout, reasoning and statistics to stderr
minke serve PATH [--port 8787] [--quantization q4|q8|none] [--kv f16|q8] [--context N] [--device auto|gpu|cpu]
                 [--tuning FILE]
    answers OpenAI's HTTP API at http://127.0.0.1:PORT/v1, for programs on this machine
minke pack PATH OUT [--quantization q4|q8|none] [--shard-size 24MiB] [--verify-load]
    writes a folder for a static host: no file larger than a shard, minke.json with hashes

PATH is a folder with config.json, a folder with a GGUF file, a GGUF file, or a pack. With --tuning, the forms of the kernels are timed
once on this GPU, and FILE keeps which are the fastest.";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The command line is invalid.
    #[error("{0}")]
    Usage(String),
    /// An error of the library.
    #[error("{0} [{code}]", code = .0.code())]
    Engine(#[from] minke::Error),
    /// A file could not be written.
    #[error("{path}: {error}")]
    Write { path: PathBuf, error: std::io::Error },
    /// The failure has already been reported on stdout.
    #[error("")]
    Said,
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Adds the file's path to a write error.
fn writing<T>(path: &Path, result: std::io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Write { path: path.to_owned(), error })
}

fn main() -> ExitCode {
    match command(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("minke: {message}\n\n{HELP}");
            ExitCode::from(2)
        }
        Err(Failure::Said) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("minke: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn command(mut parser: Parser) -> Result<(), Failure> {
    match parser.next()? {
        Some(Arg::Value(name)) if name == "inspect" => inspect_command(parser),
        Some(Arg::Value(name)) if name == "run" => run_command(parser),
        Some(Arg::Value(name)) if name == "serve" => serve_command(parser),
        Some(Arg::Value(name)) if name == "pack" => pack_command(parser),
        Some(Arg::Short('h') | Arg::Long("help")) | None => {
            println!("{HELP}");
            Ok(())
        }
        Some(Arg::Short('V') | Arg::Long("version")) => {
            println!("minke {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Some(Arg::Value(name)) => Err(Failure::Usage(format!("unknown command {name:?}"))),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn inspect_command(mut parser: Parser) -> Result<(), Failure> {
    let (mut path, mut json) = (None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            Arg::Long("json") => json = true,
            other => return Err(other.unexpected().into()),
        }
    }
    inspect::inspect(&given(path, "PATH")?, json)
}

fn run_command(mut parser: Parser) -> Result<(), Failure> {
    let mut path = None;
    let mut options = run::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            Arg::Long("prompt") => options.prompt = Some(parser.value()?.string()?),
            Arg::Long("max-tokens") => options.generate.max_output_tokens = Some(parser.value()?.parse()?),
            Arg::Long("temperature") => options.generate.temperature = Some(parser.value()?.parse()?),
            Arg::Long("seed") => options.generate.seed = Some(parser.value()?.parse()?),
            Arg::Long("raw") => options.generate.raw = true,
            Arg::Long("json-schema") => {
                let json =
                    serde_json::from_str(&read(parser.value()?.into())?).map_err(|e| Failure::Usage(e.to_string()))?;
                options.generate.response_constraint = Some(Constraint::Json { json });
            }
            Arg::Long("grammar") => {
                let grammar = read(parser.value()?.into())?;
                options.generate.response_constraint = Some(Constraint::Grammar { grammar });
            }
            Arg::Long(name) => {
                let name = name.to_owned();
                load_option(&name, &mut parser, &mut options.load)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let prompt = given(options.prompt.take(), "--prompt")?;
    run::run(&given(path, "PATH")?, prompt, &options)
}

fn serve_command(mut parser: Parser) -> Result<(), Failure> {
    let mut path = None;
    let mut options = serve::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            Arg::Long("port") => options.port = parser.value()?.parse()?,
            Arg::Long(name) => {
                let name = name.to_owned();
                load_option(&name, &mut parser, &mut options.load)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    serve::serve(&given(path, "PATH")?, &options)
}

/// Reads an option of a load.
fn load_option(name: &str, parser: &mut Parser, options: &mut LoadOptions) -> Result<(), Failure> {
    match name {
        "quantization" => options.quantization = Some(parser.value()?.parse_with(quantization)?),
        "kv" => options.kv_cache = Some(parser.value()?.parse_with(kv_format)?),
        "device" => options.run_on = parser.value()?.parse_with(run_on)?,
        "tuning" => options.tuning = Some(tuning::open(parser.value()?.into())?),
        "context" => options.context_length = Some(parser.value()?.parse()?),
        other => return Err(Failure::Usage(format!("invalid option '--{other}'"))),
    }
    Ok(())
}

fn pack_command(mut parser: Parser) -> Result<(), Failure> {
    let (mut from, mut to) = (None, None);
    let mut options = pack::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(value) if from.is_none() => from = Some(PathBuf::from(value)),
            Arg::Value(value) if to.is_none() => to = Some(PathBuf::from(value)),
            Arg::Long("quantization") => options.quantization = parser.value()?.parse_with(quantization)?,
            Arg::Long("shard-size") => options.shard_size = parser.value()?.parse_with(size)?,
            Arg::Long("verify-load") => options.verify_load = true,
            other => return Err(other.unexpected().into()),
        }
    }
    pack::pack(&given(from, "PATH")?, &given(to, "OUT")?, &options)
}

/// The text of a file that an option names.
fn read(path: PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(&path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn given<T>(value: Option<T>, name: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::Usage(format!("{name} is missing")))
}

fn quantization(name: &str) -> Result<Quantization, String> {
    match name {
        "q4" => Ok(Quantization::Q4),
        "q8" => Ok(Quantization::Q8),
        "none" => Ok(Quantization::None),
        other => Err(format!("{other:?} must be q4, q8 or none")),
    }
}

fn run_on(name: &str) -> Result<RunOn, String> {
    match name {
        "auto" => Ok(RunOn::Auto),
        "gpu" => Ok(RunOn::Gpu),
        "cpu" => Ok(RunOn::Cpu),
        other => Err(format!("{other:?} must be auto, gpu or cpu")),
    }
}

fn kv_format(name: &str) -> Result<KvFormat, String> {
    match name {
        "f16" => Ok(KvFormat::F16),
        "q8" => Ok(KvFormat::Q8),
        other => Err(format!("{other:?} must be f16 or q8")),
    }
}

/// Parses a number of bytes, such as `24MiB`, `25 MB` or `65536`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("{other:?} is not a unit of bytes")),
    };
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} is not a number of bytes"))?;
    number.checked_mul(unit).filter(|n| *n > 0).ok_or_else(|| format!("{text:?} is not a valid size"))
}

/// Formats a number of bytes for people.
fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", n as f64 / 1_073_741_824.0),
    }
}

/// The last component of a path.
fn file_name(path: &Path) -> OsString {
    path.file_name().unwrap_or(path.as_os_str()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("24MiB"), Ok(24 << 20));
        assert_eq!(size("25 MB"), Ok(25_000_000));
        assert_eq!(size("512"), Ok(512));
        for bad in ["", "MiB", "0", "-1", "1.5MiB", "3 miles", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!((bytes(17), bytes(24 << 20), bytes(3 << 29)), ("17 B".into(), "24.0 MiB".into(), "1.50 GiB".into()));
    }
}
