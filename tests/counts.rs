//! Counts what a decoded token of published models reads and dispatches, from their plans, and what the executor does
//! for a token of every architecture: `docs/evidence/counts.md`, which `MINKE_RECORD=1` rewrites.
#![allow(missing_docs)]

mod common;
mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use common::{block_on, counts_since, data, load, on_gpu};
use minke::Cancel;
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions, accept};
use minke::kernels::{KERNELS, KvFormat, TOKEN_TILE};
use minke::model::{ARCHITECTURES, Model, ModelConfig, ModelOptions, Quantization, suited_chunk};
use minke::plan::Counts;
use minke::plan::{BufferId, Role, Step};
use minke::weights::Checkpoint;
use shapes::{Shape, published};

/// The context length of declared caches: the minimum that models must support.
const CONTEXT: usize = 4096;
/// Large enough that no tensor is split.
const UNBOUNDED: u64 = 1 << 40;
/// WebGPU's alignment of uniform buffer offsets.
const UNIFORM: u64 = 256;

/// The model in 4 bits, or as stored if that is smaller.
fn declare(shape: &Shape) -> Model {
    let checkpoint = block_on(Checkpoint::open_folder(&shape.folder(), &accept)).expect("it opens");
    let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    let options = ModelOptions {
        quantization: Quantization::Q4,
        max_binding: UNBOUNDED,
        context_length: Some(CONTEXT),
        kv_format: Some(KvFormat::F16),
        chunk: suited_chunk(&config, false),
        ..ModelOptions::default()
    };
    Model::new(&checkpoint, &config, options).unwrap_or_else(|e| panic!("{}: {e}", shape.name))
}

/// A value of a step's parameters.
fn param(step: &Step, name: &str) -> u64 {
    let kernel = KERNELS.iter().find(|k| k.name == step.kernel).expect("a step has a kernel");
    let at = kernel.params.iter().position(|p| *p == name);
    let at = at.unwrap_or_else(|| panic!("{}: {} has no parameter {name}", step.label, step.kernel));
    u64::from(step.params[at])
}

/// The fraction of a weight buffer that the step reads, as numerator and denominator.
fn share(step: &Step, slot: u32, bytes: u64) -> (u64, u64) {
    let planes = slot == 2 || slot == 3;
    match step.kernel {
        "embed" if planes => (1, param(step, "row_end") - param(step, "row_start")),
        "expert_up" if planes => (u64::from(step.grid[2]), param(step, "slots")),
        "expert_up" if slot == 7 => (u64::from(step.grid[2]) * param(step, "rows") * 4, bytes),
        "expert_down" if planes => (param(step, "count"), param(step, "slots")),
        "expert_down" if slot == 7 => (param(step, "count") * param(step, "rows") * 4, bytes),
        "latent_query" if planes => (param(step, "nope"), param(step, "head_rows")),
        "latent_value" if planes => (param(step, "value_dim"), param(step, "head_rows")),
        _ => (1, 1),
    }
}

/// Bytes that one decoded token reads.
#[derive(Default)]
struct Reads {
    /// Bytes of weights; a buffer that is read twice counts twice.
    weights: u64,
    /// Bytes of active weights, each counted once.
    active: u64,
    /// Bytes of experts' weights that are read, and bytes of all experts.
    experts: u64,
    all_experts: u64,
    /// Bytes of the KV cache, for each context length.
    kv: BTreeMap<usize, u64>,
    /// How often each byte of the KV cache is read at most: more than once if more query heads share it than a
    /// workgroup handles.
    kv_asked: u64,
}

