//! Compares estimates from headers alone with what a load takes: the device's ledger, the bytes that are read, the
//! context that fits, and the reasons of a failure.
#![allow(missing_docs)]

mod common;

use std::cell::Cell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use async_trait::async_trait;
use common::odd::{self, Stored};
use common::{HOST, block_on, data, on_cpu, on_gpu};
use minke::cpu::{Answer, Command, Cpu, Workers};
use minke::engine::{Devices, Engine, Estimate, Fit, Limits, LoadOptions, Source, estimate};
use minke::gpu::{DeviceOptions, Gpu};
use minke::model::Quantization;
use minke::plan::{BufferId, BytesRef, Executor};
use minke::weights::{ByteSource, DiskFile, DiskFolder, Folder};
use minke::{Cancel, Error, Result};
use serde_json::json;

/// A folder that counts the bytes read from it.
#[derive(Clone)]
struct Counting {
    folder: Rc<dyn Folder>,
    read: Rc<Cell<u64>>,
}

struct CountingFile {
    file: Rc<dyn ByteSource>,
    read: Rc<Cell<u64>>,
}

#[async_trait(?Send)]
impl Folder for Counting {
    fn id(&self) -> &str {
        self.folder.id()
    }

    fn share(&self) -> Rc<dyn Folder> {
        Rc::new(self.clone())
    }

    async fn open(&self, name: &str) -> Result<Option<Rc<dyn ByteSource>>> {
        let file = self.folder.open(name).await?;
        Ok(file.map(|file| Rc::new(CountingFile { file, read: self.read.clone() }) as Rc<dyn ByteSource>))
    }
}

#[async_trait(?Send)]
impl ByteSource for CountingFile {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.file.read(range).await?;
        self.read.set(self.read.get() + bytes.len() as u64);
        Ok(bytes)
    }
}

/// The device's limits, as a page reports them.
fn limits() -> Limits {
    let gpu = block_on(Gpu::open(DeviceOptions::default())).expect("a GPU or lavapipe");
    Limits {
        max_binding: gpu.facts().max_storage_buffer_binding_size,
        uniform_alignment: gpu.facts().min_uniform_buffer_offset_alignment.into(),
    }
}

/// Estimates and loads a model; returns the estimate, the engine, and the bytes of weights that were read.
fn both(path: &Path, options: LoadOptions, limits: Limits) -> (Estimate, Engine, u64) {
    let folder = if path.is_dir() { path } else { path.parent().expect("a file has a folder") };
    let folder = Counting { folder: Rc::new(DiskFolder::new(folder)), read: Rc::default() };
    let file = (!path.is_dir()).then(|| {
        let file = Rc::new(DiskFile::open(path).expect("the file"));
        Rc::new(CountingFile { file, read: folder.read.clone() }) as Rc<dyn ByteSource>
    });
    let source = match file {
        None => Source::Folder(&folder, None),
        Some(file) => Source::Gguf(file, Some(&folder)),
    };
    block_on(async {
        let said = estimate(source.clone(), options, Devices { gpu: Some(limits), ..Devices::default() })
            .await
            .expect("an estimate");
        let checkpoint = source.open().await.expect("it opens");
        folder.read.set(0);
        let engine = Engine::load(&checkpoint, options, HOST, &Cancel::default(), &mut |_| {}).await.expect("it loads");
        (said, engine, folder.read.get())
    })
}

/// The deviation of a number from the expected one, in percent.
fn off(said: u64, is: u64) -> f64 {
    100.0 * (said as f64 - is as f64).abs() / is.max(1) as f64
}

