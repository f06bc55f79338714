//! What is measured. A part runs in a process of its own and tells of each figure as soon as it is known, so that one which is cut, or
//! which a driver ends, leaves what it had.

use std::path::Path;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use minke::engine::{Choices, Engine, GenerateOptions, Host, Input, LoadOptions, RunOn, accept};
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::{KvFormat, SelfTest, Variants};
use minke::model::{Model, ModelConfig, ModelOptions, Quantization};
use minke::plan::Executor;
use minke::weights::Checkpoint;
use minke::{Cancel, Result, WarningCode};
use pollster::block_on;
use serde_json::{Map, Value, json};

use crate::noise::{Noise, Shape};
use crate::probe::Adapter;
use crate::shapes::published;
use crate::steps;

const HOST: Host = Host {
    clock: || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64() * 1e3),
    local_time: || 0,
    seed: || 1,
    warn: |message| eprintln!("{message}"),
    workers: |arithmetic, count| Box::pin(async move { Ok(minke::cpu::threads(arithmetic, count)) }),
};
/// What a load finds out by timing.
static CHOICES: Choices = Choices::new();

const SHORT: usize = 128;
const LONG: usize = 4096;
const PROMPT: usize = 512;
const ROUNDS: usize = 3;
/// Room for what is decoded after the longest context.
const ROOM: usize = 192;

/// Tells a part of the result, which is merged with what was told before.
fn tell(value: &Value) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).expect("whoever started this reads on");
}

/// Tells of what lies at a path in the result.
fn tell_at(path: &[&str], value: Value) {
    tell(&path.iter().rev().fold(value, |value, key| json!({ *key: value })));
}

/// Facts of the adapter, as wgpu and Minke tell them.
pub fn adapter() -> Result<()> {
    let adapter = block_on(Adapter::open());
    let info = adapter.raw.get_info();
    let limits = adapter.raw.limits();
    let gpu = open();
    let facts = gpu.facts();
    let variants: Vec<&str> = Variants::each(facts).map(name_of).collect();
    tell(&json!({
        "name": info.name, "driver": info.driver, "driverInfo": info.driver_info, "backend": info.backend.to_string(),
        "type": format!("{:?}", info.device_type), "vendor": info.vendor, "device": info.device, "software": facts.software,
        "subgroupSizes": [info.subgroup_min_size, info.subgroup_max_size],
        "shaderF16": facts.shader_f16, "subgroups": facts.subgroups, "packedInt8": facts.packed_int8,
        "variants": variants, "chosen": names_of(Variants::of(facts)),
        "maxBufferSize": limits.max_buffer_size, "maxStorageBufferBindingSize": limits.max_storage_buffer_binding_size,
        "maxComputeWorkgroupStorageSize": limits.max_compute_workgroup_storage_size,
    }));
    Ok(())
}

/// How fast it reads.
pub fn bandwidth() -> Result<()> {
    let (ways, bytes) = block_on(async { Adapter::open().await.read().await });
    let best = ways.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let ways: Map<String, Value> = ways.into_iter().map(|(way, rate)| (way, json!(rounded(rate)))).collect();
    tell(&json!({ "gigabytesPerSecond": rounded(best), "bytes": bytes, "ways": ways }));
    Ok(())
}

/// Runs the self-test of a load for the plans of every published model in every variant, without weights.
pub fn self_test() -> Result<()> {
    let gpu: Rc<dyn Executor> = Rc::new(open());
    let facts = gpu.facts().clone();
    let all: Vec<Variants> = std::iter::once(Variants::default()).chain(Variants::each(&facts)).collect();
    let (mut wrong, mut tested) = (Map::new(), 0);
    for shape in published() {
        let checkpoint = block_on(Checkpoint::open_folder(&shape.folder(), &accept))?;
        let config = ModelConfig::from_checkpoint(&checkpoint)?;
        for (quantization, kv) in [(Quantization::Q4, KvFormat::F16), (Quantization::Q8, KvFormat::Q8)] {
            let max_binding = facts.max_storage_buffer_binding_size;
            let options = ModelOptions {
                quantization,
                kv_format: Some(kv),
                context_length: Some(LONG),
                max_binding,
                ..Default::default()
            };
            let model = match Model::new(&checkpoint, &config, options) {
                Ok(model) => model,
                Err(error) => {
                    wrong.insert(format!("{} {kv:?}", shape.name), json!([error.to_string()]));
                    continue;
                }
            };
            for &variants in &all {
                let plans = model.plans.all();
                let failed = block_on(SelfTest::new(&plans, variants).failures(&gpu));
                let names = match failed {
                    Ok(failed) => failed.iter().map(ToString::to_string).collect(),
                    Err(error) => vec![error.to_string()],
                };
                tested += 1;
                if !names.is_empty() {
                    wrong.insert(format!("{}, {kv:?} cache, {}", shape.name, name_of(variants)), json!(names));
                }
                tell(&json!({ "tested": tested, "failed": wrong }));
            }
        }
    }
    Ok(())
}

