//! Variants of decode's two dominant kernels for adapters that are the CPU (SwiftShader, lavapipe, WARP), where a visitor without
//! a usable GPU ends up. They compute what the kernels do, from the same bindings and parameters; a GPU never runs them.

use super::attention::{self, KERNEL as ATTENTION};
use super::matvec::{self, KERNEL as MATVEC};
use super::{MAX_WORKGROUPS, Params};
use crate::gpu::{Plan, Shader, Step, fold_grid};

/// Rows that a workgroup of `shaders/software/matvec.wgsl` takes.
const MATVEC_ROWS: u32 = 64;
/// Rows that a workgroup of `shaders/software/attention.wgsl` takes.
const ATTENTION_ROWS: u32 = 4;
/// The widest value head that it holds.
const MAX_VALUE_DIM: u32 = 128;
/// Rounds of loops that lavapipe runs in a thread before it leaves them: 65,535 in all.
const ROUNDS: u32 = 60_000;

macro_rules! matvec_shader {
    ($layout:literal $(, $lib:literal)*) => {
        Shader {
            name: concat!("software.matvec.", $layout),
            files: &[
                include_str!("../../shaders/lib/state.wgsl"),
                include_str!("../../shaders/lib/gate.wgsl"),
                include_str!("../../shaders/lib/epilogue.wgsl"),
                include_str!("../../shaders/lib/block.wgsl"),
                $(include_str!(concat!("../../shaders/", $lib, ".wgsl")),)*
                include_str!(concat!("../../shaders/lib/", $layout, ".wgsl")),
                include_str!("../../shaders/software/lane.wgsl"),
                include_str!(concat!("../../shaders/software/", $layout, ".wgsl")),
                include_str!("../../shaders/software/matvec.wgsl"),
            ],
        }
    };
}

/// In the order of `Layout::ALL`.
static MATVEC_SHADERS: [Shader; 11] = [
    matvec_shader!("f32"),
    matvec_shader!("f16"),
    matvec_shader!("bf16"),
    matvec_shader!("q8"),
    matvec_shader!("q8_min"),
    matvec_shader!("q4", "lib/nibbles", "software/in_place"),
    matvec_shader!("q4_min", "lib/nibbles", "software/in_place"),
    matvec_shader!("q4_k", "lib/nibbles", "lib/k_scales", "software/in_place"),
    matvec_shader!("q5_k", "lib/nibbles", "lib/k_scales"),
    matvec_shader!("q6_k", "lib/nibbles"),
    matvec_shader!("mxfp4"),
];

static ATTENTION_SHADER: Shader = Shader {
    name: "software.attention",
    files: &[
        include_str!("../../shaders/lib/state.wgsl"),
        include_str!("../../shaders/lib/kv.wgsl"),
        include_str!("../../shaders/lib/kv_read.wgsl"),
        include_str!("../../shaders/lib/span.wgsl"),
        include_str!("../../shaders/software/attention.wgsl"),
    ],
};

/// The plan as an adapter that is the CPU should run it: the same steps, those with a variant by it.
pub fn software(plan: &Plan) -> Plan {
    Plan { label: plan.label.clone(), steps: plan.steps.iter().cloned().map(variant).collect() }
}

fn variant(mut step: Step) -> Step {
    if step.kernel == MATVEC.name {
        step.shader = &MATVEC_SHADERS[matvec::layout_of(&step, &matvec::SHADERS) as usize];
        step.constants.retain(|(name, _)| *name != "LANES");
        let rows = matvec::MatvecParams::of(&step).rows;
        let [x, y] = fold_grid(rows.div_ceil(MATVEC_ROWS), MAX_WORKGROUPS);
        step.grid = [x, y, 1];
    } else if step.kernel == ATTENTION.name {
        let rows = step.grid[2] * step.constant("ROWS") as u32;
        let p = attention::AttentionParams::of(&step);
        let tiles = p.capacity.div_ceil(64 * step.constant("SPLITS") as u32);
        let rounds = tiles * (p.key_dim.div_ceil(4) + 64);
        if p.value_dim <= MAX_VALUE_DIM && rounds < ROUNDS {
            step.shader = &ATTENTION_SHADER;
            step.constants.retain(|(name, _)| !matches!(*name, "ROWS" | "COLUMNS" | "WIDE"));
            step.grid[2] = rows.div_ceil(ATTENTION_ROWS);
        }
    }
    step
}