/// One model, loaded as it would be by default and in 4 bits.
fn check(path: &Path, limits: Limits, worst: &mut f64) {
    for quantization in [None, Some(Quantization::Q4)] {
        let (said, engine, read) = both(path, LoadOptions { quantization, ..on_gpu() }, limits);
        let (held, name) = (engine.memory(), format!("{} {quantization:?}", path.display()));
        assert_eq!(said.fit, Fit::Yes, "{name}");
        assert_eq!(said.max_context_length, engine.info().context_length, "{name}: context");
        let kv = said.kv_bytes_per_token * said.max_context_length as u64;
        for (what, said, is) in [
            ("GPU bytes", said.gpu_bytes, held.total()),
            ("KV bytes", kv, held.kv),
            ("bytes read", said.download_bytes, read),
        ] {
            assert!(off(said, is) <= 5.0, "{name}: {said} {what} were estimated, there are {is}");
            *worst = worst.max(off(said, is));
        }
    }
}

/// The models of a folder and below.
fn models(root: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(root).expect("a readable folder").map(|e| e.expect("an entry").path());
    let entries: Vec<PathBuf> = entries.collect();
    if entries.iter().any(|path| path.ends_with("golden.json")) {
        let model = root.join("model.gguf");
        found.push(if model.exists() { model } else { root.to_path_buf() });
    }
    entries.iter().filter(|path| path.is_dir()).for_each(|path| models(path, found));
}

#[test]
fn every_golden_case_costs_what_was_estimated() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let (mut found, mut worst, limits) = (Vec::new(), 0.0, limits());
    models(&root, &mut found);
    assert!(found.len() >= 25, "{} cases", found.len());
    found.iter().for_each(|path| check(path, limits, &mut worst));
    println!("{} cases: estimates within {worst:.2} %", found.len());
}

#[test]
fn smollm2_costs_what_was_estimated() {
    let Some(path) = data("MINKE_REFERENCE_MODEL", ".cache/SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    let mut worst = 0.0;
    check(&path, limits(), &mut worst);
    println!("SmolLM2: estimates within {worst:.2} %");
}

#[test]
fn a_load_refuses_for_the_reason_that_was_estimated() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    for case in ["models/llama", "models/deepseek_v2", "models/gpt_oss_mxfp4"] {
        let folder = DiskFolder::new(root.join(case));
        let device = DeviceOptions { max_binding: Some(1024), ..DeviceOptions::default() };
        let options = LoadOptions { device, ..on_gpu() };
        let limits = Limits { max_binding: 1024, ..limits() };
        let (cancel, mut quiet) = (Cancel::default(), |_| {});
        let said = block_on(estimate(
            Source::Folder(&folder, None),
            options,
            Devices { gpu: Some(limits), ..Devices::default() },
        ))
        .expect("an estimate");
        let refused = block_on(Engine::load_folder(&folder, None, options, HOST, &cancel, &mut quiet));
        let refused = refused.expect_err("nothing fits 1 KiB");
        assert_eq!(said.fit, Fit::No, "{case}");
        assert_eq!((said.reasons[0].code, &said.reasons[0].message), (refused.code(), &refused.to_string()), "{case}");
        let options = LoadOptions { context_length: Some(1 << 30), ..on_gpu() };
        let said = block_on(estimate(Source::Folder(&folder, None), options, Devices::default()))
            .expect_err("no model is so long");
        let refused = block_on(Engine::load_folder(&folder, None, options, HOST, &cancel, &mut quiet));
        assert_eq!(said.to_string(), refused.expect_err("nor is it loaded").to_string(), "{case}");
    }
}

