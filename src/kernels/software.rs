//! Variants for software adapters (SwiftShader, lavapipe, WARP), where a visitor without a usable GPU ends up. They compute
//! what the kernels do, from the same bindings and parameters, in another grid. A GPU never runs them.
//!
//! What they are shaped by, from the code that SwiftShader generates in Chromium: four invocations run as one vector. A
//! 32-bit load is some forty instructions, so a product keeps a group of inputs while 48 (decode) or 64 (prefill) rows pass
//! it. Unrolled code runs at half the speed of a loop that stays in the processor's cache of decoded instructions, so rows
//! pass in a loop. Shifting a vector by different amounts is done lane by lane, so codes become numbers where they lie in
//! their words. Every four invocations that can stop at a barrier need a stack, and workgroups that return at once are not
//! free, so norms and reductions use four invocations, and decode's attention four splits. An array that is declared inside
//! a loop keeps its values from the iteration before, so arrays are declared outside and cleared.
//!
//! Heads of more than 128 values use the base kernel. The variants of prefill's product and prompt attention are withheld
//! from lavapipe, whose compiler takes a second or more for each. `benches/steps.mjs` measures single steps.

use super::attention::{self, KERNEL as ATTENTION, REDUCE};
use super::matmul::{self, KERNEL as MATMUL};
use super::matvec::{self, KERNEL as MATVEC};
use super::norm::KERNEL as NORM;
use super::{MAX_WORKGROUPS, Params, shader};
use crate::plan::{DeviceFacts, Plan, Shader, Step, fold_grid};

/// Rows that a workgroup of `shaders/software/matvec.wgsl` takes.
const MATVEC_ROWS: u32 = 48;
/// Tokens that a workgroup of `shaders/software/matmul.wgsl` takes.
const MATMUL_TOKENS: u32 = 32;
/// Rows that a workgroup of `shaders/software/attention.wgsl` takes.
const ATTENTION_ROWS: u32 = 4;
/// Those of `shaders/software/attention_rows.wgsl`, for a prompt's tokens.
const PROMPT_ROWS: u32 = 16;
/// Stretches of the context that decode's attention is cut into: a CPU has few cores to fill.
const SPLITS: u32 = 4;
/// Threads of a workgroup, which run as one: with more, each four take a stack at a barrier.
const THREADS: u32 = 4;
/// The widest heads that they hold.
const MAX_HEAD: u32 = 128;
/// Rounds of loops that lavapipe runs in a thread before it leaves them: 65,535 in all.
const ROUNDS: u32 = 60_000;

/// A kernel with a layout's blocks as `$own` makes them.
macro_rules! by_layout {
    ($kernel:literal, $layout:literal, $own:literal $(, $lib:literal)*) => {
        Shader {
            name: concat!("software/", $kernel, ".", $layout),
            extension: None,
            files: &[
                include_str!("../../shaders/lib/state.wgsl"),
                include_str!("../../shaders/lib/gate.wgsl"),
                include_str!("../../shaders/lib/epilogue.wgsl"),
                include_str!("../../shaders/lib/block.wgsl"),
                $(include_str!(concat!("../../shaders/lib/", $lib, ".wgsl")),)*
                include_str!(concat!("../../shaders/lib/", $layout, ".wgsl")),
                include_str!("../../shaders/software/in_place.wgsl"),
                include_str!(concat!("../../shaders/software/", $own, ".wgsl")),
                include_str!("../../shaders/software/held.wgsl"),
                include_str!(concat!("../../shaders/software/", $kernel, ".wgsl")),
            ],
        }
    };
}

/// One module for each weight layout, in the order of `Layout::ALL`.
macro_rules! by_layouts {
    ($kernel:literal) => {
        [
            by_layout!($kernel, "f32", "plain"),
            by_layout!($kernel, "f16", "plain"),
            by_layout!($kernel, "bf16", "plain"),
            by_layout!($kernel, "q8", "q8"),
            by_layout!($kernel, "q8_min", "q8_min"),
            by_layout!($kernel, "q4", "q4", "nibbles"),
            by_layout!($kernel, "q4_min", "q4_min", "nibbles"),
            by_layout!($kernel, "q4_k", "q4_k", "nibbles", "k_scales"),
            by_layout!($kernel, "q5_k", "plain", "nibbles", "k_scales"),
            by_layout!($kernel, "q6_k", "plain", "nibbles"),
            by_layout!($kernel, "mxfp4", "plain"),
        ]
    };
}

