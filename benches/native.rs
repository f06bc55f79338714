//! Measures which share of the native adapter's read bandwidth decode reaches: alternates the probe of `read.wgsl` with
//! tokens of SmolLM2. `cargo run --example bench_native -- [--quick]` writes `target/bench/native.json`.
#![allow(missing_docs)]

use std::path::Path;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use minke::Cancel;
use minke::engine::{Engine, GenerateOptions, Host, Input, LoadOptions};
use minke::weights::{DiskFile, DiskFolder};
use pollster::block_on;
use serde_json::{Value, json};
use wgpu::util::{BufferInitDescriptor, DeviceExt};

const BYTES: u64 = 128 << 20; // within every adapter's binding limit, and larger than every cache
const THREADS: u32 = 4096;
const HOST: Host = Host {
    clock: || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64() * 1e3),
    local_time: || 0,
    seed: || 1,
    warn: |message| eprintln!("{message}"),
    workers: |arithmetic, count| Box::pin(async move { Ok(minke::cpu::threads(arithmetic, count)) }),
};

/// The probe, which reads a buffer as fast as the adapter can.
struct Probe {
    device: wgpu::Device,
    queue: wgpu::Queue,
    ways: Vec<(wgpu::ComputePipeline, wgpu::BindGroup, u32)>,
}

impl Probe {
    async fn new() -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await.expect("an adapter");
        let required_limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = adapter.request_device(&descriptor).await.expect("a device");
        let words: Vec<u32> = (0..(BYTES / 4) as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
        let contents: &[u8] = bytemuck::cast_slice(&words);
        let usage = wgpu::BufferUsages::STORAGE;
        let source = device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
        let size = u64::from(THREADS) * 4;
        let reduced =
            device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(include_str!("read.wgsl").into()),
        });
        let way = |(workgroup, interleaved): (u32, bool)| {
            let per = (BYTES / 16) as f64 / f64::from(THREADS);
            let constants = [
                ("PER", per),
                ("INTERLEAVED", f64::from(u8::from(interleaved))),
                ("THREADS", f64::from(THREADS)),
                ("WORKGROUP", f64::from(workgroup)),
            ];
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
                cache: None,
            });
            let entries = [&source, &reduced].map(wgpu::Buffer::as_entire_binding);
            let [source, reduced] = entries;
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(0),
                entries: &[
                    wgpu::BindGroupEntry { binding: 0, resource: source },
                    wgpu::BindGroupEntry { binding: 1, resource: reduced },
                ],
            });
            (pipeline, group, THREADS / workgroup)
        };
        let ways = [(16, false), (64, false), (64, true), (256, true)].map(way).into();
        Self { device, queue, ways }
    }

    /// Gigabytes per second: the best of all ways and of `passes` of each.
    fn read(&self, passes: usize) -> f64 {
        let once = |(pipeline, group, workgroups): &(wgpu::ComputePipeline, wgpu::BindGroup, u32)| {
            let start = Instant::now();
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(*workgroups, 1, 1);
            drop(pass);
            self.queue.submit([encoder.finish()]);
            self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
            BYTES as f64 / start.elapsed().as_secs_f64() / 1e9
        };
        let all = self.ways.iter().flat_map(|way| (0..passes).map(move |_| once(way)));
        all.fold(0.0, f64::max)
    }
}

/// Seconds per token after the first.
fn decode(engine: &Engine, tokens: usize) -> f64 {
    let options =
        GenerateOptions { max_output_tokens: Some(tokens as f64), temperature: Some(0.0), ..Default::default() };
    let input = Input::Ids(vec![6403, 1980, 253, 655, 28, 281, 253, 1165, 6560, 411, 260, 3426, 28]); // "Once upon a time, in a …"
    let result = block_on(engine.generate(input, &options, &Cancel::default(), &mut |_| {})).expect("a generation");
    assert_eq!(result.ids.len(), tokens, "no end of sequence in the way");
    result.usage.decode_ms / 1e3 / (tokens - 1) as f64
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(".cache/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !path.exists() {
        return println!("SKIPPED: {} is not here: `cargo xtask setup`", path.display());
    }
    let folder = DiskFolder::new(path.parent().expect("a folder"));
    let file = Rc::new(DiskFile::open(&path).expect("the model"));
    let options = LoadOptions { context_length: Some(256), ..LoadOptions::default() };
    let cancel = Cancel::default();
    let engine =
        block_on(Engine::load_gguf(file, Some(&folder), options, HOST, &cancel, &mut |_| {})).expect("it loads");
    let probe = block_on(Probe::new());
    // One token reads every weight, because the embedding is tied to the head.
    let weights = engine.memory().weights;
    decode(&engine, 2);
    let (rounds, passes, tokens) = if quick { (1, 1, 4) } else { (5, 2, 17) };
    let mut measured = Vec::new();
    for _ in 0..rounds {
        let ceiling = probe.read(passes);
        let seconds = decode(&engine, tokens);
        let rate = weights as f64 / seconds / 1e9;
        let share = rate / ceiling;
        println!(
            "reads {ceiling:.2} GB/s, decode {rate:.2} GB/s ({:.2} tokens/s): {:.0} %",
            1.0 / seconds,
            share * 100.0
        );
        measured.push(json!({ "ceiling": ceiling, "rate": rate, "tokens": 1.0 / seconds, "share": share }));
    }
    let mut shares: Vec<f64> = measured.iter().filter_map(|round| round["share"].as_f64()).collect();
    shares.sort_by(f64::total_cmp);
    let share = json!({ "min": shares[0], "median": shares[shares.len() / 2], "max": shares[shares.len() - 1], "runs": shares.len() });
    let executor = engine.executor();
    let facts = executor.facts();
    let result: Value =
        json!({ "quick": quick, "adapter": facts.name, "weights": weights, "rounds": measured, "share": share });
    let out = root.join("target/bench");
    std::fs::create_dir_all(&out).expect("target/ can be written");
    let text = serde_json::to_string_pretty(&result).expect("JSON");
    std::fs::write(out.join("native.json"), text).expect("target/ can be written");
}
