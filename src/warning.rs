//! Warnings: faults of model files or devices that do not stop a model from running.

use std::fmt;

use serde::Serialize;

/// A fault of a model's files or of the device that a load can work around (`Warning` of the JavaScript API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What the warning is about.
    pub code: WarningCode,
    /// A sentence with the facts.
    pub message: String,
}

/// What a warning is about: the `code` of the JavaScript API, in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarningCode {
    /// The tensors and their description differ in a way that changes no weight.
    Checkpoint,
    /// A setting of config.json or of GGUF metadata is not used.
    Config,
    /// A default of generation_config.json makes no sense and is not used.
    GenerationConfig,
    /// A kernel variant computes wrong results on this device, or does not compile, and is not used.
    Kernel,
    /// The context is longer than rotary embeddings were made for without their scaling.
    Rope,
    /// The chat template was repaired, or cannot do something that is commonly expected.
    Template,
    /// The tokenizer's description is incomplete.
    Tokenizer,
    /// A file that was given is not used.
    UnusedFile,
}

impl Warning {
    /// Creates a warning.
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
