//! Measures where the time of a token and of a chunk goes: runs each step of a model's plans alone, by kernel and
//! layout, in the base kernels on the default adapter. `cargo run --example step_times -- MODEL.gguf [--position N] [--only
//! "prefill l0"]`; weights stay zero. With `--cpu`, plans run on the processor, on `--threads N`; their steps run one after the
//! other, so that weights come from memory as in a whole plan.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use minke::cpu::{Arithmetic, Cpu, threads};
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::State;
use minke::model::{Model, ModelConfig, ModelOptions};
use minke::plan::{Executor, Plan};
use minke::weights::DiskFile;
use minke::weights::checkpoint::Checkpoint;

/// CPU time in milliseconds of this process's threads, which a busy machine affects little; 0 if the system has no such
/// count.
fn cpu_ms() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ran = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    ran.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e6
}

/// A model whose weights are zero.
async fn allocated(path: &str, executor: &dyn Executor, context: usize) -> minke::Result<Model> {
    let checkpoint = Checkpoint::open_gguf(Rc::new(DiskFile::open(path)?), None, &|_| Ok(())).await?;
    let config = ModelConfig::from_checkpoint(&checkpoint)?;
    let options = ModelOptions {
        max_binding: executor.facts().max_storage_buffer_binding_size,
        context_length: Some(context),
        ..ModelOptions::default()
    };
    let model = Model::new(&checkpoint, &config, options)?;
    executor.allocate(&model.buffers).await?;
    for (buffer, bytes) in &model.constants {
        executor.write(*buffer, 0, bytes);
    }
    Ok(model)
}

async fn run(path: &str, position: u32, only: &str) -> minke::Result<()> {
    let executor = Gpu::open(DeviceOptions::default()).await?;
    let facts = executor.facts().clone();
    println!("{:?}", facts.name);
    let model = allocated(path, &executor, 2048).await?;
    for (plan, count) in [(&model.plans.decode, 1), (&model.plans.prefill, model.chunk as u32)] {
        let state = State { position, count, ..State::default() };
        let mut by_kernel: BTreeMap<String, (usize, f64, f64, f64)> = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| format!("{} {}", plan.label, step.label).starts_with(only)) {
            let began = Instant::now();
            let alone = executor.prepare(&Plan { label: step.label.clone(), steps: vec![step.clone()] }).await?;
            let mut compile = began.elapsed().as_secs_f64();
            let (mut best, mut best_cpu) = (f64::MAX, f64::MAX);
            for i in 0..(if count == 1 { 12 } else { 3 }) {
                executor.write(model.control.state, 0, bytemuck::bytes_of(&state));
                executor.idle().await?;
                let (began, ran) = (Instant::now(), cpu_ms());
                executor.submit(&[&alone], &[])?;
                executor.idle().await?;
                let took = began.elapsed().as_secs_f64();
                if i == 0 {
                    compile += took;
                }
                best = best.min(took);
                best_cpu = best_cpu.min(cpu_ms() - ran);
            }
            let words = step.detail.split(" x[").next().unwrap_or_default();
            let row = by_kernel.entry(format!("{:<24} {words}", step.shader.id)).or_default();
            *row = (row.0 + 1, row.1 + best * 1e3, row.2 + best_cpu, row.3.max(compile * 1e3));
        }
        let (total, ran) = by_kernel.values().fold((0.0, 0.0), |sum, row| (sum.0 + row.1, sum.1 + row.2));
        let steps = plan.steps.len();
        println!(
            "\n{}: {count} tokens at {position}, {total:.1} ms, {ran:.1} ms of the CPU in {steps} steps",
            plan.label
        );
        for (name, (steps, ms, ran, compile)) in by_kernel {
            println!("{ms:9.2} ms {ran:9.2} ms of the CPU {steps:4} ×  {name}  (first {compile:.0} ms)");
        }
    }
    Ok(())
}

/// The least time of each kernel's steps in several rounds of each plan, on the processor.
async fn run_on_cpu(path: &str, position: u32, count: Option<usize>) -> minke::Result<()> {
    let executor = Cpu::new(threads(Arithmetic::Fast, count));
    let model = allocated(path, &executor, 8192).await?;
    for (plan, count) in [(&model.plans.decode, 1), (&model.plans.prefill, model.chunk as u32)] {
        let mut steps = Vec::new();
        for step in &plan.steps {
            steps.push(executor.prepare(&Plan { label: step.label.clone(), steps: vec![step.clone()] }).await?);
        }
        let rounds = if count == 1 { 30 } else { 8 };
        let mut least = vec![f64::MAX; steps.len()];
        let state = State { position, count, ..State::default() };
        for _ in 0..rounds {
            executor.write(model.control.state, 0, bytemuck::bytes_of(&state));
            for (step, least) in steps.iter().zip(&mut least) {
                let began = Instant::now();
                executor.submit(&[step], &[])?;
                executor.idle().await?;
                *least = least.min(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        let mut by_kernel: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for (step, ms) in plan.steps.iter().zip(&least) {
            let words = step.detail.split(" x[").next().unwrap_or_default();
            let row = by_kernel.entry(format!("{:<24} {words}", step.kernel)).or_default();
            *row = (row.0 + 1, row.1 + ms);
        }
        println!("\n{}: {count} tokens at {position}, {:.2} ms", plan.label, least.iter().sum::<f64>());
        for (name, (steps, ms)) in by_kernel {
            println!("{ms:9.3} ms {steps:4} ×  {name}");
        }
    }
    Ok(())
}

fn main() -> minke::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let position = args.iter().position(|a| a == "--position").map_or(128, |i| args[i + 1].parse().expect("a number"));
    let only = args.iter().position(|a| a == "--only").map_or("", |i| &args[i + 1]);
    let has = |name: &str| args.iter().any(|a| a == name);
    if has("--cpu") {
        let count = args.iter().position(|a| a == "--threads").map(|i| args[i + 1].parse().expect("a number"));
        return pollster::block_on(run_on_cpu(&args[0], position, count));
    }
    pollster::block_on(run(&args[0], position, only))
}
