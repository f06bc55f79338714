//! Tests quantisation at load: bit-identical on GPU and CPU, logits close to the model's own, and smaller formats
//! with less memory.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::{HOST, all_logits, block_on, data, load, on_cpu, on_gpu};
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions, accept};
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::CpuMemory;
use minke::model::{Model, ModelConfig, ModelOptions, Quantization};
use minke::plan::Executor;
use minke::weights::load::{BLOCK, fill, load as load_weights};
use minke::weights::{Checkpoint, DiskFolder, MemoryFolder};
use minke::{Cancel, Error, Result};

fn golden(case: &str) -> Option<PathBuf> {
    data("MINKE_GOLDEN", ".cache/golden").map(|root| root.join(case))
}

/// All weight buffers are bit-identical, with tensors whole and in parts, concatenated, interleaved and tied.
#[test]
fn gpu_and_cpu_quantise_bit_identically() {
    for case in ["models/llama", "models/llama_v5cfg", "models/qwen2"] {
        let Some(folder) = golden(case) else { return };
        let checkpoint = block_on(Checkpoint::open_folder(&DiskFolder::new(&folder), &accept)).expect("it opens");
        let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
        for (quantization, max_binding) in
            [(Quantization::Q8, 128 << 20), (Quantization::Q4, 128 << 20), (Quantization::Q4, 8 << 10)]
        {
            let options =
                ModelOptions { quantization, max_binding, context_length: Some(32), ..ModelOptions::default() };
            let model = Model::new(&checkpoint, &config, options).expect("a model");
            let mut memory = CpuMemory::new(&model.buffers);
            let mut write = |buffer, offset, bytes: &[u8]| memory.write(buffer, offset, bytes);
            block_on(fill(&checkpoint, &model.tasks, &mut write)).expect("weights");
            block_on(async {
                let executor = Gpu::open(DeviceOptions::default()).await.expect("a device");
                executor.allocate(&model.buffers).await.expect("buffers");
                let (cancel, mut quiet) = (Cancel::default(), |_: u64, _: &str| {});
                load_weights(&checkpoint, &model.tasks, &executor, &cancel, &mut quiet).await.expect("weights");
                let weights = model.buffers.iter().zip(0..).filter(|(spec, _)| spec.role == minke::plan::Role::Weights);
                for (spec, id) in weights {
                    let id = minke::plan::BufferId(id);
                    let got = executor.read(&[(id, 0..spec.bytes)]).await.expect("bytes");
                    assert!(got == memory.bytes(id), "{case} {quantization:?}: {} differs", spec.label);
                }
            });
        }
    }
}

#[test]
fn logits_stay_near_and_auto_takes_what_fits() {
    let Some(folder) = golden("models/llama") else { return };
    let ids: Vec<u32> = (0..40).map(|i| i * 37 % 480).collect();
    let with = |quantization, weight_budget| {
        let engine = load(&folder, LoadOptions { quantization, weight_budget, ..on_gpu() }).expect("it loads");
        (engine.info().quantization.clone(), all_logits(&engine, &ids), engine.memory().weights)
    };
    let (name, exact, whole) = with(Some(Quantization::None), None);
    assert_eq!(name, "bf16");
    let off = |rows: &[Vec<f32>]| {
        let squares = rows.iter().flatten().zip(exact.iter().flatten()).map(|(a, b)| f64::from(a - b).powi(2));
        let all: f64 = exact.iter().flatten().map(|v| f64::from(*v).powi(2)).sum();
        (squares.sum::<f64>() / all).sqrt()
    };
    let (name, q8, eight) = with(Some(Quantization::Q8), None);
    let (name4, q4, four) = with(Some(Quantization::Q4), None);
    assert_eq!((name.as_str(), name4.as_str()), ("q8", "q4+q8"));
    println!(
        "relative error of the logits: q8 {:.4}, q4 {:.4}; weights {whole}, {eight}, {four} bytes",
        off(&q8),
        off(&q4)
    );
    assert!(off(&q8) < 0.06 && off(&q4) < 0.6 && off(&q4) > off(&q8));
    assert!(four < eight && eight < whole);

    assert_eq!(with(None, None).0, "bf16", "a small model stays as it was published");
    assert_eq!(with(None, Some(whole - 1)).0, "q8");
    assert_eq!(with(None, Some(1)).0, "q4+q8", "the smallest there is");
    let f32_mode = LoadOptions { f32: true, weight_budget: Some(1), ..LoadOptions::default() };
    assert_eq!(load(&folder, f32_mode).expect("it loads").info().quantization, "bf16");
}

fn as_(quantization: Option<Quantization>) -> LoadOptions {
    LoadOptions { quantization, ..LoadOptions::default() }
}

