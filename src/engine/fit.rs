//! Fits a model to a device: the most exact quantisation within the budget, and smaller forms where memory is refused.

use super::load_options::LoadOptions;
use crate::model::config::ModelConfig;
use crate::model::{Model, ModelOptions, Quantization};
use crate::weights::checkpoint::Checkpoint;
use crate::{Error, Result};

/// Bytes of weights up to which a model is not quantised: what browsers grant a page on a machine of 8 GB
/// before they refuse an allocation.
pub const WEIGHT_BUDGET: u64 = 2 << 30;

/// The quantisations to try for weights that are stored unquantised, the most exact first.
pub(super) fn choices(options: &LoadOptions) -> &'static [Quantization] {
    match options.quantization {
        Some(Quantization::None) => &[Quantization::None],
        Some(Quantization::Q8) => &[Quantization::Q8],
        Some(Quantization::Q4) => &[Quantization::Q4],
        None if options.f32 => &[Quantization::None],
        None => &[Quantization::None, Quantization::Q8, Quantization::Q4],
    }
}

/// The model with the first of `choices` that fits the budget and the binding limit, or with the last; and the index of
/// that choice.
pub(super) fn choose(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    options: &LoadOptions,
    wanted: &ModelOptions,
    choices: &[Quantization],
) -> Result<(usize, Model)> {
    let budget = options.weight_budget.unwrap_or(WEIGHT_BUDGET);
    let last = choices.len() - 1;
    for (i, &quantization) in choices.iter().enumerate() {
        match Model::new(checkpoint, config, ModelOptions { quantization, ..wanted.clone() }) {
            Err(Error::BufferLimit { .. }) if i < last => {}
            Ok(model) if i < last && model.weight_bytes() > budget => {}
            model => return Ok((i, model?)),
        }
    }
    unreachable!("the last choice is always returned")
}

/// The options left while a model is fitted to the memory of a device. A platform does not report how much memory there
/// is: the engine finds out by allocating.
pub(super) struct Fitting<'a> {
    pub checkpoint: &'a Checkpoint,
    pub config: &'a ModelConfig,
    pub options: &'a LoadOptions,
    /// Remaining quantisations of weights that are stored unquantised, the most exact first.
    pub choices: &'static [Quantization],
    pub wanted: ModelOptions,
}

/// Context lengths, in tokens, down to which a default context shrinks: before weights go below 8 bits, and before a
/// load fails.
const CONTEXT_STEPS: [usize; 2] = [8192, 2048];

impl Fitting<'_> {
    /// The most exact remaining model that fits the budget.
    pub fn choose(&mut self) -> Result<Model> {
        let (chosen, model) = choose(self.checkpoint, self.config, self.options, &self.wanted, self.choices)?;
        self.choices = &self.choices[chosen..];
        Ok(model)
    }

    /// Shrinks the model after the device refused it; `false` if no smaller form is left. 8-bit weights come first,
    /// because their loss is not noticeable; then a default context longer than most conversations is halved, then
    /// weights go below 8 bits, then more of the context goes. Explicitly requested options are never changed.
    pub fn shrink(&mut self, refused: &Model) -> bool {
        let longer = |than: usize| self.options.context_length.is_none() && refused.context_length > than;
        match self.choices {
            [Quantization::None, _, ..] => self.choices = &self.choices[1..],
            _ if longer(CONTEXT_STEPS[0]) => self.wanted.kv_budget = refused.kv_bytes() / 2,
            [_, _, ..] => self.choices = &self.choices[1..],
            _ if longer(CONTEXT_STEPS[1]) => self.wanted.kv_budget = refused.kv_bytes() / 2,
            _ => return false,
        }
        true
    }
}