fn reads(model: &Model) -> Reads {
    let mut reads = Reads::default();
    let mut once: BTreeMap<BufferId, u64> = BTreeMap::new();
    for step in &model.plans.decode.steps {
        for binding in &step.bindings {
            let spec = model.buffers.get(binding.buffer);
            // One or two rows of a RoPE table are read.
            if spec.role != Role::Weights || spec.label.ends_with("rope table") {
                continue;
            }
            let (part, whole) = share(step, binding.slot, spec.bytes);
            let read = spec.bytes * part / whole;
            reads.weights += read;
            *once.entry(binding.buffer).or_default() += read;
            if step.kernel.starts_with("expert") && (binding.slot == 2 || binding.slot == 3) {
                reads.experts += read;
                reads.all_experts += spec.bytes;
            }
        }
        if step.kernel == "attention" {
            let [window, chunk] = ["window", "chunk"].map(|name| param(step, name));
            for n in [128, CONTEXT] {
                let seen = match (window, chunk) {
                    (0, 0) => n as u64,
                    (window, 0) => window.min(n as u64),
                    (_, chunk) => (n as u64 - 1) % chunk + 1,
                };
                let caches: BTreeSet<BufferId> = [step.buffer(3), step.buffer(4)].into();
                let token = |id: &BufferId| model.buffers.get(*id).bytes / param(step, "capacity");
                *reads.kv.entry(n).or_default() += seen * caches.iter().map(token).sum::<u64>();
            }
            reads.kv_asked = reads.kv_asked.max(u64::from(step.grid[2]));
        }
    }
    reads.active = once.iter().map(|(&id, &read)| read.min(model.buffers.get(id).bytes)).sum();
    reads
}

/// Distinct pipelines of all plans.
fn pipelines(model: &Model) -> usize {
    let plans = &model.plans;
    let all = [&plans.decode, &plans.prefill, &plans.head, &plans.sample, &plans.all_rows];
    let keys = all.iter().flat_map(|plan| &plan.steps).map(|step| {
        let constants: Vec<_> = step.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect();
        (step.shader.id.to_string(), constants)
    });
    keys.collect::<BTreeSet<_>>().len()
}

/// Bytes on the device in addition to weights and cache: activations, parameters of the steps, staging buffers of
/// readbacks.
fn beside(model: &Model) -> u64 {
    let scratch: u64 = model.buffers.iter().filter(|b| b.role == Role::Scratch).map(|b| b.bytes).sum();
    let plans = &model.plans;
    let all = [&plans.decode, &plans.prefill, &plans.head, &plans.sample, &plans.all_rows];
    let steps: u64 = all.iter().map(|plan| plan.steps.len() as u64).sum();
    let logits = (model.all_logits.rows * model.all_logits.stride() * 4) as u64;
    scratch + steps * UNIFORM + logits
}

fn of_role(model: &Model, role: Role) -> u64 {
    model.buffers.iter().filter(|b| b.role == role).map(|b| b.bytes).sum()
}

fn dispatches(model: &Model, mixture: bool) -> String {
    let moe = model.config.moe.as_ref().map_or(&[][..], |moe| &moe.layers);
    let layers = (0..model.config.num_layers).filter(|&l| (moe.get(l) == Some(&true)) == mixture);
    let count = |layer: usize| {
        let prefix = format!("l{layer}.");
        model.plans.decode.steps.iter().filter(|step| step.label.starts_with(&prefix)).count()
    };
    layers.map(count).max().map_or("–".to_owned(), |n| n.to_string())
}

const HEAD: &str = "# What a decoded token costs, counted

Written by `MINKE_RECORD=1 cargo test --test counts`, and compared by that test: these figures hold on every device.

## Published models, from their shapes

Weights of 4 bits (for gpt-oss experts as published), no tensor split, a context of 4,096. Dispatches: of the whole token, then
of a dense layer and of a mixture's. Weights: bytes read for one token; ÷ active: by the bytes of the weights that take part, each
counted once. Experts: the share of their bytes that is read, beside k of E; what every token goes to lies with them where it can. KV: bytes of the cache that one token reads with 128
and 4,096 tokens in it, as 16 bits, and in brackets how often each of them is asked for: once for all query heads of a workgroup, up
to 16 (8 of a latent). 4,096 : 128 is what a token reads of weights and cache there, in terms of here. Pipelines: of all plans.
Beside: bytes on the GPU that are neither weights nor cache, in terms of those.

| model | dispatches | dense | mixture | weights, MB | ÷ active | experts | k of E | KV at 128, MB | at 4,096, MB | 4,096 : 128 | pipelines | beside |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

const TARGETS: &str = "
## Targets, and four models

| figure | reach | SmolLM2-135M | R1-Distill-Qwen-1.5B | DeepSeek-V2-Lite | gpt-oss-20b |
|---|---|---|---|---|---|
";

