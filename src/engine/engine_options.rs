//! Load options as the JavaScript side passes them.

use serde::Deserialize;

use super::load_options::{LoadOptions, RunOn};
use super::rules::RULES;
use crate::Result;
use crate::kernels::{KvFormat, Variants};
use crate::model::Quantization;

/// The load options that reach the engine (`EngineOptions` in `pkg/src/wasm.ts`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EngineOptions {
    context_length: Option<f64>,
    quantization: Option<String>,
    kv_cache: Option<String>,
    device: Option<String>,
    threads: Option<f64>,
    power_preference: Option<String>,
    internal: Internal,
}

/// Options of tests, `internal` in JavaScript. They are declared here only: the package passes them on as they are, apart from its
/// own `clockRate`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Internal {
    /// The largest storage binding, in bytes.
    max_binding: Option<u64>,
    /// See [`LoadOptions`], as for all that follow.
    weight_budget: Option<u64>,
    copies_budget: Option<u64>,
    f32: bool,
    without_reuse: bool,
    without_jumps: bool,
    without_self_test: bool,
    variants: Option<Variants>,
}

impl EngineOptions {
    /// Checks the options against the table.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`]
    pub fn load_options(&self) -> Result<LoadOptions> {
        let rules = &RULES.load;
        if let Some(n) = self.context_length {
            rules.number("contextLength", n)?;
        }
        if let Some(n) = self.threads {
            rules.number("threads", n)?;
        }
        let quantization = match self.quantization.as_deref() {
            None | Some("auto") => None,
            Some("none") => Some(Quantization::None),
            Some("q8") => Some(Quantization::Q8),
            Some("q4") => Some(Quantization::Q4),
            Some(other) => return Err(rules.refused("quantization", &other)),
        };
        let kv_cache = match self.kv_cache.as_deref() {
            None | Some("auto") => None,
            Some("f16") => Some(KvFormat::F16),
            Some("q8") => Some(KvFormat::Q8),
            Some(other) => return Err(rules.refused("kvCache", &other)),
        };
        let run_on = match self.device.as_deref() {
            None | Some("auto") => RunOn::Auto,
            Some("gpu") => RunOn::Gpu,
            Some("cpu") => RunOn::Cpu,
            Some(other) => return Err(rules.refused("device", &other)),
        };
        let high_performance = match self.power_preference.as_deref() {
            None => None,
            Some("high-performance") => Some(true),
            Some("low-power") => Some(false),
            Some(other) => return Err(rules.refused("powerPreference", &other)),
        };
        let Internal { max_binding, weight_budget, copies_budget, variants, .. } = self.internal;
        let Internal { f32, without_reuse, without_jumps, without_self_test, .. } = self.internal;
        let mut options = LoadOptions {
            quantization,
            kv_cache,
            weight_budget,
            context_length: self.context_length.map(|n| n as usize),
            f32,
            without_reuse,
            without_jumps,
            without_self_test,
            variants,
            copies_budget,
            run_on,
            threads: self.threads.map(|n| n as usize),
            ..LoadOptions::default()
        };
        options.device.high_performance = high_performance;
        options.device.max_binding = max_binding;
        Ok(options)
    }
}