static MATVEC_SHADERS: [Shader; 11] = by_layouts!("matvec");
static MATMUL_SHADERS: [Shader; 11] = by_layouts!("matmul");
static ATTENTION_SHADER: Shader = shader!("software/attention", "state", "kv", "halves", "kv_read", "span", "queries");
static PROMPT_SHADER: Shader =
    shader!("software/attention_rows", "state", "kv", "../software/halves", "kv_read", "span", "queries");

/// Every module of theirs.
#[cfg(test)]
pub(super) fn shaders() -> impl Iterator<Item = &'static Shader> {
    MATVEC_SHADERS.iter().chain(&MATMUL_SHADERS).chain([&ATTENTION_SHADER, &PROMPT_SHADER])
}

/// The plan as such an adapter should run it: the same steps, those with a variant by it.
pub fn software(plan: &Plan, facts: &DeviceFacts) -> Plan {
    let Plan { label, steps } = fewer_stretches(plan);
    Plan { label, steps: steps.into_iter().map(|step| variant(step, facts)).collect() }
}

/// The plan with decode's attention in as many stretches as suit such an adapter.
pub(super) fn fewer_stretches(plan: &Plan) -> Plan {
    let mut steps = plan.steps.clone();
    for i in 0..steps.len() {
        if steps[i].kernel == REDUCE.name {
            let parts = steps[i].buffer(2);
            let of_them = |step: &Step| step.kernel == ATTENTION.name && step.buffer(5) == parts;
            if let Some(attention) = steps[..i].iter().rposition(of_them) {
                let splits = SPLITS.min(steps[i].constant("SPLITS") as u32);
                for step in [attention, i] {
                    set(&mut steps[step], "SPLITS", splits);
                }
                steps[attention].grid[1] = splits;
            }
        }
    }
    Plan { label: plan.label.clone(), steps }
}

fn set(step: &mut Step, name: &'static str, value: u32) {
    step.constants.retain(|(other, _)| *other != name);
    step.constants.push((name, value.into()));
}

fn variant(mut step: Step, facts: &DeviceFacts) -> Step {
    if step.kernel == MATVEC.name {
        step.shader = &MATVEC_SHADERS[matvec::layout_of(&step, &matvec::SHADERS) as usize];
        step.constants.retain(|(name, _)| *name != "LANES");
        let rows = matvec::MatvecParams::of(&step).rows; // its loops have K / 32 / 4 · 48 rounds at most
        let [x, y] = fold_grid(rows.div_ceil(MATVEC_ROWS), MAX_WORKGROUPS);
        step.grid = [x, y, 1];
    } else if step.kernel == MATMUL.name {
        let rounds = matmul::MatmulParams::of(&step).groups * matmul::ROW_TILE as u32;
        if rounds < ROUNDS && !facts.slow_compiler {
            step.shader = &MATMUL_SHADERS[matvec::layout_of(&step, &matmul::SHADERS) as usize];
            step.grid[1] = (step.grid[1] * matmul::TOKEN_TILE as u32).div_ceil(MATMUL_TOKENS); // the rows' tiles are the same
        }
    } else if step.kernel == ATTENTION.name {
        let rows = step.grid[2] * step.constant("ROWS") as u32;
        let p = attention::AttentionParams::of(&step);
        let splits = SPLITS.min(step.constant("SPLITS") as u32);
        let tiles = p.capacity.div_ceil(64 * splits);
        let rounds = tiles * (p.key_dim.div_ceil(4) + 64);
        if p.key_dim.max(p.value_dim) <= MAX_HEAD && rounds < ROUNDS {
            let prompt = step.constant("SPLITS") == 1.0 && rows >= PROMPT_ROWS / 2 && !facts.slow_compiler;
            let dropped: &[_] =
                if prompt { &["ROWS", "COLUMNS", "WIDE", "SPLITS"] } else { &["ROWS", "COLUMNS", "WIDE"] };
            step.constants.retain(|(name, _)| !dropped.contains(name));
            step.shader = if prompt { &PROMPT_SHADER } else { &ATTENTION_SHADER };
            step.grid[2] = rows.div_ceil(if prompt { PROMPT_ROWS } else { ATTENTION_ROWS });
        }
    } else if step.kernel == NORM.name || step.kernel == REDUCE.name {
        set(&mut step, "THREADS", THREADS);
    }
    step
}