/// Columns of the table of targets.
const TARGET_MODELS: [&str; 4] = ["SmolLM2-135M", "DeepSeek-R1-Distill-Qwen-1.5B", "DeepSeek-V2-Lite", "gpt-oss-20b"];

const MEASURED: &str = "
## One model of every architecture, as the executor counted it

The golden models on a Vulkan device, steps of decode queued three deep: the difference between two generations, by the tokens between
them. Objects: buffers, bind groups, layouts, modules, pipelines. Readbacks: of a sampled id, two steps behind the one that was
submitted last.

| architecture | dispatches | passes | submits | objects | readbacks |
|---|---|---|---|---|---|
";

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// The figures of the table of targets for one model.
fn against_targets(model: &Model, reads: &Reads, pipelines: usize, beside: f64) -> [String; 8] {
    let moe = model.config.moe.as_ref();
    let per_token = reads.kv[&CONTEXT] as f64 / CONTEXT as f64;
    [
        dispatches(model, false),
        dispatches(model, true),
        format!("{:.3}", reads.weights as f64 / reads.active as f64),
        moe.map_or("–".to_owned(), |moe| format!("{} of {}", moe.top_k, moe.experts)),
        format!("{per_token:.0}"),
        TOKEN_TILE.to_string(),
        pipelines.to_string(),
        format!("{:.1} %", beside * 100.0),
    ]
}

const TARGET_ROWS: [[&str; 2]; 8] = [
    ["dispatches of a dense layer", "≤ 7, stretch 5"],
    ["dispatches of a mixture's layer", "≤ 9"],
    ["weight bytes read ÷ active", "≤ 1.02"],
    ["experts read of a layer's", "k, never E"],
    ["KV bytes read for each of 4,096 tokens", "what they hold"],
    ["prefill: tokens for which weights are read once", "≥ 16, stretch 64"],
    ["pipelines", "≤ 40"],
    ["GPU bytes beside weights and cache", "≤ 10 %"],
];

/// Targets that are the same for all models, and where they are counted.
const TARGET_NOTES: &str = "
One compute pass, one submit, no object and no wait for a step just submitted: counted below for every architecture, and in the
browser by `tests/browser`. Host time and calls from wasm to JavaScript: `bench.md`. The wasm heap: `tests/browser`. The stretch of
five dispatches is not reached: rope and the reduction of attention's stretches are steps of their own, because a workgroup can wait
for others only at the end of a dispatch. Prefill's stretch of 64 tokens is not reached: with tiles of 32 a workgroup's memory leaves room for several workgroups. A mixture's layer of DeepSeek-V2 and R1
takes ten dispatches, one more than the target, since their queries have a latent: the choice of experts is a step, so that it is made once
for a token and not by each workgroup of the step that reads the experts.
";

