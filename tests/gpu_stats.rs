//! What the compiler for AMD's GPUs makes of the kernels, without such a GPU: `docs/evidence/gpu-stats.md` and `.json`, which
//! `cargo xtask gpu-stats --record` rewrites. A kernel that spills registers, or has over 5 % more instructions than recorded, fails.
//!
//! Mesa's RADV compiles for a GPU that `RADV_FORCE_FAMILY` names, and tells registers, instructions and the listing.
#![allow(missing_docs, unsafe_code)]

mod common;
#[path = "gpu_stats/compiler.rs"]
mod compiler;
#[path = "gpu_stats/listing.rs"]
mod listing;
mod shapes;
#[path = "support/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::fmt::Write;

use common::block_on;
use compiler::Compiler;
use listing::Work;
use minke::engine::accept;
use minke::kernels::{KvFormat, Variants, suited};
use minke::model::{Model, ModelConfig, ModelOptions, Quantization, suited_chunk};
use minke::plan::{Layout, Plan, Step, Variant};
use minke::weights::Checkpoint;
use serde::{Deserialize, Serialize};
use shapes::published;

/// What is compiled for: GPUs with the instruction sets of RDNA 2 and 3.
const FAMILIES: [&str; 2] = ["navi21", "gfx1100"];
/// Models whose pipelines are compiled: dense, heads of 256, two kinds of mixtures, latent attention.
const MODELS: [&str; 5] =
    ["DeepSeek-R1-Distill-Qwen-1.5B", "gemma-3-1b", "Qwen3-30B-A3B", "gpt-oss-20b", "DeepSeek-V2-Lite"];
/// Instructions that a kernel may gain, in percent.
const SLACK: u64 = 5;
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/evidence/gpu-stats.md");
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/evidence/gpu-stats.json");

/// What a compiler says of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stats {
    vgprs: u64,
    spilled: u64,
    /// Waves that a SIMD holds.
    waves: u64,
    /// Bytes of workgroup memory.
    shared: u64,
    instructions: u64,
    /// Vector instructions of the main loop for one weight, or for one weight and token; of products only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    per_weight: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    driver: String,
    /// By pipeline, then by family.
    pipelines: BTreeMap<String, BTreeMap<String, Stats>>,
}

