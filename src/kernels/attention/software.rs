//! Attention on software adapters: other shaders, and fewer splits of the context in decode.

use super::{AttentionParams, KERNEL, REDUCE, SOFTWARE_DECODE, SOFTWARE_PROMPT};
use crate::kernels::kernel::Params;
use crate::kernels::software::{MAX_ROUNDS, set};
use crate::plan::{DeviceFacts, Plan, Step};

/// Rows that a workgroup of `shaders/software/attention.wgsl` takes.
const ATTENTION_ROWS: u32 = 4;
/// Rows that a workgroup of `shaders/software/attention_rows.wgsl` takes, for a prompt's tokens.
const PROMPT_ROWS: u32 = 16;
/// Splits of the context in decode: a CPU has few cores to fill.
const SPLITS: u32 = 4;
/// The widest heads that the shaders hold.
const MAX_HEAD: u32 = 128;

pub(super) fn attention(step: &mut Step, facts: &DeviceFacts) {
    let rows = step.grid[2] * step.constant("ROWS") as u32;
    let p = AttentionParams::of(step);
    let splits = SPLITS.min(step.constant("SPLITS") as u32);
    let tiles = p.capacity.div_ceil(64 * splits);
    let rounds = tiles * (p.key_dim.div_ceil(4) + 64);
    if p.key_dim.max(p.value_dim) <= MAX_HEAD && rounds < MAX_ROUNDS {
        let prompt = step.constant("SPLITS") == 1.0 && rows >= PROMPT_ROWS / 2 && !facts.slow_compiler;
        let dropped: &[_] = if prompt { &["ROWS", "COLUMNS", "WIDE", "SPLITS"] } else { &["ROWS", "COLUMNS", "WIDE"] };
        step.constants.retain(|(name, _)| !dropped.contains(name));
        step.shader = if prompt { SOFTWARE_PROMPT } else { SOFTWARE_DECODE };
        step.grid[2] = rows.div_ceil(if prompt { PROMPT_ROWS } else { ATTENTION_ROWS });
    }
}

/// The plan with decode's attention in as many splits as suit a software adapter.
pub fn fewer_splits(plan: &Plan) -> Plan {
    let mut steps = plan.steps.clone();
    for i in 0..steps.len() {
        if steps[i].kernel == REDUCE.name {
            let parts = steps[i].buffer(2);
            let of_them = |step: &Step| step.kernel == KERNEL.name && step.buffer(5) == parts;
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