/// Measures a model of noise.
pub fn shape(folder: &Path, shape: &Shape, limit: f64, ceiling: Option<f64>) -> Result<()> {
    let bench = Bench { folder, shape, began: Instant::now(), limit, ceiling };
    let Shape { parameters, file_bytes, bytes_per_token, .. } = *shape;
    tell(&json!({ "parameters": parameters, "fileBytes": file_bytes, "bytesPerToken": bytes_per_token }));
    let chosen = LoadOptions { kv_cache: Some(KvFormat::F16), ..LoadOptions::default() };
    bench.speeds(&["chosen"], chosen, &[SHORT, LONG])?;
    // What the driver or the device refuses of these is told, and the others go on.
    let one_more = |path: &[&str], options, contexts: &[usize]| {
        bench
            .speeds(path, options, contexts)
            .unwrap_or_else(|error| tell_at(path, json!({ "failed": error.to_string() })));
    };
    for variants in std::iter::once(Variants::default()).chain(Variants::each(open().facts())) {
        let alone = LoadOptions { variants: Some(variants), ..chosen };
        one_more(&["variants", name_of(variants)], alone, &[SHORT]);
    }
    one_more(&["tuned"], LoadOptions { tuning: Some(&CHOICES), ..chosen }, &[SHORT]);
    one_more(&["kvCache", "q8"], LoadOptions { kv_cache: Some(KvFormat::Q8), ..chosen }, &[SHORT, LONG]);
    Ok(())
}

struct Bench<'a> {
    folder: &'a Path,
    shape: &'a Shape,
    began: Instant,
    /// Seconds that all of it may take.
    limit: f64,
    /// Gigabytes that the adapter reads a second.
    ceiling: Option<f64>,
}

impl Bench<'_> {
    fn left(&self) -> f64 {
        self.limit - self.began.elapsed().as_secs_f64()
    }

    /// Loads the model and measures it: reading prompts, and writing after each context.
    fn speeds(&self, path: &[&str], options: LoadOptions, contexts: &[usize]) -> Result<()> {
        let shape = self.shape;
        let context = contexts.iter().max().expect("a context").max(&PROMPT) + ROOM;
        let options = LoadOptions { run_on: RunOn::Gpu, context_length: Some(context), ..options };
        let cancel = Cancel::default();
        let began = Instant::now();
        let file = block_on(Noise::open(self.folder, shape))?;
        let engine = block_on(Engine::load_gguf(file, None, options, HOST, &cancel, &mut |_| {}))?;
        let load = began.elapsed().as_secs_f64();
        let warnings = engine.info().warnings.iter().filter(|warning| warning.code == WarningCode::Kernel);
        let warnings: Vec<&str> = warnings.map(|warning| warning.message.as_str()).collect();
        let memory = engine.memory();
        tell_at(
            path,
            json!({
                "loadSeconds": rounded(load), "weights": memory.weights, "kv": memory.kv, "scratch": memory.scratch,
                "quantization": engine.info().quantization, "kernels": kernels(&engine), "dropped": warnings,
            }),
        );
        let runs = Runs { engine: &engine, salt: 0.into() };
        runs.run(&ids(16, 0), 2)?; // whatever a first run still has to set up
        // As much of a prompt as a short while allows.
        let first = runs.reads(64)?;
        let tokens = if PROMPT as f64 / first < self.left() / 20.0 { PROMPT } else { 64 };
        let rates = (0..ROUNDS).map(|_| runs.reads(tokens)).collect::<Result<Vec<f64>>>()?;
        let prefill = median(&rates);
        let figures = json!({ "tokens": tokens, "tokensPerSecond": rounded(prefill), "all": all(&rates) });
        tell_at(path, json!({ "prefill": figures }));
        for &context in contexts {
            let reading = context as f64 / prefill;
            let measured = if reading > self.left() / 4.0 {
                json!({ "skipped": format!("reading {context} tokens would take {reading:.0} s") })
            } else {
                self.decode(&runs, context, options.kv_cache)?
            };
            tell_at(path, json!({ "decode": { context.to_string(): measured } }));
        }
        if path == ["chosen"] {
            // A quarter of what is left, so that the variants have their turn.
            let end = self.left() * 0.75;
            steps::times(&engine, || self.left() - end, |plan, steps| tell(&json!({ "steps": { plan: steps } })))?;
        }
        Ok(())
    }

    /// Tokens of an answer a second, and which share of the bandwidth that is.
    fn decode(&self, runs: &Runs<'_>, context: usize, format: Option<KvFormat>) -> Result<Value> {
        let input = ids(context, 0);
        let tokens = (runs.writes(&input, 4)? / 2.0).clamp(4.0, 128.0) as usize;
        let rates = (0..ROUNDS).map(|_| runs.writes(&input, tokens)).collect::<Result<Vec<f64>>>()?;
        let rate = median(&rates);
        // A row of a cache in relation to one of 16 bits, for heads of 64 and more.
        let words = |format: KvFormat| format.row_words(128) as f64;
        let cache =
            self.shape.cache_bytes_per_token as f64 * words(format.unwrap_or(KvFormat::F16)) / words(KvFormat::F16);
        let moved = rate * (self.shape.bytes_per_token as f64 + cache * context as f64) / 1e9;
        let mut value = json!({
            "tokensPerSecond": rounded(rate), "all": all(&rates), "tokens": tokens, "gigabytesPerSecond": rounded(moved),
        });
        if let Some(ceiling) = self.ceiling {
            value["shareOfBandwidth"] = json!(rounded(moved / ceiling));
        }
        Ok(value)
    }
}

