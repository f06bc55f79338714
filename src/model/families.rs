//! The model families: a row has a family's names in files, what its files leave to be known, and how it is built. Other files ask
//! the fields of a row; only here and in the file of an architecture are families named.

use super::config::{self, Family, GgufFamily, GgufKeys, LayerRule, ModelConfig, SharedWidth};
use super::{Builder, Layers, deepseek, gemma3, gpt_oss, llama, llama4, moe, phi3, qwen2, qwen3, smollm3};
use crate::kernels::Scoring;
use crate::weights::GgufMetadata;
use crate::weights::checkpoint::{Checkpoint, ConfigFacts};
use crate::{Error, Result};

/// An architecture: what is to be known of its files, and how it is built.
pub struct Architecture {
    /// Names and facts.
    pub family: Family,
    /// Declares the weights of all layers.
    pub build: fn(&mut Builder<'_>) -> Result<Box<dyn Layers>>,
}

impl Architecture {
    /// `model_type`.
    pub const fn name(&self) -> &'static str {
        self.family.name
    }
}

/// Every architecture the engine knows.
pub static ARCHITECTURES: &[Architecture] = &[
    Architecture {
        family: Family {
            gguf: Some(GgufFamily { interleaved_rope: true, latent: true, ..GgufFamily::plain("deepseek2") }),
            ..Family::plain("deepseek_v2")
        },
        build: deepseek::v2,
    },
    Architecture {
        family: Family {
            gguf: Some(GgufFamily {
                scoring: Some(Scoring::Sigmoid),
                interleaved_rope: true,
                latent: true,
                ..GgufFamily::plain("deepseek2")
            }),
            ..Family::plain("deepseek_v3")
        },
        build: deepseek::v3,
    },
    Architecture {
        family: Family {
            text_model_of: &["gemma3", "shieldgemma2"],
            layers: LayerRule::WindowExceptEach(6),
            scaled_embeddings: true,
            norm_offset: 1.0,
            gguf: Some(GgufFamily {
                period: 6,
                local_rope_base: Some(10_000.0),
                share_scaled_layers: Some(62), // the 27B model
                hidden_act: "gelu_pytorch_tanh",
                ..GgufFamily::plain("gemma3")
            }),
            ..Family::plain("gemma3_text")
        },
        build: gemma3::build,
    },
    Architecture {
        family: Family {
            layers: LayerRule::WindowAlternating,
            gguf: Some(GgufFamily {
                reads: &["swiglu_clamp_exp"],
                period: 2,
                yarn_truncate: false,
                ..GgufFamily::plain("gpt-oss")
            }),
            ..Family::plain("gpt_oss")
        },
        build: gpt_oss::build,
    },
    Architecture {
        family: Family {
            gguf: Some(GgufFamily { interleaved_rope: true, ..GgufFamily::plain("granitemoe") }),
            ..Family::plain("granitemoe")
        },
        build: moe::granitemoe,
    },
    Architecture {
        family: Family {
            text_model_of: &["idefics3", "llava", "llava_next", "smolvlm", "video_llava", "vipllava"],
            gguf: Some(GgufFamily { interleaved_rope: true, ..GgufFamily::plain("llama") }), // Mistral and Mixtral, too
            ..Family::plain("llama")
        },
        build: llama::build,
    },
    Architecture {
        family: Family {
            text_model_of: &["llama4"],
            layers: LayerRule::ChunkWithPositions,
            interleaved_rope: true,
            gguf: Some(GgufFamily {
                reads: &["attention.temperature_scale"],
                interleaved_rope: true,
                period: 4,
                no_rope_last: true,
                chunked: true,
                no_qk_norm_experts: Some(128), // Maverick
                shared_expert: SharedWidth::Expert,
                ..GgufFamily::plain("llama4")
            }),
            ..Family::plain("llama4_text")
        },
        build: llama4::build,
    },
    Architecture {
        family: Family { text_model_of: &["mistral3"], layers: LayerRule::Window, ..Family::plain("mistral") },
        build: llama::build,
    },
    Architecture { family: Family { layers: LayerRule::Window, ..Family::plain("mixtral") }, build: llama::build },
    Architecture {
        family: Family { gguf: Some(GgufFamily::plain("olmoe")), ..Family::plain("olmoe") },
        build: moe::olmoe,
    },
    Architecture {
        family: Family {
            layers: LayerRule::Window,
            long_rope_types: &["su", "yarn"], // its older ones
            gguf: Some(GgufFamily::plain("phi3")),
            ..Family::plain("phi3")
        },
        build: phi3::build,
    },
    Architecture {
        family: Family {
            text_model_of: &["internvl"],
            layers: LayerRule::WindowAfterFirst,
            gguf: Some(GgufFamily::plain("qwen2")),
            ..Family::plain("qwen2")
        },
        build: qwen2::build,
    },
    Architecture {
        family: Family {
            layers: LayerRule::WindowAlternatingAmongFirst,
            gguf: Some(GgufFamily {
                experts_share_width: true,
                shared_expert: SharedWidth::FeedForward,
                ..GgufFamily::plain("qwen2moe")
            }),
            ..Family::plain("qwen2_moe")
        },
        build: moe::qwen2_moe,
    },
    Architecture {
        family: Family {
            layers: LayerRule::WindowAfterFirst,
            gguf: Some(GgufFamily::plain("qwen3")),
            ..Family::plain("qwen3")
        },
        build: qwen3::build,
    },
    Architecture {
        family: Family {
            layers: LayerRule::Window,
            gguf: Some(GgufFamily { experts_share_width: true, ..GgufFamily::plain("qwen3moe") }),
            ..Family::plain("qwen3_moe")
        },
        build: moe::qwen3_moe,
    },
    Architecture {
        family: Family {
            layers: LayerRule::WindowWithoutPositions,
            gguf: Some(GgufFamily {
                interleaved_rope: true,
                period: 4,
                no_rope_last: true,
                ..GgufFamily::plain("smollm3")
            }),
            ..Family::plain("smollm3")
        },
        build: smollm3::build,
    },
];

