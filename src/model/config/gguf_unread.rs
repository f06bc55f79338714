//! GGUF metadata that changes what a model computes and that nothing here computes.

use super::family::GgufFamily;
use crate::weights::GgufMetadata;
use crate::weights::metadata::GgufValue;
use crate::{Error, FormatKind, Result};

/// Keys below the architecture's name, with the value at which they change nothing. A family that reads one of them has it in its `reads`.
const NEUTRAL: &[(&str, f64)] = &[
    ("attention.causal", 1.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.output_scale", 1.0),
    ("attention.shared_kv_layers", 0.0),
    ("attention.temperature_scale", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("final_logit_softcapping", 0.0),
    ("expert_group_scale", 0.0),
    ("rope.scaling.alpha", 0.0),
    ("rope.scaling.yarn_attn_factor", 1.0),
    ("rope.scaling.yarn_ext_factor", 1.0),
    ("router_logit_softcapping", 0.0),
    ("swiglu_clamp_exp", 0.0),
    ("swiglu_clamp_shexp", 0.0),
    ("use_parallel_residual", 0.0),
];

/// Refuses a file that asks for what is not computed, naming the key.
///
/// # Errors
/// `UnsupportedFeature`.
pub(super) fn refuse(metadata: &GgufMetadata, family: &GgufFamily) -> Result<()> {
    for (name, neutral) in NEUTRAL {
        if family.reads.contains(name) {
            continue;
        }
        let key = format!("{}.{name}", family.name);
        let number = match metadata.get(&key) {
            None => continue,
            Some(GgufValue::Bool(value)) => Some(f64::from(u8::from(*value))),
            Some(_) => metadata.float_or_same(&key).ok().flatten(),
        };
        // Negative extension factors mean that the type of scaling decides.
        let by_type = *name == "rope.scaling.yarn_ext_factor" && number.is_some_and(|n| n < 0.0);
        if number != Some(*neutral) && !by_type {
            let value = number.map_or_else(|| "no number".to_owned(), |n| n.to_string());
            let message = format!("metadata key {key:?} is {value}; only {neutral} is supported");
            return Err(Error::format(FormatKind::UnsupportedFeature, &metadata.file, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::metadata::GgufArray;

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        let with = |key: &str, value: GgufValue| {
            let values = [(format!("llama.{key}"), value)].into_iter().collect();
            refuse(&GgufMetadata { file: "m.gguf".into(), values }, &GgufFamily::plain("llama"))
        };
        let refused = [
            ("attention.causal", GgufValue::Bool(false)),
            ("attention.clamp_kqv", GgufValue::F32(8.0)),
            ("attn_logit_softcapping", GgufValue::F32(50.0)),
            ("use_parallel_residual", GgufValue::Bool(true)),
            ("attention.max_alibi_bias", GgufValue::String("8".into())),
            ("swiglu_clamp_exp", GgufValue::Array(GgufArray::F32(vec![7.0; 2]))),
        ];
        for (key, value) in refused {
            let error = with(key, value).unwrap_err();
            assert!(matches!(error, Error::Format { kind: FormatKind::UnsupportedFeature, .. }), "{key}: {error}");
            assert!(error.to_string().contains(key), "{key}: {error}");
        }
        let harmless = [
            ("attention.causal", GgufValue::Bool(true)),
            ("final_logit_softcapping", GgufValue::F32(0.0)),
            ("rope.scaling.yarn_ext_factor", GgufValue::F32(-1.0)),
            ("rope.scaling.finetuned", GgufValue::Bool(true)),
            ("swiglu_clamp_exp", GgufValue::Array(GgufArray::F32(vec![0.0; 2]))),
        ];
        for (key, value) in harmless {
            with(key, value).unwrap_or_else(|e| panic!("{key}: {e}"));
        }
    }
}
