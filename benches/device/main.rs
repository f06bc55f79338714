//! Measures a machine with a GPU and a Vulkan driver and nothing else: `cargo xtask bench device` makes a bundle of this program, of
//! test binaries and of their data, which is copied there. `run [--seconds N] [--slow] [--only PART,…] [--out FILE]`.
//!
//! Each part runs in a process of its own and has a limit, and the file is written again after each figure. A driver that hangs or ends
//! a part, and whoever ends the whole, cost what was not measured yet.
#![allow(missing_docs)]

mod child;
mod libtest;
mod noise;
mod parts;
mod probe;
#[path = "../../tests/shapes/mod.rs"]
#[allow(dead_code)] // architectures.rs asks for more
mod shapes;
mod steps;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use child::{End, Line};
use libtest::Tests;
use noise::Shape;
use serde_json::{Map, Value, json};

/// Seconds of the whole, unless it is said: a little less than ten minutes.
const SECONDS: f64 = 560.0;
/// How much longer parts may take with `--slow`, for software adapters.
const SLOW: f64 = 10.0;
/// Lines of what a part says besides that are kept, if it fails.
const LOG: usize = 20;

/// What a part runs.
#[derive(Clone)]
enum What {
    /// This program, with the part's name.
    Own,
    /// A binary of tests, with a filter.
    Tests(&'static str, Option<&'static str>),
}

/// A part, in the order of running.
struct Part {
    name: String,
    /// Seconds that it may take.
    limit: f64,
    what: What,
}

fn parts(folder: &Path) -> Vec<Part> {
    let part = |name: &str, limit, what| Part { name: name.to_owned(), limit, what };
    let mut parts =
        vec![part("adapter", 20.0, What::Own), part("bandwidth", 20.0, What::Own), part("self-test", 60.0, What::Own)];
    let shapes = Shape::all(&folder.join("shapes"));
    let (last, shapes) = shapes.split_last().expect("there are shapes");
    // A load takes a few seconds for each GB, and there are up to six.
    let limit = |shape: &Shape| (30.0 + 12.0 * shape.file_bytes as f64 / 1e9).min(100.0);
    parts.extend(shapes.iter().map(|shape| part(&shape.name, limit(shape), What::Own)));
    parts.extend([
        part("kernel tests", 120.0, What::Tests("kernels", Some("kernels::"))),
        part("variant tests", 60.0, What::Tests("variants", None)),
        part("golden tests", 90.0, What::Tests("golden", None)),
        part(&last.name, limit(last), What::Own),
    ]);
    parts
}

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--out" => options.out = value().into(),
            "--seconds" => options.seconds = value().parse().expect("seconds"),
            "--only" => options.only = Some(value().split(',').map(str::to_owned).collect()),
            "--slow" => options.patience = SLOW,
            "--part" => options.part = Some(value()),
            "--ceiling" => options.ceiling = value().parse().ok(),
            _ => {
                eprintln!("run [--seconds N] [--slow] [--only PART,…] [--out FILE]");
                return ExitCode::from(2);
            }
        }
    }
    let folder = std::env::current_exe().expect("a path").parent().expect("a folder").to_path_buf();
    match options.part.clone() {
        Some(part) => alone(&folder, &part, &options),
        None => everything(&folder, &options),
    }
}

struct Options {
    out: PathBuf,
    seconds: f64,
    /// How much longer a part may take than on a GPU.
    patience: f64,
    only: Option<Vec<String>>,
    /// To be run in this process.
    part: Option<String>,
    /// Gigabytes that the adapter reads a second.
    ceiling: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { out: "device.json".into(), seconds: SECONDS, patience: 1.0, only: None, part: None, ceiling: None }
    }
}

