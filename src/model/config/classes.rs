//! The keys of a config.json as the configuration class of its model family in transformers reads them. A key that the
//! class does not declare has no effect and is dropped; a key that is left out has the class's default. Of a multimodal
//! config the text model's part counts. `defaults.json` holds keys and defaults of every family and is written by
//! `defaults.py`.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// For each family the keys that its class knows, with their defaults; `defaults.py` writes the file.
static CLASSES: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("defaults.json")).expect("defaults.json is an object"));

/// Names for the number of experts. A class keeps one of them and understands the others.
const EXPERT_COUNTS: [&str; 3] = ["num_experts", "num_local_experts", "n_routed_experts"];

/// What a multimodal config says of its text model outside `text_config`.
const OUTSIDE: [&str; 5] =
    ["bos_token_id", "eos_token_id", "quantization", "quantization_config", "tie_word_embeddings"];

/// Whether the class of a family, by its `model_type`, reads a key.
pub(super) fn reads(family: &str, key: &str) -> bool {
    CLASSES.get(family).is_some_and(|class| class.get(key).is_some())
}

/// The text model's part of a multimodal config.
pub(super) fn text_part(config: &Map<String, Value>) -> Option<&Map<String, Value>> {
    config.get("text_config").and_then(Value::as_object)
}

/// The `model_type` of a config's text model, as far as it says.
pub(super) fn model_type(config: &Map<String, Value>) -> Option<&Value> {
    text_part(config).and_then(|inner| inner.get("model_type")).or_else(|| config.get("model_type"))
}

/// The keys of a family's config, defaults filled in. `null` says that there is no value, and overrides a default.
pub(super) fn read(config: &Map<String, Value>, family: &str) -> Map<String, Value> {
    let mut keys = match text_part(config) {
        None => config.clone(),
        Some(inner) => {
            let outside = OUTSIDE.iter().filter_map(|key| Some(((*key).to_owned(), config.get(*key)?.clone())));
            let mut keys: Map<String, Value> = outside.filter(|(_, value)| !value.is_null()).collect();
            keys.extend(inner.clone());
            keys
        }
    };
    let Some(class) = CLASSES.get(family).and_then(Value::as_object) else { return keys };
    if let Some(own) = EXPERT_COUNTS.iter().find(|key| class.contains_key(**key))
        && let Some(given) =
            EXPERT_COUNTS.iter().find_map(|key| keys.get(*key).filter(|value| !value.is_null()).cloned())
    {
        keys.insert((*own).to_owned(), given);
    }
    let known_elsewhere = |key: &String| CLASSES.values().any(|class| class.get(key).is_some());
    keys.retain(|key, _| class.contains_key(key) || !known_elsewhere(key));
    for (key, default) in class {
        // There is always a rope: `null` means the class's.
        let missing = keys.get(key).is_none_or(|value| value.is_null() && key == "rope_parameters");
        if missing && !default.is_null() {
            keys.insert(key.clone(), default.clone());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ARCHITECTURES, architecture_name};
    use crate::weights::checkpoint::ConfigFacts;
    use serde_json::json;

    fn keys(config: &Value, family: &str) -> Value {
        Value::Object(read(config.as_object().expect("an object"), family))
    }

    #[test]
    fn what_a_class_does_not_know_is_not_read() {
        let llama = keys(&json!({ "num_experts": 8, "sliding_window": 4096, "license": "mit" }), "llama");
        assert_eq!([&llama["num_experts"], &llama["sliding_window"]], [&Value::Null; 2]);
        assert_eq!((&llama["license"], &llama["hidden_size"]), (&json!("mit"), &json!(4096)));
        assert_eq!(keys(&json!({ "attention_bias": true }), "mistral")["attention_bias"], Value::Null);
        assert_eq!(keys(&json!({ "norm_topk_prob": true }), "mixtral")["norm_topk_prob"], Value::Null);
    }

    #[test]
    fn a_count_of_experts_has_many_names() {
        assert_eq!(keys(&json!({ "num_local_experts": 4 }), "olmoe")["num_experts"], 4);
        assert_eq!(keys(&json!({ "n_routed_experts": 4 }), "qwen3_moe")["num_experts"], 4);
        assert_eq!(keys(&json!({}), "mixtral")["num_local_experts"], 8);
    }

    #[test]
    fn null_is_no_value_and_no_default() {
        assert_eq!(keys(&json!({ "sliding_window": null }), "mistral")["sliding_window"], Value::Null);
        assert_eq!(keys(&json!({}), "mistral")["sliding_window"], 4096);
        assert_eq!(keys(&json!({ "rope_parameters": null }), "gpt_oss")["rope_parameters"]["rope_type"], "yarn");
    }

    #[test]
    fn the_text_model_counts() {
        let config =
            json!({ "model_type": "llava", "vocab_size": 1, "eos_token_id": 7, "text_config": { "vocab_size": 9 } });
        let name = architecture_name(&ConfigFacts::Json(config.clone()));
        assert_eq!(name.as_deref(), Ok("llama"));
        let read = keys(&config, "llama");
        assert_eq!((&read["vocab_size"], &read["eos_token_id"]), (&json!(9), &json!(7)));
    }

    #[test]
    fn every_family_has_its_class() {
        let families: Vec<&str> = ARCHITECTURES.iter().map(|a| a.name()).collect();
        assert_eq!(CLASSES.keys().collect::<Vec<_>>(), families);
    }
}
