//! `minke inspect`: reports a checkpoint's properties, the memory it needs, and why it would not run.

use std::collections::BTreeMap;
use std::path::Path;

use minke::engine::{Devices, Estimate, Fit, Limits, LoadOptions, accept, estimate, rope_factors, tokenizer};
use minke::model::{Model, ModelConfig, ModelOptions, Quantization, architecture_name};
use minke::weights::{Checkpoint, Format};
use minke::{Error, Result, Warning};
use pollster::block_on;
use serde::Serialize;

use super::place::Place;
use super::{Failure, bytes};

/// Statistics of the tensors of one format.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Tensors {
    count: usize,
    weights: u64,
    bytes: u64,
}

/// The cost of a load with one quantisation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cost {
    quantization: &'static str,
    #[serde(flatten)]
    estimate: Estimate,
}

/// Why the model would not run.
#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
    detail: serde_json::Value,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        Self { code: error.code(), message: error.to_string(), detail: error.detail() }
    }
}

/// The whole report.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    format: &'static str,
    architecture: String,
    license: Option<String>,
    /// `q8` or `q4` for a quantised pack.
    pack: Option<String>,
    parameters: Option<u64>,
    active_parameters: Option<u64>,
    max_context_length: Option<usize>,
    vocab_size: Option<usize>,
    chat_template: Option<bool>,
    files: usize,
    tensors: BTreeMap<&'static str, Tensors>,
    costs: Vec<Cost>,
    warnings: Vec<Warning>,
    problem: Option<Problem>,
}

/// Prints the report; fails if the model would not run.
pub fn inspect(path: &Path, json: bool) -> std::result::Result<(), Failure> {
    let report = match Place::new(path).and_then(|place| report(&place)) {
        Ok(report) => report,
        Err(error) if json => {
            println!("{}", serde_json::json!({ "problem": Problem::from(&error) }));
            return Err(Failure::Said);
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report).expect("strings and numbers are JSON"));
    } else {
        print(&report);
    }
    if report.problem.is_some() { Err(Failure::Said) } else { Ok(()) }
}

/// Creates the report. Faulty headers are an error; for a valid model that cannot run, the report says so.
fn report(place: &Place) -> Result<Report> {
    let checkpoint = place.open()?;
    let mut tensors: BTreeMap<&'static str, Tensors> = BTreeMap::new();
    for entry in checkpoint.tensors.values() {
        let of = tensors.entry(entry.dtype.name()).or_default();
        *of = Tensors {
            count: of.count + 1,
            weights: of.weights.saturating_add(entry.elements()),
            bytes: of.bytes.saturating_add(entry.bytes()),
        };
    }
    let mut report = Report {
        format: if checkpoint.format == Format::Gguf { "gguf" } else { "safetensors" },
        architecture: architecture_name(&checkpoint.config)?,
        license: None,
        pack: place.pack()?.and_then(|pack| pack.quantization),
        parameters: None,
        active_parameters: None,
        max_context_length: None,
        vocab_size: None,
        chat_template: None,
        files: checkpoint.shards.len(),
        tensors,
        costs: Vec::new(),
        warnings: checkpoint.warnings.clone(),
        problem: None,
    };
    if let Err(error) = report.model(place, &checkpoint) {
        report.problem = Some(Problem::from(&error));
    }
    Ok(report)
}

impl Report {
    /// Adds the properties that only a model that can run has.
    fn model(&mut self, place: &Place, checkpoint: &Checkpoint) -> Result<()> {
        accept(&checkpoint.config)?;
        let config = ModelConfig::from_checkpoint(checkpoint)?;
        self.license.clone_from(&config.license);
        self.max_context_length = Some(config.max_position_embeddings);
        self.vocab_size = Some(config.vocab_size);
        let (tokenizer, texts) = tokenizer(checkpoint)?;
        self.warnings.extend(config.warnings.iter().chain(tokenizer.warnings()).cloned());
        self.chat_template = Some(texts.chat_template(false).is_ok());
        let limits = Limits::default();
        let (rope_factors, mut refused) = (block_on(rope_factors(checkpoint))?, None);
        for (name, quantization) in [("none", Quantization::None), ("q8", Quantization::Q8), ("q4", Quantization::Q4)] {
            let rope_factors = rope_factors.clone();
            let laid_out = ModelOptions { quantization, rope_factors, ..ModelOptions::default() };
            match Model::new(checkpoint, &config, laid_out) {
                Ok(model) => {
                    self.parameters = Some(model.parameters);
                    self.active_parameters = Some(model.active_parameters);
                }
                Err(error) => refused = Some(error),
            }
            let options = LoadOptions { quantization: Some(quantization), ..LoadOptions::default() };
            let estimate =
                block_on(estimate(place.source(), options, Devices { gpu: Some(limits), ..Devices::default() }))?;
            self.costs.push(Cost { quantization: name, estimate });
        }
        match refused {
            Some(error) if self.costs.iter().all(|cost| cost.estimate.fit == Fit::No) => Err(error),
            _ => Ok(()),
        }
    }
}

fn print(report: &Report) {
    let line = |name: &str, value: &str| println!("{name:<14}{value}");
    line("architecture", &report.architecture);
    let packed = report.pack.as_ref().map(|q| format!(", packed as {q}")).unwrap_or_default();
    line("format", &format!("{}, {} files of weights{packed}", report.format, report.files));
    if let (Some(all), Some(active)) = (report.parameters, report.active_parameters) {
        let active = if active < all { format!(", {} of them for each token", count(active)) } else { String::new() };
        line("parameters", &format!("{}{active}", count(all)));
    }
    if let (Some(context), Some(vocabulary)) = (report.max_context_length, report.vocab_size) {
        line("context", &format!("{context} tokens, of a vocabulary of {vocabulary}"));
    }
    if let Some(template) = report.chat_template {
        line("chat template", if template { "yes" } else { "no" });
    }
    line("license", report.license.as_deref().unwrap_or("not stated"));
    println!("\n{:<10}{:>8}{:>12}{:>12}", "tensors", "", "weights", "bytes");
    for (format, tensors) in &report.tensors {
        println!("{format:<10}{:>8}{:>12}{:>12}", tensors.count, count(tensors.weights), bytes(tensors.bytes));
    }
    if !report.costs.is_empty() {
        println!("\n{:<10}{:>12}{:>12}{:>14}{:>10}", "loaded as", "reads", "on the GPU", "KV per token", "context");
    }
    for Cost { quantization, estimate } in &report.costs {
        let name = if *quantization == "none" { "it is" } else { quantization };
        if estimate.fit == Fit::No {
            println!("{name:<10}not possible: {}", reasons(estimate));
            continue;
        }
        println!(
            "{name:<10}{:>12}{:>12}{:>14}{:>10}  {}",
            bytes(estimate.download_bytes),
            bytes(estimate.gpu_bytes),
            bytes(estimate.kv_bytes_per_token),
            estimate.max_context_length,
            reasons(estimate)
        );
    }
    report.warnings.iter().for_each(|warning| println!("\nwarning: {warning}"));
    if let Some(problem) = &report.problem {
        println!("\nwill not run: {} [{}]", problem.message, problem.code);
    }
}

fn reasons(estimate: &Estimate) -> String {
    estimate.reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
}

/// A number of weights to read.
fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..10_000_000 => format!("{:.1} K", n as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.1} B", n as f64 / 1e9),
    }
}
