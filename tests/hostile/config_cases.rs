//! Cases of wrong config.json files.

use minke::FormatKind::{self, *};

use super::campaign::open_config;
use super::guard::{Expect, expect};

/// A valid config; every case changes one line of it.
pub const CONFIG: &str = r#"{
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "eos_token_id": 3
}"#;

/// [`CONFIG`] with `"key": value` replaced or added.
fn with(key: &str, value: &str) -> String {
    let mut lines: Vec<String> =
        CONFIG.lines().filter(|line| !line.contains(&format!("\"{key}\""))).map(Into::into).collect();
    lines.insert(1, format!("    \"{key}\": {value},"));
    lines.join("\n").replace(",\n}", "\n}")
}

fn refused(name: &str, kind: FormatKind, text: &str) {
    let files = [("config.json", text.as_bytes())];
    expect(name, Expect::Kind(kind), &files, || open_config(text.as_bytes()).map(drop));
}

fn accepted(name: &str, text: &str) {
    let files = [("config.json", text.as_bytes())];
    expect(name, Expect::Accepted, &files, || open_config(text.as_bytes()).map(drop));
}

#[test]
fn syntax() {
    accepted("the good one", CONFIG);
    refused("C01 not_json", BadJson, "{");
    refused("C02 array", BadConfig, "[]");
    refused("C13 nan_literal", BadJson, &with("rms_norm_eps", "NaN"));
    refused("C25 proto_key", BadConfig, r#"{"__proto__":{"hidden_size":1}}"#);
    refused("C26 deep", LimitExceeded, &format!("{}{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)));
    refused("a key twice", DuplicateKey, &CONFIG.replacen('{', r#"{"hidden_size": 8,"#, 1));
}

#[test]
fn architectures() {
    let empty = with("architectures", "[]");
    let files = [("config.json", empty.as_bytes())];
    expect("C04 arch_list_empty", Expect::Architecture, &files, || open_config(empty.as_bytes()).map(drop));
    accepted("C05 auto_map", &with("auto_map", r#"{"AutoConfig": "configuration_x.Config"}"#));
}

#[test]
fn sizes() {
    refused("C07 heads_neg", BadConfig, &with("num_attention_heads", "-1"));
    refused("C08 indivisible", BadConfig, &with("hidden_size", "100").replace("heads\": 4", "heads\": 12"));
    refused("C10 layers_1e9", LimitExceeded, &with("num_hidden_layers", "1e9"));
    refused("C11 layers_float", BadConfig, &with("num_hidden_layers", "2.5"));
    refused("no layers", BadConfig, &with("num_hidden_layers", "0"));
    refused("a missing size", BadConfig, &with("hidden_size", "null"));
    refused("a vocabulary of 2^63", LimitExceeded, &with("vocab_size", "9223372036854775808"));
    refused("more key/value heads than heads", BadConfig, &with("num_key_value_heads", "8"));
    accepted("C19 ctx_1e12", &with("max_position_embeddings", "1e12"));
    assert_eq!(
        open_config(with("max_position_embeddings", "1e12").as_bytes()).unwrap().max_position_embeddings,
        1 << 24
    );
    refused("C20 head_dim_odd", BadConfig, &with("head_dim", "7"));
}

#[test]
fn values() {
    refused("C14 eps_string", BadConfig, &with("rms_norm_eps", r#""1e-6""#));
    refused("eps 0", BadConfig, &with("rms_norm_eps", "0"));
    refused("C16 theta_0", BadConfig, &with("rope_theta", "0"));
    refused("C17 rope_unknown", UnsupportedFeature, &with("rope_scaling", r#"{"type": "zzz", "factor": 2}"#));
    refused("a rope factor of 0", BadConfig, &with("rope_scaling", r#"{"type": "linear", "factor": 0}"#));
    refused("no rope factor", BadConfig, &with("rope_scaling", r#"{"rope_type": "llama3"}"#));
    refused("rope_scaling as a list", BadConfig, &with("rope_scaling", "[]"));
    refused("a quantised checkpoint", UnsupportedFeature, &with("quantization_config", r#"{"quant_method": "gptq"}"#));
    refused("C22 eos_range", BadConfig, &with("eos_token_id", "[999999999]"));
    refused("a negative eos", BadConfig, &with("eos_token_id", "-1"));
    let kinds = with("layer_types", r#"["full_attention"]"#).replace("\"llama\"", "\"qwen2\"");
    refused("layer_types of another length", BadConfig, &kinds);
    accepted("C23 no_eos", &with("eos_token_id", "null"));
}

/// Every case, for the table.
pub fn all() {
    syntax();
    architectures();
    sizes();
    values();
}
