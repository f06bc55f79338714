//! Builds models of arbitrary sizes, and compares their recorded plans on the GPU with the same plans through the
//! kernels' references.

use minke::Cancel;
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::{CpuMemory, State, interpret};
use minke::model::{Model, ModelConfig, ModelOptions};
use minke::plan::{BufferId, Executor};
use minke::weights::load::{fill, load};
use minke::weights::{Checkpoint, MemoryFolder};
use serde_json::{Value, json};

use super::block_on;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    F32,
    Bf16,
    /// FP8 with bf16 scale factors of 128-by-128 blocks in a second tensor.
    Fp8,
    /// Pairs of 4-bit floats, `[experts, rows, groups, 16]`, with exponents in a second tensor.
    Mxfp4,
}

pub struct Random(pub u64);

impl Random {
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0
    }

    fn byte(&mut self) -> u8 {
        ((self.unit() + 1.0) * 127.5) as u8
    }
}

/// A safetensors file of such tensors with random values; norms are near one.
pub fn safetensors(tensors: &[(String, Vec<usize>)], stored: &dyn Fn(&str) -> Stored, random: &mut Random) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let k = *shape.last().expect("a dimension");
        let gain = 1.0 / (k as f32).sqrt();
        let mut put = |name: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>| {
            let offsets = [data.len(), data.len() + bytes.len()];
            header.insert(name.into(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
            data.extend(bytes);
        };
        let n = shape.iter().product::<usize>();
        let mut values = |n: usize| -> Vec<f32> {
            let value = |unit: f32| match (shape.len(), name.contains("norm")) {
                (1, true) => 1.0 + 0.2 * unit,
                (1, false) => 0.3 * unit,
                _ => 2.0 * unit * gain,
            };
            (0..n).map(|_| value(random.unit())).collect()
        };
        let bf16 = |values: Vec<f32>| values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
        match stored(name) {
            Stored::F32 => put(name, "F32", shape, values(n).iter().flat_map(|v| v.to_le_bytes()).collect()),
            Stored::Bf16 => put(name, "BF16", shape, bf16(values(n))),
            Stored::Fp8 => {
                let blocks = [shape[0].div_ceil(128), shape[1].div_ceil(128)];
                let factors = (0..blocks[0] * blocks[1]).map(|_| (1.5 + random.unit()) * gain).collect();
                // Magnitudes are below two, with either sign.
                put(name, "F8_E4M3", shape, (0..n).map(|_| random.byte() & 0xbf).collect());
                put(&format!("{name}_scale_inv"), "BF16", &blocks, bf16(factors));
            }
            Stored::Mxfp4 => {
                let [.., groups, _] = shape[..] else { panic!("{name}: {shape:?}") };
                let exponent = 126 - (16.0 * groups as f32).sqrt().log2() as u8;
                put(name, "U8", shape, (0..n).map(|_| random.byte()).collect());
                let exponents = (0..n / 16).map(|_| exponent + (random.byte() & 1)).collect();
                put(&name.replace("_blocks", "_scales"), "U8", &shape[..3], exponents);
            }
        }
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// A folder with a config and such tensors.
pub fn folder(config: &Value, tensors: &[(String, Vec<usize>)], stored: &dyn Fn(&str) -> Stored) -> MemoryFolder {
    let file = safetensors(tensors, stored, &mut Random(config["hidden_size"].as_u64().unwrap_or(1)));
    MemoryFolder::new("odd").with("config.json", config.to_string().into_bytes()).with("model.safetensors", file)
}

/// Compares weights bit for bit, and logits of the last prompt token and of two decoded tokens, between the GPU and the
/// references.
pub fn compare(config: &Value, folder: &MemoryFolder, options: ModelOptions, tolerance: f32) {
    compare_at(config, folder, options, tolerance, 0);
}

/// As `compare`, `position` tokens into the context, with caches full of random values below 2. Far into the context
/// the prompt is one token: lavapipe ends the loops of a thread after 65,535 iterations in total, and prefill attention
/// iterates over all keys in one loop.
pub fn compare_at(config: &Value, folder: &MemoryFolder, options: ModelOptions, tolerance: f32, position: usize) {
    let checkpoint = block_on(Checkpoint::open_folder(folder, &|_| Ok(()))).unwrap_or_else(|e| panic!("{config}: {e}"));
    let facts = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    let m = Model::new(&checkpoint, &facts, options).unwrap_or_else(|e| panic!("{config}: {e}"));
    let vocabulary = facts.vocab_size;
    let far = position > 30_000;
    let tokens = if far { 1 } else { 19 };
    let prompt: Vec<u32> = (0..tokens.min(m.chunk as u32)).map(|i| (i * 31 + 7) % vocabulary as u32).collect();
    let state = State { position: position as u32, count: prompt.len() as u32, ..State::default() };

    let mut memory = CpuMemory::new(&m.buffers);
    m.constants.iter().for_each(|(buffer, bytes)| memory.write(*buffer, 0, bytes));
    block_on(fill(&checkpoint, &m.tasks, &mut |b, o, bytes: &[u8]| memory.write(b, o, bytes))).expect("weights");
    memory.write(m.control.state, 0, bytemuck::bytes_of(&state));
    memory.write(m.control.tokens, 0, bytemuck::cast_slice(&prompt));
    let mut random = Random(position as u64);
    // For f16 or for codes with f16 scales: every second byte lacks the bit that makes an f16 of 2 or more.
    let mut full =
        |bytes: u64| -> Vec<u8> { (0..bytes).map(|i| random.byte() & if i % 2 == 0 { 0xff } else { 0xbf }).collect() };
    let caches = m.buffers.iter().zip(0..).filter(|(spec, _)| position > 0 && spec.role == minke::plan::Role::Kv);
    let caches: Vec<_> = caches.map(|(spec, id)| (BufferId(id), full(spec.bytes))).collect();
    caches.iter().for_each(|(id, bytes)| memory.write(*id, 0, bytes));
    block_on(async {
        let gpu = Gpu::open(DeviceOptions::default()).await.expect("a GPU or lavapipe");
        gpu.allocate(&m.buffers).await.expect("buffers");
        m.constants.iter().for_each(|(buffer, bytes)| gpu.write(*buffer, 0, bytes));
        load(&checkpoint, &m.tasks, &gpu, &Cancel::default(), &mut |_, _| {}).await.expect("weights");
        caches.iter().for_each(|(id, bytes)| gpu.write(*id, 0, bytes));
        gpu.write(m.control.state, 0, bytemuck::bytes_of(&state));
        gpu.write(m.control.tokens, 0, bytemuck::cast_slice(&prompt));
        for (spec, id) in m.buffers.iter().zip(0..).filter(|(spec, _)| spec.role == minke::plan::Role::Weights) {
            let got = gpu.read(&[(BufferId(id), 0..spec.bytes)]).await.expect("bytes");
            assert!(got == memory.bytes(BufferId(id)), "{config}: {} differs", spec.label);
        }
        let p = &m.plans;
        let first = if far { vec![&p.decode] } else { vec![&p.prefill, &p.head, &p.sample] };
        for (step, plans) in [first, vec![&p.decode], vec![&p.decode]].iter().enumerate() {
            for plan in plans {
                interpret(plan, &mut memory);
                let prepared = gpu.prepare(plan).await.unwrap_or_else(|e| panic!("{config}: {e}"));
                gpu.submit(&[&prepared], &[]).expect("a device");
            }
            let bytes = gpu.read(&[(m.control.logits.buffer, 0..vocabulary as u64 * 4)]).await.expect("logits");
            let got: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
            let want = &memory.floats(m.control.logits.buffer)[..vocabulary];
            let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let size = want.iter().map(|v| v.abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance && size > 0.3, "{config} step {step}: {worst} of {size}");
        }
    });
}
