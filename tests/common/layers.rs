//! Compares the output of each layer with the reference, to find where a model begins to differ.

use std::fmt::Write;
use std::path::Path;

use minke::engine::accept;
use minke::gpu::{DeviceOptions, Gpu};
use minke::kernels::{KvFormat, State};
use minke::model::{Model, ModelConfig, ModelOptions};
use minke::plan::{Access, Executor, Plan};
use minke::weights::load::load;
use minke::weights::{Checkpoint, DiskFolder};
use minke::{Cancel, Result};

use super::block_on;
use super::golden::{golden, golden_tensor, ids};

/// The largest difference of the residual stream from `hidden.<i>`, after the embedding and after each layer but the
/// last, whose output the reference only has after the final norm. In f32, over the medium prompt.
pub fn differences(folder: &Path) -> Result<Vec<f64>> {
    block_on(async {
        let checkpoint = Checkpoint::open_folder(&DiskFolder::new(folder), &accept).await?;
        let config = ModelConfig::from_checkpoint(&checkpoint)?;
        let model =
            Model::new(&checkpoint, &config, ModelOptions { kv_format: Some(KvFormat::F32), ..Default::default() })?;
        let executor = Gpu::open(DeviceOptions::default()).await?;
        executor.allocate(&model.buffers).await?;
        for (buffer, bytes) in &model.constants {
            executor.write(*buffer, 0, bytes);
        }
        load(&checkpoint, &model.tasks, &executor, &Cancel::default(), &mut |_, _| {}).await?;
        let prompt = ids(&golden(folder)["prompts"]["medium"]["ids"]);
        let prompt = &prompt[..prompt.len().min(model.chunk)];
        let state = State { count: prompt.len() as u32, ..State::default() };
        executor.write(model.control.state, 0, bytemuck::bytes_of(&state));
        executor.write(model.control.tokens, 0, bytemuck::cast_slice(prompt));
        // The embedding writes the residual stream.
        let steps = &model.plans.prefill.steps;
        let stream = steps[0].bindings.iter().find(|b| b.access == Access::ReadWrite).expect("it writes").buffer;
        let mut found = Vec::new();
        for layer in 0..config.num_layers {
            let Some(want) = golden_tensor(folder, &format!("hidden.{layer}")) else { break };
            // The steps between the previous layer's output and this one.
            let part = if layer == 0 { "embed".to_owned() } else { format!("l{}", layer - 1) };
            let of_part = |label: &str| label.split('.').next() == Some(&part);
            let steps = steps.iter().filter(|step| of_part(&step.label)).cloned().collect();
            let plan = Plan { label: part.clone(), steps };
            executor.submit(&[&executor.prepare(&plan).await?], &[])?;
            let stride = config.hidden_size.next_multiple_of(minke::plan::GROUP);
            let bytes = executor.read(&[(stream, 0..(prompt.len() * stride * 4) as u64)]).await?;
            let got: &[f32] = bytemuck::cast_slice(&bytes);
            let rows = got.chunks(stride).zip(&want).flat_map(|(got, want)| got.iter().zip(want));
            found.push(rows.map(|(got, want)| f64::from((got - want).abs())).fold(0.0, f64::max));
        }
        Ok(found)
    })
}

/// The differences as text, for a failing test.
pub fn report(folder: &Path) -> String {
    let mut text = String::from("in f32, over the medium prompt, the residual stream differs at most by");
    match differences(folder) {
        Ok(found) => found.iter().enumerate().for_each(|(layer, most)| {
            let _ = write!(text, "\n  {most:.1e} before layer {layer}");
        }),
        Err(error) => text = format!("its layers cannot be run: {error}"),
    }
    text
}