/// Finds an architecture by name.
///
/// # Errors
/// [`Error::Architecture`] with the names there are.
pub fn architecture(name: &str) -> Result<&'static Architecture> {
    ARCHITECTURES
        .iter()
        .find(|a| a.name() == name)
        .ok_or_else(|| unknown(name, ARCHITECTURES.iter().map(Architecture::name)))
}

/// The architecture's name, from the configuration alone; empty where config.json's list of architectures is.
///
/// # Errors
/// `BadConfig` or `MissingKey` where the file does not name one, [`Error::Architecture`] where GGUF's name is not known.
pub fn architecture_name(facts: &ConfigFacts) -> Result<String> {
    match facts {
        ConfigFacts::Json(config) => {
            let config::Named { model_type, multimodal } = config::named(config)?;
            let whole = |a: &&Architecture| multimodal && a.family.text_model_of.contains(&model_type);
            Ok(ARCHITECTURES.iter().find(whole).map_or(model_type, |a| a.name()).into())
        }
        ConfigFacts::Gguf(metadata) => Ok(in_gguf(metadata)?.name().into()),
    }
}

/// The architecture that GGUF metadata names; of two that share a name, the one whose scores the file states.
fn in_gguf(metadata: &GgufMetadata) -> Result<&'static Architecture> {
    let keys = GgufKeys::of(metadata)?;
    let in_gguf = || ARCHITECTURES.iter().filter_map(|a| Some((a, a.family.gguf.as_ref()?)));
    let named = || in_gguf().filter(|(_, gguf)| gguf.name == keys.prefix);
    let scoring = if named().any(|(_, gguf)| gguf.scoring.is_some()) { keys.scoring()? } else { None };
    let found = named().find(|(_, gguf)| gguf.scoring == scoring).or_else(|| named().next());
    found
        .map(|(architecture, _)| architecture)
        .ok_or_else(|| unknown(keys.prefix, in_gguf().map(|(_, gguf)| gguf.name)))
}

fn unknown(name: &str, known: impl Iterator<Item = &'static str>) -> Error {
    let mut supported: Vec<String> = known.map(str::to_owned).collect();
    supported.dedup();
    Error::Architecture { name: name.chars().take(64).collect(), supported } // a file may name anything
}

impl ModelConfig {
    /// The facts in a configuration alone; `has` tells whether the checkpoint has a tensor of that published name.
    ///
    /// # Errors
    /// [`Error::Architecture`] where the architecture is not known, [`Error::Format`] where a fact is missing or wrong.
    pub fn from_facts(facts: &ConfigFacts, has: &dyn Fn(&str) -> bool) -> Result<Self> {
        Self::read(facts, &architecture(&architecture_name(facts)?)?.family, has)
    }

    /// The facts of an opened checkpoint. Every block of a GGUF file must have tensors.
    ///
    /// # Errors
    /// As [`Self::from_facts`], and where tensors are missing or quantised in a way that is not read.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        Self::read_checkpoint(checkpoint, &architecture(&architecture_name(&checkpoint.config)?)?.family)
    }
}