fn greedy(engine: &Engine) -> Result<Vec<u32>> {
    let options =
        GenerateOptions { temperature: Some(0.0), max_output_tokens: Some(8.0), ..GenerateOptions::default() };
    let input = Input::Ids(vec![1, 20, 300, 45, 7, 99]);
    block_on(engine.generate(input, &options, &Cancel::default(), &mut |_| {})).map(|r| r.ids)
}

#[test]
fn refused_memory_steps_down_and_the_next_load_is_as_good_as_the_first() {
    let Some(folder) = golden("models/llama") else { return };
    let on = |quantization| LoadOptions { quantization, ..on_gpu() };
    let with = |quantization| load(&folder, on(quantization)).expect("it loads");
    let (exact, eight) = (with(Some(Quantization::None)).memory(), with(Some(Quantization::Q8)).memory());
    let given = |quantization, bytes| {
        let device = DeviceOptions { max_memory: Some(bytes), ..DeviceOptions::default() };
        load(&folder, LoadOptions { device, ..on(quantization) })
    };
    // A load needs a little more memory than it leaves in use: input buffers for rearranging weights, at most a block.
    assert_eq!(given(None, exact.total() + BLOCK).expect("it loads").info().quantization, "bf16");
    assert_eq!(exact.scratch, eight.scratch, "what only the load needed is given back");
    // Too little memory for the unquantised weights, by more than a load needs in addition.
    let room = exact.total() - (exact.weights - eight.weights) / 2;
    let stepped = given(None, room).expect("it loads");
    assert!(stepped.info().quantization.starts_with('q'), "{}", stepped.info().quantization);
    assert_eq!(greedy(&stepped).expect("a generation").len(), 8);
    for quantization in [None, Some(Quantization::None), Some(Quantization::Q4)] {
        match given(quantization, 100_000) {
            Err(Error::Memory { bytes, allocated: 0, .. }) => assert!(bytes > 100_000),
            other => panic!("{quantization:?}: {other:?}"),
        }
    }
    assert_eq!(greedy(&with(Some(Quantization::Q8))).expect("a good model loads next").len(), 8);
}

#[test]
fn what_a_gguf_has_quantised_stays_as_it_is() {
    for name in ["llama", "qwen2", "qwen2_tied"] {
        let Some(file) = golden(&format!("gguf/{name}/model.gguf")) else { return };
        let layouts = |quantization| {
            let engine = load(&file, as_(Some(quantization))).expect("it loads");
            assert_eq!(greedy(&engine).expect("a generation").len(), 8);
            engine.info().quantization.split('+').map(str::to_owned).collect::<BTreeSet<String>>()
        };
        let (published, q8) = (layouts(Quantization::None), layouts(Quantization::Q8));
        println!("{name}: {published:?} becomes {q8:?}");
        let (float, mut want): (BTreeSet<String>, BTreeSet<String>) =
            published.into_iter().partition(|layout| matches!(layout.as_str(), "f32" | "f16" | "bf16"));
        want.extend((!float.is_empty()).then(|| "q8".to_owned()));
        assert_eq!(q8, want, "{name}");
    }
}

#[test]
fn weights_that_are_not_finite_are_an_error_and_never_text() {
    let Some(folder) = golden("models/llama") else { return };
    let checkpoint = block_on(Checkpoint::open_folder(&DiskFolder::new(&folder), &accept)).expect("it opens");
    let down = checkpoint.tensor("model.layers.1.mlp.down_proj.weight").expect("a matrix").clone();
    let shard = checkpoint.shards[down.shard].name().to_owned();
    // NaN, -Inf, and the largest bf16: finite, but beyond any f16 scale.
    for (quantization, bad) in [(Quantization::Q8, 0x7fc0u16), (Quantization::Q4, 0xff80), (Quantization::Q4, 0x7f7f)] {
        let mut copy = MemoryFolder::new("copy");
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let mut bytes = std::fs::read(&path).expect("a file");
            if name == shard {
                bytes[down.range.start as usize + 10..][..2].copy_from_slice(&bad.to_le_bytes());
            }
            copy = copy.with(&name, bytes);
        }
        for device in [on_cpu(), on_gpu()] {
            let (options, cancel) = (LoadOptions { quantization: Some(quantization), ..device }, Cancel::default());
            let load = block_on(Engine::load_folder(&copy, None, options, HOST, &cancel, &mut |_| {}));
            let result = greedy(&load.expect("it loads"));
            let on = options.run_on;
            assert!(matches!(result, Err(Error::NonFinite { .. })), "{on:?} {quantization:?} {bad:04x}: {result:?}");
        }
    }
}
