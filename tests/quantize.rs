//! Weights made smaller while they load: on the GPU the bits of the CPU's, near the model's own logits, and the smaller
//! the less memory there is.
#![allow(missing_docs)]

mod common;

use std::path::PathBuf;
use std::rc::Rc;

use common::{all_logits, block_on, data, load};
use minke::Cancel;
use minke::engine::{LoadOptions, accept};
use minke::gpu::{Device, DeviceOptions, Executor};
use minke::kernels::CpuMemory;
use minke::model::{Model, ModelConfig, ModelOptions, Quantization};
use minke::weights::load::{fill, load as load_weights};
use minke::weights::{Checkpoint, DiskFolder};

fn golden(case: &str) -> Option<PathBuf> {
    data("MINKE_GOLDEN", "../shared/data/golden").map(|root| root.join(case))
}

/// Every buffer of weights, bit for bit, with tensors whole and in parts, stacked, interleaved and tied.
#[test]
fn the_gpu_makes_the_same_bits_as_the_cpu() {
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
                let device = Rc::new(Device::open(DeviceOptions::default()).await.expect("a device"));
                let executor = Executor::new(device, &model.buffers).await.expect("buffers");
                let (cancel, mut quiet) = (Cancel::default(), |_: u64, _: &str| {});
                load_weights(&checkpoint, &model.tasks, &executor, &cancel, &mut quiet).await.expect("weights");
                let weights = model.buffers.iter().zip(0..).filter(|(spec, _)| spec.role == minke::gpu::Role::Weights);
                for (spec, id) in weights {
                    let id = minke::gpu::BufferId(id);
                    let got = executor.read(id, 0..spec.bytes).await.expect("bytes");
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
        let engine =
            load(&folder, LoadOptions { quantization, weight_budget, ..LoadOptions::default() }).expect("it loads");
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
