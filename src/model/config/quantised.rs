//! Quantisations of safetensors that are read, and the others by their names: as config.json declares them, and as tensors show
//! them where it does not.

use serde_json::{Value, json};

use super::fields::{Fields, unsupported};
use crate::weights::dtype::Dtype;
use crate::weights::load::FP8_BLOCK;
use crate::weights::{Checkpoint, TensorEntry};
use crate::{Error, FormatKind, Result};

/// Methods by the `quant_method` of a config, and what people call them.
const METHODS: &[(&str, &str)] = &[
    ("aqlm", "AQLM"),
    ("awq", "AWQ"),
    ("bitsandbytes", "bitsandbytes"),
    ("compressed-tensors", "compressed-tensors"),
    ("eetq", "EETQ"),
    ("fbgemm_fp8", "FBGEMM's FP8"),
    ("gptq", "GPTQ"),
    ("hqq", "HQQ"),
    ("modelopt", "NVIDIA ModelOpt"),
    ("quanto", "quanto"),
    ("torchao", "torchao"),
];

/// What only one method's tensors are called, by the ends of their names. The first that fits is it.
const MARKS: &[(&str, &[&str])] = &[
    ("MLX", &[".scales", ".biases"]),
    ("GPTQ", &[".qweight", ".g_idx"]),
    ("AWQ", &[".qweight", ".qzeros"]),
    ("bitsandbytes", &[".weight.absmax"]),
    ("bitsandbytes", &[".SCB"]),
    ("compressed-tensors", &[".weight_packed"]),
    ("NVIDIA ModelOpt", &[".weight_scale_2"]),
    ("AQLM", &[".codebooks"]),
    ("HQQ", &[".W_q"]),
    ("quanto", &[".weight._data"]),
    ("EETQ", &[".weight_scales"]),
];

/// Refuses a quantisation that a config declares and nothing here reads; one that is switched off is none.
///
/// # Errors
/// `UnsupportedFeature`, which names the method.
pub(super) fn check(fields: Fields<'_>) -> Result<()> {
    let Some(declared) = ["quantization_config", "quantization"].iter().find_map(|key| fields.get(key)) else {
        return Ok(());
    };
    if is_off(declared) {
        return Ok(());
    }
    let method = declared["quant_method"].as_str().unwrap_or_default();
    let blocks = declared.get("weight_block_size") == Some(&json!([FP8_BLOCK, FP8_BLOCK]));
    if method == "mxfp4" || method == "fp8" && blocks {
        return Ok(());
    }
    if method == "fp8" {
        return Err(unsupported(format!("FP8 weights without scales for blocks of {FP8_BLOCK} by {FP8_BLOCK}")));
    }
    // MLX writes no method, and group_size beside bits.
    let of_mlx = method.is_empty() && !declared["group_size"].is_null() && !declared["bits"].is_null();
    let known = METHODS.iter().find(|(key, _)| *key == method).map(|(_, name)| *name);
    let name =
        if of_mlx { "MLX" } else { known.unwrap_or(if method.is_empty() { "an unnamed method" } else { method }) };
    Err(unsupported(format!("weights quantised by {name}; {READ}")))
}

const READ: &str = "read are F32, F16, BF16, FP8 with scales for blocks, MXFP4, and GGUF's formats";

/// Whether what is declared changes no weight.
fn is_off(declared: &Value) -> bool {
    let off = |key: &str| match &declared[key] {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Object(groups) => groups.is_empty(),
        _ => false,
    };
    let bits = ["bits", "w_bit", "quantization_bit"].iter().find_map(|key| declared[*key].as_f64());
    match declared["quant_method"].as_str().unwrap_or("") {
        _ if declared.as_object().is_none_or(|object| object.is_empty()) => true,
        _ if declared["enabled"] == false || bits.is_some_and(|bits| bits == 0.0 || bits >= 16.0) => true,
        "none" => true,
        "" => bits.is_none() && off("load_in_4bit") && off("load_in_8bit") && off("config_groups"),
        "bitsandbytes" => ["load_in_4bit", "load_in_8bit", "_load_in_4bit", "_load_in_8bit"].into_iter().all(off),
        "compressed-tensors" => off("config_groups"),
        "quanto" => off("weights"),
        _ => false,
    }
}

/// Refuses tensors that another project quantised, whatever the config says.
///
/// # Errors
/// `UnsupportedFeature`, which names the method and a tensor.
pub(super) fn check_tensors(checkpoint: &Checkpoint) -> Result<()> {
    let ends = |end: &str| checkpoint.tensors.values().find(|entry| entry.name.ends_with(end));
    let marked = MARKS.iter().find_map(|(name, marks)| {
        let found: Option<Vec<&TensorEntry>> = marks.iter().map(|mark| ends(mark)).collect();
        Some((*name, *found?.first()?))
    });
    // One scale for a tensor or for each row.
    let fp8 = || {
        ends(".weight_scale").filter(|scale| {
            let weight = checkpoint.tensors.get(scale.name.trim_end_matches("_scale"));
            weight.is_some_and(|weight| weight.dtype == Dtype::F8_E4M3)
        })
    };
    let found = marked.or_else(|| fp8().map(|entry| ("FP8 without scales for blocks", entry)));
    let Some((name, entry)) = found else { return Ok(()) };
    let message = format!("weights quantised by {name} (tensor {:?}); {READ}", entry.name);
    Err(Error::format(FormatKind::UnsupportedFeature, checkpoint.shards[entry.shard].name(), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(config: Value) -> Result<()> {
        let object = json!({ "quantization_config": config });
        check(Fields { file: "config.json", object: object.as_object().expect("an object") })
    }

    #[test]
    fn what_is_switched_off_is_none() {
        for off in [
            json!({}),
            json!({ "quant_method": "bitsandbytes", "load_in_4bit": false, "load_in_8bit": false }),
            json!({ "quant_method": "none" }),
            json!({ "quant_method": "compressed-tensors", "config_groups": {} }),
            json!({ "quant_method": "quanto", "weights": null }),
            json!({ "quant_method": "gptq", "bits": 16 }),
            json!({ "load_in_8bit": false }),
        ] {
            assert_eq!(checked(off.clone()), Ok(()), "{off}");
        }
    }

    #[test]
    fn others_are_named() {
        for (config, name) in [
            (json!({ "quant_method": "bitsandbytes", "load_in_4bit": true }), "bitsandbytes"),
            (json!({ "quant_method": "gptq", "bits": 4 }), "GPTQ"),
            (json!({ "quant_method": "awq", "bits": 4 }), "AWQ"),
            (json!({ "group_size": 64, "bits": 4 }), "MLX"),
            (json!({ "quant_method": "fp8", "weight_block_size": null }), "FP8"),
            (json!({ "quant_method": "new" }), "new"),
            (json!({ "x": 1, "load_in_4bit": true }), "an unnamed method"),
        ] {
            let error = checked(config.clone()).expect_err("refused").to_string();
            assert!(error.contains(name), "{config}: {error}");
        }
        assert_eq!(checked(json!({ "quant_method": "mxfp4" })), Ok(()));
        assert_eq!(checked(json!({ "quant_method": "fp8", "weight_block_size": [128, 128] })), Ok(()));
    }
}