/// The table of published models; panics if a target is missed.
fn from_shapes() -> String {
    let mut table = HEAD.to_owned();
    let mut targets = BTreeMap::new();
    for shape in published() {
        let name = shape.name;
        let model = declare(&shape);
        let reads = reads(&model);
        let &Reads { weights, active, experts, all_experts, ref kv, kv_asked } = &reads;
        let ratio = weights as f64 / active as f64;
        assert!(ratio <= 1.02, "{name}: weights are read {ratio:.3} times");
        let moe = model.config.moe.as_ref();
        let share = match moe {
            None => ["–".to_owned(), "–".to_owned()],
            Some(moe) => {
                let read = experts as f64 / all_experts as f64;
                let shared = moe.shared_inner.unwrap_or(0).div_ceil(moe.inner);
                let most = (moe.top_k + shared) as f64 / (moe.experts + shared) as f64;
                assert!(read <= most + 1e-9, "{name}: {read:.4} of the experts are read, not {most:.4}");
                [format!("{:.1} %", 100.0 * read), format!("{} of {}", moe.top_k, moe.experts)]
            }
        };
        let [short, long] = [kv[&128], kv[&CONTEXT]];
        let cost = (weights + long) as f64 / (weights + short) as f64;
        if name == "DeepSeek-R1-Distill-Qwen-1.5B" {
            assert!(cost <= 1.5, "{name}: a token at {CONTEXT} reads {cost:.2} times what one at 128 does");
            assert_eq!(long, 2 * 28 * 2 * 128 * 4096 * 2, "2 · layers · KV heads · head size · context · bytes");
        }
        if name == "DeepSeek-V2-Lite" {
            assert_eq!(long, 27 * (512 + 64) * 4096 * 2, "layers · (rank + rope) · context · bytes");
        }
        let pipelines = pipelines(&model);
        assert!(pipelines <= 40, "{name}: {pipelines} pipelines");
        let held = of_role(&model, Role::Weights) + of_role(&model, Role::Kv);
        let beside = beside(&model) as f64 / held as f64;
        assert!(beside <= 0.1, "{name}: {:.1} % beside weights and cache", beside * 100.0);
        targets.insert(name, against_targets(&model, &reads, pipelines, beside));
        writeln!(
            table,
            "| {name} | {} | {} | {} | {} | {ratio:.3} | {} | {} | {} | {} ({kv_asked}) | {cost:.2} | {pipelines} | {:.1} % |",
            model.plans.decode.steps.len(),
            dispatches(&model, false),
            dispatches(&model, true),
            megabytes(weights),
            share[0],
            share[1],
            megabytes(short),
            megabytes(long),
            beside * 100.0,
        )
        .expect("a string");
    }
    const { assert!(TOKEN_TILE >= 16, "weights are read once for a tile of tokens") };
    table += TARGETS;
    for (i, [figure, reach]) in TARGET_ROWS.iter().enumerate() {
        let of_models: Vec<&str> = TARGET_MODELS.iter().map(|name| targets[name][i].as_str()).collect();
        writeln!(table, "| {figure} | {reach} | {} |", of_models.join(" | ")).expect("a string");
    }
    table + TARGET_NOTES
}

fn counted(engine: &Engine, tokens: usize) -> Counts {
    const END_OF_SEQUENCE: &str = "485"; // the golden models' end of sequence, which must not occur early
    let options = GenerateOptions {
        max_output_tokens: Some(tokens as f64),
        temperature: Some(0.0),
        logit_bias: [(END_OF_SEQUENCE.to_owned(), -100.0)].into(),
        ..Default::default()
    };
    let before = engine.counts();
    let input = Input::Ids(vec![3, 1, 4, 1, 5]);
    let result = block_on(engine.generate(input, &options, &Cancel::default(), &mut |_| {})).expect("a generation");
    assert_eq!(result.ids.len(), tokens, "no end of sequence in the way");
    counts_since(engine, &before)
}

/// The table of what the executor did; `None` without golden models.
fn measured() -> Option<String> {
    let root = data("MINKE_GOLDEN", ".cache/golden")?;
    let mut table = MEASURED.to_owned();
    for architecture in ARCHITECTURES {
        let name = architecture.name();
        let options = LoadOptions { queued_steps: Some(3), ..on_gpu() };
        let engine = load(&root.join("models").join(name), options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (few, many) = (counted(&engine, 5), counted(&engine, 21));
        let per_token = |of: fn(&Counts) -> u64| {
            let difference = of(&many) - of(&few);
            assert_eq!(difference % 16, 0, "{name}: the same for every token");
            difference / 16
        };
        let [dispatches, passes, submits, objects, readbacks] = [
            per_token(|c| c.dispatches),
            per_token(|c| c.passes),
            per_token(|c| c.submits),
            per_token(|c| c.objects_created),
            per_token(|c| c.readbacks),
        ];
        assert_eq!([passes, submits, objects, readbacks], [1, 1, 0, 1], "{name}");
        assert_eq!(dispatches, engine.plans().decode.steps.len() as u64, "{name}");
        writeln!(table, "| {name} | {dispatches} | {passes} | {submits} | {objects} | {readbacks} |")
            .expect("a string");
    }
    Some(table)
}

#[test]
fn what_a_decoded_token_costs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/evidence/counts.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let mut table = from_shapes();
    match measured() {
        Some(measured) => table += &measured,
        // The file's second half is kept until it can be measured again.
        None => table += &written[written.find(MEASURED).unwrap_or(written.len())..],
    }
    if std::env::var_os("MINKE_RECORD").is_some() {
        std::fs::write(path, &table).expect("docs/ can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, table, "docs/evidence/counts.md is not what is counted");
}