/// If memory runs out, weights become 8-bit first, then a long default context is shortened, then weights become 4-bit.
#[test]
fn a_long_context_is_shortened_before_weights_go_below_8_bits() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let config = json!({
        "model_type": "llama", "vocab_size": 512, "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "intermediate_size": 512, "max_position_embeddings": 65536, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    });
    let mut tensors =
        vec![("model.embed_tokens.weight".to_owned(), vec![512, 256]), ("model.norm.weight".to_owned(), vec![256])];
    for layer in 0..2 {
        let mut add =
            |name: &str, shape: &[usize]| tensors.push((format!("model.layers.{layer}.{name}.weight"), shape.to_vec()));
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            add(norm, &[256]);
        }
        for name in ["q", "k", "v", "o"] {
            add(&format!("self_attn.{name}_proj"), &[256, 256]);
        }
        add("mlp.gate_proj", &[512, 256]);
        add("mlp.up_proj", &[512, 256]);
        add("mlp.down_proj", &[256, 512]);
    }
    let tokenizer = std::fs::read(root.join("models/llama/tokenizer.json")).expect("a tokenizer");
    let folder = odd::folder(&config, &tensors, &|_| Stored::Bf16).with("tokenizer.json", tokenizer);
    let given = |max_memory| {
        let device = DeviceOptions { max_memory, ..DeviceOptions::default() };
        let options = LoadOptions { device, ..on_gpu() };
        let (cancel, mut quiet) = (Cancel::default(), |_| {});
        block_on(Engine::load_folder(&folder, None, options, HOST, &cancel, &mut quiet))
            .map(|e| (e.info().quantization.clone(), e.info().context_length, e.memory()))
    };
    let (whole, context, held) = given(None).expect("it loads");
    assert_eq!((whole.as_str(), context), ("bf16", 65536));
    assert!(held.kv > 100 << 20, "{} bytes of cache", held.kv);
    let (eight, context, _) = given(Some(held.total() / 3)).expect("it loads");
    assert_eq!((eight.as_str(), (8192..65536).contains(&context)), ("q8", true), "{context} tokens");
    let (four, context, _) = given(Some(held.total() - held.kv / 16 * 15)).expect("it loads");
    assert!(four.contains("q4") && (1024..8192).contains(&context), "{four}, {context} tokens");
    assert!(matches!(given(Some(1 << 20)), Err(Error::Memory { .. })));
}

/// Workers that hold too little: several hold more than one, and what none can hold is refused before a weight is read.
#[test]
fn models_that_workers_cannot_hold_are_refused_before_the_download() {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    let folder = DiskFolder::new(root.join("models/llama"));
    let fits = |threads, memory| {
        let devices = Devices { gpu: None, threads, memory };
        block_on(estimate(Source::Folder(&folder, None), on_cpu(), devices)).expect("an estimate")
    };
    let whole = fits(1, u64::MAX).gpu_bytes;
    // A load needs a little more than what it leaves.
    let enough = 2 * whole;
    assert_eq!((fits(1, enough).fit, fits(1, whole - 1).fit, fits(2, whole - 1).fit), (Fit::Yes, Fit::No, Fit::Yes));
    let refused = fits(2, whole / 3);
    assert_eq!((refused.fit, refused.reasons[0].code), (Fit::No, "memory"));

    /// Workers that are told nothing: the load ends before.
    #[derive(Debug)]
    struct Small(u64);
    impl Workers for Small {
        fn count(&self) -> usize {
            2
        }
        fn memory(&self) -> u64 {
            self.0
        }
        fn tell(&self, _: usize, command: &[u8]) {
            assert!(matches!(Command::from_bytes(command), Command::Release(_)), "only what was refused is released");
        }
        fn write(&self, _: usize, _: BufferId, _: u64, _: BytesRef<'_>) {
            panic!("nothing is written");
        }
        fn ask(&self, _: usize, _: &[u8]) -> Answer {
            panic!("nothing is asked");
        }
        fn lost(&self) -> std::pin::Pin<Box<dyn Future<Output = minke::Error>>> {
            Box::pin(std::future::pending())
        }
        fn stop(&self) {}
    }
    let load = async {
        let checkpoint = Source::Folder(&folder, None).open().await?;
        let executor = Rc::new(Cpu::new(Rc::new(Small(whole / 3))));
        Engine::load_on(executor, &checkpoint, on_cpu(), HOST, &Cancel::default(), &mut |_| {}).await
    };
    assert_eq!(block_on(load).map(|_| ()).expect_err("it does not fit").code(), "memory");
}