/// Generations of a loaded model.
struct Runs<'a> {
    engine: &'a Engine,
    /// Makes each prompt differ from its first token on, so that nothing of it is known yet.
    salt: std::cell::Cell<u32>,
}

impl Runs<'_> {
    fn run(&self, ids: &[u32], tokens: usize) -> Result<minke::engine::Usage> {
        let options =
            GenerateOptions { max_output_tokens: Some(tokens as f64), temperature: Some(0.0), ..Default::default() };
        let (cancel, mut quiet) = (Cancel::default(), |_| {});
        Ok(block_on(self.engine.generate(Input::Ids(ids.to_vec()), &options, &cancel, &mut quiet))?.usage)
    }

    /// Tokens of a prompt a second.
    fn reads(&self, tokens: usize) -> Result<f64> {
        self.salt.set(self.salt.get() + 1);
        let usage = self.run(&ids(tokens, self.salt.get()), 1)?;
        Ok((usage.input_tokens - usage.cached_tokens) as f64 / usage.prefill_ms * 1e3)
    }

    /// Tokens of an answer a second, after the first, which comes from the prompt.
    fn writes(&self, input: &[u32], tokens: usize) -> Result<f64> {
        let usage = self.run(input, tokens + 1)?;
        Ok((usage.output_tokens - 1) as f64 / usage.decode_ms * 1e3)
    }
}

fn ids(count: usize, salt: u32) -> Vec<u32> {
    (0..count as u32).map(|i| (i * 37 + salt * 101) % 251).collect()
}

fn open() -> Gpu {
    block_on(Gpu::open(DeviceOptions::default())).expect("a GPU")
}

/// How many steps of the plans run in each variant, by its name; base kernels as "base".
fn kernels(engine: &Engine) -> Value {
    let mut counts = Map::new();
    for step in engine.plans().all().iter().flat_map(|plan| &plan.steps) {
        let name = step.shader.id.variant.map_or("base", |variant| variant.spec().name);
        let count = counts.get(name).and_then(Value::as_u64).unwrap_or(0);
        counts.insert(name.to_owned(), json!(count + 1));
    }
    counts.into()
}

fn names_of(variants: Variants) -> Vec<&'static str> {
    let Variants { subgroups, f16, int8 } = variants;
    let all = [(subgroups, "subgroups"), (f16, "f16"), (int8, "int8")];
    all.into_iter().filter_map(|(on, name)| on.then_some(name)).collect()
}

/// The name of one variant, or of none.
fn name_of(variants: Variants) -> &'static str {
    names_of(variants).first().copied().unwrap_or("none")
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn all(rates: &[f64]) -> Vec<f64> {
    rates.iter().map(|rate| rounded(*rate)).collect()
}

/// Three significant digits: more would be noise.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}
