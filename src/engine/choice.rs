//! Which variants of kernels a load uses: those that suit the device, or those that were found the fastest there, by this load or an earlier
//! one.

use std::rc::Rc;

use super::choices::Choices;
use super::load_options::LoadOptions;
use crate::kernels::{SelfTest, Tuning, Variants};
use crate::model::{Model, Plans};
use crate::plan::{DeviceFacts, Executor, Plan, ShaderId};
use crate::{Error, Result, Warning, WarningCode};

/// The choice of one model's variants.
pub(super) struct Choice {
    /// What suits the device.
    usual: Variants,
    kept: Option<&'static Choices>,
}

impl Choice {
    pub fn new(options: &LoadOptions, facts: &DeviceFacts) -> Self {
        let usual = options.variants.unwrap_or_else(|| Variants::of(facts));
        let open = options.variants.is_none() && !options.f32 && !options.without_self_test && !facts.on_processor();
        Self { usual: if options.f32 { usual.in_f32() } else { usual }, kept: options.tuning.filter(|_| open) }
    }

    /// The variants to begin with, and what is still to be found out.
    pub fn begin(&self, model: &Model, facts: &DeviceFacts, clock: fn() -> f64) -> (Variants, Option<Tuning>) {
        let Some(kept) = self.kept else { return (self.usual, None) };
        let plans = [&model.plans.decode, &model.plans.prefill];
        let tuning = Tuning::new(plans, model.chunk, &model.buffers, facts, self.usual, clock);
        match kept.get(tuning.key()) {
            Some(bits) => (Variants::of_bits(bits), None),
            None => (self.usual, Some(tuning).filter(|tuning| !tuning.plans.is_empty())),
        }
    }

    /// Keeps what was found out.
    pub fn keep(&self, tuning: &Tuning, variants: Variants) {
        if let Some(kept) = self.kept {
            kept.set(tuning.key(), variants.bits());
        }
    }

    /// Does without other variants than `left` from now on, and finds out nothing; `false` if that changes nothing.
    pub fn fall_back(&mut self, left: Variants) -> bool {
        let other = self.usual != left || self.kept.is_some();
        (self.usual, self.kept) = (left, None);
        other
    }
}

/// The kernels of plans that compute wrong results on this device. The test is skipped if its few hundred kilobytes cannot be
/// allocated.
pub(super) async fn failures(plans: &Plans, more: &[Plan], executor: &Rc<dyn Executor>) -> Result<Vec<ShaderId>> {
    let mut all = plans.all().to_vec();
    for plan in more {
        all.push(plan);
    }
    // The plans are in the variants that run.
    match SelfTest::new(&all, Variants::default()).failures(executor).await {
        Err(Error::Memory { .. }) => Ok(Vec::new()),
        result => result,
    }
}

/// Whether a plan runs one of the shaders.
pub(super) fn runs(plans: &Plans, shaders: &[ShaderId]) -> bool {
    plans.all().iter().any(|plan| plan.steps.iter().any(|step| shaders.contains(&step.shader.id)))
}

/// The variants to fall back to where some compute wrong results, with a warning.
///
/// # Errors
/// [`Error::NoWebGpu`] where a base kernel does.
pub(super) fn without(wrong: &[ShaderId], mut variants: Variants) -> Result<(Variants, Warning)> {
    let names = wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if variants.drop_wrong(wrong) {
        let message = format!("kernel variants are not used: {names} computes wrong results on this device");
        return Ok((variants, Warning::new(WarningCode::Kernel, message)));
    }
    let reason = format!("it computes wrong results on this device ({names}); a newer driver or browser may fix this");
    Err(Error::NoWebGpu { reason })
}