fn declare(name: &str) -> Model {
    let shape = published().into_iter().find(|shape| shape.name == name).expect("a published shape");
    let checkpoint = block_on(Checkpoint::open_folder(&shape.folder(), &accept)).expect("it opens");
    let config = ModelConfig::from_checkpoint(&checkpoint).expect("facts");
    let options = ModelOptions {
        quantization: Quantization::Q4,
        max_binding: 1 << 40,
        context_length: Some(4096),
        kv_format: Some(KvFormat::F16),
        chunk: suited_chunk(&config, false),
        ..ModelOptions::default()
    };
    Model::new(&checkpoint, &config, options).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What names a pipeline: its shader and the constants that are set.
fn key(step: &Step) -> String {
    let set = step.constants.iter().filter(|(_, value)| *value != 0.0);
    set.fold(step.shader.id.to_string(), |key, (name, value)| format!("{key} {name}={value}"))
}

/// A step of every pipeline: of the models' plans in base forms and variants, and of the first model's products in every layout.
fn pipelines() -> BTreeMap<String, Step> {
    let mut all = BTreeMap::new();
    for name in MODELS {
        let model = declare(name);
        let plans = &model.plans;
        let mut steps: Vec<Step> = Vec::new();
        for plan in [&plans.decode, &plans.prefill, &plans.head, &plans.sample, &plans.all_rows] {
            steps.extend(plan.steps.iter().cloned());
        }
        if name == MODELS[0] {
            let product =
                |step: &&Step| ["matvec", "matmul"].contains(&step.kernel) && step.constant("RESIDUAL") == 1.0;
            let products: Vec<Step> = steps.iter().filter(product).cloned().collect();
            for (step, layout) in products.iter().flat_map(|step| Layout::ALL.map(|layout| (step, layout))) {
                steps.push(Step { shader: step.shader.of(layout), ..step.clone() });
            }
        }
        let base = Plan { label: name.to_owned(), steps };
        let each = Variant::ALL.map(|variant| Variants {
            subgroups: variant == Variant::Subgroups,
            f16: variant == Variant::F16,
            int8: variant == Variant::Int8,
        });
        for variants in std::iter::once(Variants::default()).chain(each) {
            all.extend(suited(&base, variants).steps.into_iter().map(|step| (key(&step), step)));
        }
    }
    all
}

/// How the main loop of a product is counted: the weights of one round, or weights times tokens, and how often its inner loops run,
/// those that write workgroup memory and those that read it.
fn work(step: &Step) -> Option<Work> {
    let int8 = step.shader.id.variant == Some(Variant::Int8);
    match step.kernel {
        "matvec" | "expert_up" | "expert_down" => Some(Work { unit: 128, writes: 1, reads: 1 }),
        // Tiles of 32 rows of x, and of 16.
        "matmul" if int8 => Some(Work { unit: 2048, writes: 2, reads: 2 }),
        "matmul" => Some(Work { unit: 1024, writes: 1, reads: 8 }),
        "expert_matmul" if int8 => Some(Work { unit: 2048, writes: 4, reads: 4 }),
        "expert_matmul" => Some(Work { unit: 512, writes: 1, reads: 8 }),
        _ => None,
    }
}

fn stats(compiler: &Compiler, step: &Step) -> Stats {
    let (figures, listing) = compiler.compile(step);
    let of = |name: &str| figures.get(name).copied().unwrap_or_else(|| panic!("RADV tells no {name}: {figures:?}"));
    let per_weight = work(step).and_then(|work| listing::main_loop(&listing, work));
    Stats {
        vgprs: of("VGPRs"),
        spilled: of("Spilled SGPRs") + of("Spilled VGPRs"),
        waves: of("Subgroups per SIMD"),
        shared: of("LDS size"),
        instructions: of("Instructions"),
        per_weight: per_weight.map(|valu| (valu * 100.0).round() / 100.0),
    }
}

/// What has become worse; a pipeline that is not recorded counts.
fn worse(recorded: &Recorded, now: &Recorded) -> Vec<String> {
    let mut worse = Vec::new();
    for (pipeline, families) in &now.pipelines {
        for (family, stats) in families {
            let Some(before) = recorded.pipelines.get(pipeline).and_then(|families| families.get(family)) else {
                worse.push(format!("{pipeline} for {family}: not recorded"));
                continue;
            };
            if stats.spilled > before.spilled {
                worse.push(format!("{pipeline} for {family}: {} spills, not {}", stats.spilled, before.spilled));
            }
            if stats.instructions * 100 > before.instructions * (100 + SLACK) {
                let (now, then) = (stats.instructions, before.instructions);
                worse.push(format!("{pipeline} for {family}: {now} instructions, not {then}"));
            }
            if let (Some(now), Some(then)) = (stats.per_weight, before.per_weight)
                && now * 100.0 > then * (100 + SLACK) as f64
            {
                worse.push(format!("{pipeline} for {family}: {now} instructions a weight, not {then}"));
            }
        }
    }
    let gone = recorded.pipelines.keys().filter(|pipeline| !now.pipelines.contains_key(*pipeline));
    worse.extend(gone.map(|pipeline| format!("{pipeline}: recorded, and no longer there")));
    worse
}

const HEAD: &str = "# What a compiler for real GPUs makes of the kernels

Written by `cargo xtask gpu-stats --record`, which also writes `gpu-stats.json`; `cargo xtask gpu-stats` compares. Every pipeline of five
models' plans with weights of 4 bits, in base forms and variants, and the first model's products in every layout, compiled without a GPU by
Mesa's RADV for two of AMD's: navi21 (RDNA 2) and gfx1100 (RDNA 3). The text becomes SPIR-V by naga without bounds checks, which browsers
add. A figure tells where time may go, on one vendor's GPUs; nothing here is a measured time.

VGPRs: vector registers of a thread. Waves: how many a SIMD holds. LDS: bytes of workgroup memory. Instructions: of the whole kernel,
each counted once. Per weight: vector instructions of the main loop for one weight, in tiles for one weight and token.

";

fn table(recorded: &Recorded) -> String {
    let mut text = format!("{HEAD}Driver: {}. Models: {}.\n\n", recorded.driver, MODELS.join(", "));
    text += "| pipeline | VGPRs | waves | LDS | spills | instructions | per weight |\n|---|---|---|---|---|---|---|\n";
    for (pipeline, families) in &recorded.pipelines {
        let each = |of: &dyn Fn(&Stats) -> String| {
            let all: Vec<String> = FAMILIES.iter().map(|family| of(&families[*family])).collect();
            if all.iter().all(|v| *v == all[0]) { all[0].clone() } else { all.join(" / ") }
        };
        writeln!(
            text,
            "| {pipeline} | {} | {} | {} | {} | {} | {} |",
            each(&|s| s.vgprs.to_string()),
            each(&|s| s.waves.to_string()),
            each(&|s| s.shared.to_string()),
            each(&|s| s.spilled.to_string()),
            each(&|s| s.instructions.to_string()),
            each(&|s| s.per_weight.map_or(String::new(), |v| format!("{v:.2}"))),
        )
        .expect("a string");
    }
    text
}

#[test]
fn no_kernel_spills_or_grows() {
    const WHAT: &str = "Mesa's RADV as recorded";
    let recorded: Option<Recorded> =
        std::fs::read_to_string(RECORD).ok().map(|t| serde_json::from_str(&t).expect(RECORD));
    let record = std::env::var_os("MINKE_RECORD").is_some();
    let pipelines = pipelines();
    let mut now = Recorded { driver: String::new(), pipelines: BTreeMap::new() };
    for family in FAMILIES {
        let compiler = match Compiler::open(family) {
            Ok(compiler) => compiler,
            Err(why) => return skip::skip(WHAT, why),
        };
        now.driver = compiler.driver.clone();
        if let Some(recorded) = recorded.as_ref().filter(|recorded| !record && recorded.driver != now.driver) {
            return skip::skip(WHAT, format!("there is {}, not {}", now.driver, recorded.driver));
        }
        for (key, step) in &pipelines {
            now.pipelines.entry(key.clone()).or_default().insert(family.to_owned(), stats(&compiler, step));
        }
    }
    if record {
        // A line for each pipeline, so that differences are readable.
        let rows = now.pipelines.iter().map(|(k, v)| format!("    {}: {}", serde_json::json!(k), serde_json::json!(v)));
        let driver = serde_json::json!(now.driver);
        let text = format!(
            "{{\n  \"driver\": {driver},\n  \"pipelines\": {{\n{}\n  }}\n}}\n",
            rows.collect::<Vec<_>>().join(",\n")
        );
        std::fs::write(RECORD, text).expect("docs/ can be written");
        std::fs::write(TABLE, table(&now)).expect("docs/ can be written");
        return;
    }
    let worse = worse(&recorded.expect(RECORD), &now);
    assert!(worse.is_empty(), "{}\nIf it is meant, `cargo xtask gpu-stats --record`.", worse.join("\n"));
}
