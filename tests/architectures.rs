//! Counts what published models cost, from their shapes alone, and checks targets: `docs/evidence/architectures.md`, which
//! `MINKE_RECORD=1` rewrites.
#![allow(missing_docs)]

mod shapes;

use minke::engine::accept;
use minke::kernels::KvFormat;
use minke::model::{ARCHITECTURES, Model, ModelConfig, ModelOptions, Quantization};
use minke::plan::Role;
use minke::weights::Checkpoint;
use pollster::block_on;
use shapes::{Shape, published};

/// The model as laid out for a device with this binding limit.
fn declare(shape: &Shape, quantization: Quantization, max_binding: u64, context: usize) -> Model {
    let checkpoint = block_on(Checkpoint::open_folder(&shape.folder(), &accept)).expect("it opens");
    let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    let kv_format = Some(KvFormat::F16);
    let options =
        ModelOptions { quantization, max_binding, context_length: Some(context), kv_format, ..ModelOptions::default() };
    Model::new(&checkpoint, &config, options).unwrap_or_else(|e| panic!("{}: {e}", shape.name))
}

/// Dispatches per layer in decode.
fn dispatches(model: &Model, layer: usize) -> usize {
    let prefix = format!("l{layer}.");
    model.plans.decode.steps.iter().filter(|step| step.label.starts_with(&prefix)).count()
}

fn kv_bytes(model: &Model) -> u64 {
    model.buffers.iter().filter(|b| b.role == Role::Kv).map(|b| b.bytes).sum()
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e9)
}

/// Large enough that no tensor is split.
const UNBOUNDED: u64 = 1 << 40;

const HEAD: &str = "# What published models cost

From their authors' shapes, by the plans that the library records for them (`cargo test --test architectures`; with
`MINKE_RECORD=1` it writes this file). Dispatches are those of one layer for one decoded token, where no tensor is split; in
brackets, with bindings of 128 MiB and weights of 4 bits (for gpt-oss as published). GB are bytes of weights on the GPU: as
published, in 8 and in 4 bits. KV bytes are what a further token takes in a cache of 16 bits, far into the context. Files: what
the architecture is proved from (`tests/golden.rs`, `tests/gguf_twins.rs`).

| model | architecture | files | layout as published | GB | GB, q8 | GB, q4 | dense layer | mixture layer | KV bytes per token |
|---|---|---|---|---|---|---|---|---|---|
";

/// The model's row of the table; panics if a target is missed.
fn line(shape: &Shape) -> String {
    let twins = include_str!("gguf_twins.json");
    let name = shape.name;
    let whole = declare(shape, Quantization::None, UNBOUNDED, 4096);
    let [q8, q4] = [Quantization::Q8, Quantization::Q4].map(|q| declare(shape, q, UNBOUNDED, 4096));
    let split = declare(shape, Quantization::Q4, 128 << 20, 4096);
    let mixtures = whole.config.moe.as_ref().map_or(Vec::new(), |moe| moe.layers.clone());
    let mixture = |layer: &usize| mixtures.get(*layer) == Some(&true);
    let layers = 0..whole.config.num_layers;
    let column = |kind: bool, most: usize| {
        let of_kind: Vec<usize> = layers.clone().filter(|l| mixture(l) == kind).collect();
        let Some(most_costly) = of_kind.iter().map(|&l| dispatches(&whole, l)).max() else {
            return "–".to_owned();
        };
        for model in [&whole, &q8, &q4] {
            for &layer in &of_kind {
                let count = dispatches(model, layer);
                assert!(count <= most, "{name}: layer {layer} is {count} dispatches\n{}", model.plans.decode);
            }
        }
        let with_parts = of_kind.iter().map(|&l| dispatches(&split, l)).max().expect("there are some");
        if with_parts == most_costly { most_costly.to_string() } else { format!("{most_costly} ({with_parts})") }
    };
    // A Llama layer takes seven. Queries with a latent take one more; Gemma's two blocks end in norms.
    let most = match shape.architecture() {
        "gemma3_text" => 9,
        "deepseek_v2" | "deepseek_v3" => 8,
        _ => 7,
    };
    let dense = column(false, most);
    // A mixture has two products for one, the router's product before them and its choice, without which each workgroup would choose.
    let mixed = column(true, most + 2);
    let far = whole.config.max_position_embeddings.min(1 << 17);
    let [more, less] = [far, far - 1024].map(|n| kv_bytes(&declare(shape, Quantization::Q4, UNBOUNDED, n)));
    let kv = (more - less) / 1024;
    if name == "DeepSeek-V2-Lite" {
        assert_eq!(kv, 27 * (512 + 64) * 2, "a latent and the turning part of a key");
    }
    let weights = [&whole, &q8, &q4].map(|model| gigabytes(model.weight_bytes()));
    let architecture = shape.architecture();
    let layout = &whole.quantization;
    let [all, eight, four] = weights;
    let files =
        if twins.contains(&format!("\"{architecture}.f32.gguf\"")) { "safetensors, GGUF" } else { "safetensors" };
    format!("| {name} | {architecture} | {files} | {layout} | {all} | {eight} | {four} | {dense} | {mixed} | {kv} |\n")
}

