//! Tests with the first 99.6 MB of the real DeepSeek-R1-Distill-Qwen-7B (`MINKE_R1_PART`): its config, its rows of the
//! head, and a layer of its shape. Missing data is random, in the formats and at the offsets that the header declares.
#![allow(missing_docs)]

mod common;

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;
use common::{block_on, data};
use half::f16;
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::{CpuMemory, State, interpret};
use minke::model::config::RopeScaling;
use minke::model::{Model, ModelConfig, ModelOptions};
use minke::plan::{BufferId, Executor};
use minke::weights::load::{fill, load};
use minke::weights::{ByteSource, Checkpoint, DiskFile, Dtype, TensorEntry, dequantize_rows};
use minke::{Cancel, Result};

/// A file whose end is missing.
struct Part {
    here: DiskFile,
    tensors: RefCell<Vec<TensorEntry>>,
}

#[async_trait(?Send)]
impl ByteSource for Part {
    fn name(&self) -> &str {
        self.here.name()
    }

    fn len(&self) -> u64 {
        8 << 30
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if range.end <= self.here.len() {
            return self.here.read(range).await;
        }
        let tensors = self.tensors.borrow();
        let of = tensors.iter().find(|t| t.range.start <= range.start && range.end <= t.range.end);
        let nothing = || vec![0; (range.end - range.start) as usize];
        Ok(of.map_or_else(nothing, |tensor| made_up(tensor, range.clone())))
    }
}

/// Whole blocks of a tensor: random codes with scales that give weights of about 1 / √k.
fn made_up(tensor: &TensorEntry, range: Range<u64>) -> Vec<u8> {
    let mut state = range.start;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let n = (range.end - range.start) as usize;
    let gain = 1.0 / (tensor.k() as f32).sqrt();
    let half = |value: f32| f16::from_f32(value).to_le_bytes();
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| next().to_le_bytes()[0]).take(n).collect();
    match tensor.dtype {
        Dtype::Q4K => bytes.chunks_exact_mut(144).for_each(|block| {
            let d = gain / (18.0 * 4.6);
            block[..2].copy_from_slice(&half(d));
            block[2..4].copy_from_slice(&half(7.5 * d));
        }),
        Dtype::Q6K => {
            bytes.chunks_exact_mut(210).for_each(|block| block[208..].copy_from_slice(&half(gain / (18.0 * 74.0))));
        }
        Dtype::F32 => bytes.chunks_exact_mut(4).for_each(|value| {
            let unit = next() as f32 / (1u32 << 31) as f32 - 0.5;
            let norm = tensor.name.ends_with("norm.weight");
            value.copy_from_slice(&(if norm { 1.0 + unit } else { 0.2 * unit }).to_le_bytes());
        }),
        other => panic!("{} is {}", tensor.name, other.name()),
    }
    bytes
}

/// Rows of the vocabulary that are kept; the part contains all of them for the head.
const ROWS: u64 = 8192;

