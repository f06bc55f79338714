//! Where the time of a token and of a prompt's chunk goes: each pipeline of a loaded model's plans alone, over all of its layers.

use std::time::Instant;

use minke::Result;
use minke::engine::Engine;
use minke::kernels::State;
use minke::plan::{Plan, Step};
use pollster::block_on;
use serde_json::{Value, json};

/// Seconds of a measurement, if a pipeline is not slower.
const LENGTH: f64 = 0.02;
/// Tokens before a decoded one, and tokens of a chunk.
const POSITION: u32 = 128;
const CHUNK: u32 = 64;

/// Tells for each pipeline how many steps it has, and microseconds of one; stops when no more seconds are left. The contents of the KV cache are
/// overwritten.
pub fn times(engine: &Engine, left: impl Fn() -> f64, tell: impl Fn(&str, &[Value])) -> Result<()> {
    let (plans, executor) = (engine.plans(), engine.executor());
    let decode = State { position: POSITION, count: 1, ..State::default() };
    let prefill = State { position: 0, count: CHUNK, ..State::default() };
    // Every product reads the state first.
    let Some(product) = plans.decode.steps.iter().find(|step| step.kernel == "matvec") else { return Ok(()) };
    let state_buffer = product.buffer(1);
    for (name, plan, state) in [("decode", &plans.decode, decode), ("prefill", &plans.prefill, prefill)] {
        let mut groups: Vec<Vec<Step>> = Vec::new();
        let same =
            |a: &Step, b: &Step| (a.shader.id, &a.constants, &a.detail) == (b.shader.id, &b.constants, &b.detail);
        for step in &plan.steps {
            match groups.iter_mut().find(|group| same(&group[0], step)) {
                Some(group) => group.push(step.clone()),
                None => groups.push(vec![step.clone()]),
            }
        }
        let mut told = Vec::new();
        for group in groups {
            if left() < 2.0 {
                return Ok(());
            }
            let (first, count) = (group[0].clone(), group.len());
            let prepared = block_on(executor.prepare(&Plan { label: "steps".into(), steps: group }))?;
            let seconds = |repeats: usize| -> Result<f64> {
                executor.write(state_buffer, 0, bytemuck::bytes_of(&state));
                block_on(executor.idle())?;
                let began = Instant::now();
                executor.submit(&vec![&prepared; repeats], &[])?;
                block_on(executor.idle())?;
                Ok(began.elapsed().as_secs_f64())
            };
            seconds(1)?;
            let mut repeats = 1;
            let mut took = seconds(repeats)?;
            while took < LENGTH / 2.0 && repeats < 1024 {
                repeats = (repeats as f64 * (LENGTH / took.max(1e-6)).clamp(2.0, 16.0)) as usize;
                took = seconds(repeats)?;
            }
            let each = took.min(seconds(repeats)?) / (repeats * count) as f64;
            let mut value = json!({
                "kernel": first.shader.id.to_string(), "detail": first.detail, "steps": count,
                "microseconds": super::parts::rounded(each * 1e6),
            });
            if let Some(bytes) = bytes(&first.detail).filter(|_| first.kernel == "matvec") {
                value["gigabytesPerSecond"] = json!(super::parts::rounded(bytes / each / 1e9));
            }
            told.push(value);
            tell(name, &told);
        }
    }
    Ok(())
}

/// Bytes of the weights that a detail like `w[2048,4096]:q4 …` names, in a layout that models of noise have.
fn bytes(detail: &str) -> Option<f64> {
    let (shape, rest) = detail.strip_prefix("w[")?.split_once("]:")?;
    let (rows, k) = shape.split_once(',')?;
    let bits = match rest.split(' ').next()? {
        "q4" => 4.5,
        "q8" => 8.5,
        _ => return None,
    };
    Some(rows.parse::<f64>().ok()? * k.parse::<f64>().ok()? * bits / 8.0)
}