#[test]
fn what_published_models_cost() {
    let shapes = published();
    let lines = std::thread::scope(|scope| {
        let threads: Vec<_> = shapes.iter().map(|shape| scope.spawn(|| line(shape))).collect();
        threads.into_iter().map(|thread| thread.join().expect("within the targets")).collect::<String>()
    });
    let table = HEAD.to_owned() + &lines;
    let seen: Vec<_> = shapes.iter().map(Shape::architecture).collect();
    let unseen: Vec<_> = ARCHITECTURES.iter().filter(|a| !seen.contains(&a.name())).collect();
    assert!(unseen.is_empty(), "no shape for {:?}", unseen.iter().map(|a| a.name()).collect::<Vec<_>>());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/evidence/architectures.md");
    if std::env::var_os("MINKE_RECORD").is_some() {
        std::fs::write(path, &table).expect("docs/ can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, table, "docs/evidence/architectures.md is not what the plans say");
}

/// Attention for one token far into the context reads keys and values once for all heads that share them, with
/// at least four workgroups per head; and how much that adds to reading the weights.
#[test]
fn long_context_attention_reads_keys_once() {
    let shape = published().into_iter().find(|shape| shape.name == "DeepSeek-R1-Distill-Qwen-1.5B").expect("a shape");
    let checkpoint = block_on(Checkpoint::open_folder(&shape.folder(), &accept)).expect("it opens");
    let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    for (format, row) in [(KvFormat::F16, 256), (KvFormat::Q8, 136)] {
        let options = ModelOptions {
            quantization: Quantization::Q4,
            kv_format: Some(format),
            context_length: Some(config.max_position_embeddings),
            ..ModelOptions::default()
        };
        let model = Model::new(&checkpoint, &config, options).expect("its own context");
        assert_eq!((model.context_length, model.kv_format), (131_072, format));
        let token = (config.num_layers * config.num_kv_heads * 2 * row) as u64;
        assert_eq!(kv_bytes(&model), 131_072 * token, "{format:?}");
        let attend: Vec<_> = model.plans.decode.steps.iter().filter(|s| s.label.ends_with(".attend")).collect();
        assert_eq!(attend.len(), config.num_layers);
        for step in attend {
            let [kv_heads, splits, tiles] = step.grid.map(|n| n as usize);
            assert_eq!((kv_heads, tiles), (config.num_kv_heads, 1), "all heads of a key are asked at once: {step}");
            assert!(kv_heads * splits >= 4 * config.num_heads, "{step}");
        }
        // Only one row of the embedding is read.
        let embedding = (config.vocab_size * config.hidden_size) as u64 * 17 / 16;
        let read = |position: u64| (model.weight_bytes() - embedding + position * token) as f64;
        let growth = read(4096) / read(128);
        println!("{format:?}: {growth:.3} of the bytes at 4,096 tokens, against 128");
        assert!(growth <= 1.5, "{growth}");
    }
}

/// Without a `kvCache` option, the cache is f16 if that leaves an ample context, else q8.
#[test]
fn the_default_cache_is_q8_if_f16_leaves_a_short_context() {
    let model = |name: &str, context_length: Option<usize>, kv_budget: u64| {
        let shape = published().into_iter().find(|shape| shape.name == name).expect("a shape");
        let checkpoint = block_on(Checkpoint::open_folder(&shape.folder(), &accept)).expect("it opens");
        let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
        let quantization = Quantization::Q4;
        let options = ModelOptions { quantization, context_length, kv_budget, ..ModelOptions::default() };
        let model = Model::new(&checkpoint, &config, options).expect("it fits");
        (model.kv_format, model.context_length)
    };
    let (qwen, llama, gib) = ("DeepSeek-R1-Distill-Qwen-1.5B", "DeepSeek-R1-Distill-Llama-8B", 1 << 30);
    assert_eq!(model(qwen, None, gib), (KvFormat::F16, gib as usize / (28 * 1024)));
    assert_eq!(model(qwen, Some(131_072), gib), (KvFormat::Q8, 131_072));
    assert_eq!(model(qwen, Some(20_000), gib), (KvFormat::F16, 20_000));
    assert_eq!(model(llama, None, gib), (KvFormat::F16, 8192));
    assert_eq!(model(llama, None, gib - 1), (KvFormat::Q8, (gib as usize - 1) / (32 * 16 * 136)));
    assert_eq!(model(llama, Some(100), 1), (KvFormat::Q8, 100), "what was asked for is tried");
}