#[test]
fn a_layer_and_the_head_of_a_real_model() {
    let Some(path) = data("MINKE_R1_PART", ".cache/r1-distill-qwen-7b-part0.gguf") else { return };
    let part = Rc::new(Part { here: DiskFile::open(path).expect("a file"), tensors: RefCell::default() });
    let mut checkpoint = block_on(Checkpoint::open_gguf(part.clone(), None, &|_| Ok(()))).expect("a header");
    *part.tensors.borrow_mut() = checkpoint.tensors.values().cloned().collect();
    let mut facts = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    assert_eq!((facts.architecture.as_str(), facts.tie_word_embeddings), ("qwen2", false));
    let sizes = [facts.hidden_size, facts.intermediate_size, facts.num_layers, facts.vocab_size];
    assert_eq!(sizes, [3584, 18_944, 28, 152_064]);
    let attention = [facts.num_heads, facts.num_kv_heads, facts.head_dim, facts.max_position_embeddings];
    assert_eq!(attention, [28, 4, 128, 131_072]);
    assert_eq!((facts.rope.theta, &facts.rope.scaling, facts.rope.interleaved), (1e4, &RopeScaling::None, false));
    assert_eq!((facts.bos_token_id, facts.eos_token_ids.as_slice()), (Some(151_646), &[151_643][..]));

    (facts.num_layers, facts.vocab_size) = (1, ROWS as usize);
    for name in ["token_embd.weight", "output.weight"] {
        let entry = checkpoint.tensors.get_mut(name).expect("it is declared");
        entry.range.end = entry.range.start + ROWS * entry.row_bytes().expect("whole bytes");
        entry.shape[0] = ROWS;
    }
    assert!(checkpoint.tensors["output.weight"].range.end <= part.here.len(), "the head's rows are real");
    let options = ModelOptions { context_length: Some(64), chunk: 1, ..ModelOptions::default() };
    let m = Model::new(&checkpoint, &facts, options).expect("a model");
    assert_eq!(m.quantization, "q4_k+q6_k");

    let state = State { count: 1, ..State::default() };
    let mut memory = CpuMemory::new(&m.buffers);
    m.constants.iter().for_each(|(buffer, bytes)| memory.write(*buffer, 0, bytes));
    block_on(fill(&checkpoint, &m.tasks, &mut |b, o, bytes: &[u8]| memory.write(b, o, bytes))).expect("weights");
    memory.write(m.control.state, 0, bytemuck::bytes_of(&state));
    memory.write(m.control.tokens, 0, &7u32.to_le_bytes());
    interpret(&m.plans.decode, &mut memory);

    let x = (0..).zip(m.buffers.iter()).find(|(_, spec)| spec.label == "x").map(|(id, _)| BufferId(id)).expect("x");
    let (x, logits) = block_on(async {
        let gpu = Gpu::open(DeviceOptions::default()).await.expect("a GPU or lavapipe");
        gpu.allocate(&m.buffers).await.expect("buffers");
        m.constants.iter().for_each(|(buffer, bytes)| gpu.write(*buffer, 0, bytes));
        load(&checkpoint, &m.tasks, &gpu, &Cancel::default(), &mut |_, _| {}).await.expect("weights");
        gpu.write(m.control.state, 0, bytemuck::bytes_of(&state));
        gpu.write(m.control.tokens, 0, &7u32.to_le_bytes());
        let prepared = gpu.prepare(&m.plans.decode).await.expect("pipelines");
        gpu.submit(&[&prepared], &[]).expect("a device");
        let read = async |buffer, n: usize| {
            let bytes = gpu.read(&[(buffer, 0..n as u64 * 4)]).await.expect("it can be read");
            bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)
        };
        (read(x, facts.hidden_size).await, read(m.control.logits.buffer, facts.vocab_size).await)
    });

    // Compare the whole model with the references.
    let want = &memory.floats(m.control.logits.buffer)[..facts.vocab_size];
    let worst = logits.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let size = want.iter().map(|v| v.abs()).fold(0.0, f32::max);
    assert!(worst <= 2e-3 && size > 0.3, "{worst} of {size}");

    // Compare the head with the stored rows in f64.
    let rows = |name: &str, rows| {
        let entry = checkpoint.tensor(name).expect("it is declared");
        let bytes = block_on(checkpoint.read_rows(entry, rows)).expect("rows");
        dequantize_rows(entry.dtype, entry.k() as usize, &bytes).expect("a known format")
    };
    let gain = rows("output_norm.weight", 0..1);
    let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + facts.rms_norm_eps).sqrt();
    let normed: Vec<f64> = x.iter().zip(&gain).map(|(&v, &g)| f64::from(v) * f64::from(g) * scale).collect();
    let head = rows("output.weight", 0..ROWS);
    for (row, (weights, &got)) in head.chunks(x.len()).zip(&logits).enumerate() {
        let want: f64 = weights.iter().zip(&normed).map(|(&w, n)| f64::from(w) * n).sum();
        assert!((f64::from(got) - want).abs() <= 1e-4 * want.abs().max(1.0), "row {row}: {got}, expected {want}");
    }
}