/// One part, in this process.
fn alone(folder: &Path, name: &str, options: &Options) -> ExitCode {
    let shapes = folder.join("shapes");
    let result = match name {
        "adapter" => parts::adapter(),
        "bandwidth" => parts::bandwidth(),
        "self-test" => parts::self_test(),
        _ => {
            let all = Shape::all(&shapes);
            let shape = all.iter().find(|shape| shape.name == name).expect("a part");
            parts::shape(&shapes, shape, options.seconds, options.ceiling)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// All parts, each in a process of its own.
fn everything(folder: &Path, options: &Options) -> ExitCode {
    let began = Instant::now();
    let parts = parts(folder);
    if let Some(unknown) = options.only.iter().flatten().find(|name| !parts.iter().any(|part| part.name == **name)) {
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        eprintln!("{unknown:?} is no part; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let about = std::fs::read(folder.join("about.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut report = Report { path: options.out.clone(), value: Map::new() };
    report.set("bench", json!("device"));
    report.set("about", about.unwrap_or_default());
    report.set("at", json!(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())));
    report.set("machine", machine());
    report.set("limitSeconds", json!(options.seconds));
    report.set("complete", json!(false));
    report.set("parts", json!({}));
    let mut good = true;
    for part in &parts {
        if options.only.as_ref().is_some_and(|only| !only.contains(&part.name)) {
            continue;
        }
        let left = options.seconds - began.elapsed().as_secs_f64();
        if left < 1.0 {
            report.part(&part.name, json!({ "status": "skipped", "why": "no time was left" }));
            continue;
        }
        good &= report.run(folder, part, (part.limit * options.patience).min(left));
    }
    report.set("seconds", json!(began.elapsed().as_secs_f64().round()));
    report.set("complete", json!(true));
    report.write();
    println!("{}", report.path.display());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The results, and the file that has them.
struct Report {
    path: PathBuf,
    value: Map<String, Value>,
}

impl Report {
    fn set(&mut self, key: &str, value: Value) {
        self.value.insert(key.to_owned(), value);
    }

    fn part(&mut self, name: &str, value: Value) {
        self.value["parts"][name] = value;
        self.write();
    }

    /// The file is whole at any time.
    fn write(&self) {
        let partial = self.path.with_extension("partial");
        let text = serde_json::to_string_pretty(&self.value).expect("JSON");
        let written = std::fs::write(&partial, text + "\n").and_then(|()| std::fs::rename(&partial, &self.path));
        written.unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
    }

    /// Runs a part; whether nothing is wrong, though it may have been cut.
    fn run(&mut self, folder: &Path, part: &Part, limit: f64) -> bool {
        println!("{} (at most {limit:.0} s)", part.name);
        let began = Instant::now();
        self.part(&part.name, json!({ "status": "running" }));
        let (mut log, mut tests) = (Vec::new(), Tests::default());
        let counts = matches!(part.what, What::Tests(..));
        let end = child::run(self.command(folder, part, limit), limit, |line| match line {
            Line::Out(line) if counts => tests.line(&line),
            Line::Out(line) => match serde_json::from_str::<Value>(&line) {
                Ok(told) if told.is_object() => {
                    merge(&mut self.value["parts"][&part.name]["result"], told);
                    self.write();
                }
                _ => log.push(line),
            },
            Line::Err(line) => log.push(line),
        });
        if counts {
            self.value["parts"][&part.name]["result"] = tests.value();
        }
        let (status, why) = match end {
            Ok(End::Exit(status)) if status.success() => ("done", None),
            Ok(End::Exit(status)) => ("failed", Some(status.to_string())),
            Ok(End::Cut) => ("cut", Some(format!("after {limit:.0} s"))),
            Err(error) => ("failed", Some(error.to_string())),
        };
        let value = &mut self.value["parts"][&part.name];
        value["status"] = json!(status);
        value["seconds"] = json!((began.elapsed().as_secs_f64() * 10.0).round() / 10.0);
        if let Some(why) = why {
            println!("  {status}: {why}");
            value["why"] = json!(why);
            value["log"] = json!(log[log.len().saturating_sub(LOG)..].join("\n"));
        }
        self.write();
        status != "failed"
    }

    fn command(&self, folder: &Path, part: &Part, limit: f64) -> Command {
        match part.what {
            What::Own => {
                let mut own = Command::new(std::env::current_exe().expect("a path"));
                own.args(["--part", &part.name, "--seconds", &limit.to_string()]);
                let rate = &self.value["parts"]["bandwidth"]["result"]["gigabytesPerSecond"];
                own.args(rate.as_f64().iter().flat_map(|rate| ["--ceiling".to_owned(), rate.to_string()]));
                own
            }
            What::Tests(binary, filter) => {
                let mut tests = Command::new(folder.join("tests").join(binary));
                tests.args(filter).env("MINKE_GOLDEN", folder.join("golden")).current_dir(folder);
                tests
            }
        }
    }
}

/// Puts what was told into what was told before.
fn merge(into: &mut Value, told: Value) {
    match (into, told) {
        (Value::Object(into), Value::Object(told)) => {
            told.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, told) => *into = told,
    }
}

/// The machine besides its GPU.
fn machine() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({ "cpu": name, "cores": std::thread::available_parallelism().map_or(0, usize::from), "linux": kernel.trim() })
}
