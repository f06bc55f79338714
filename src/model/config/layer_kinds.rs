//! Which layers of a config.json see a window or a chunk of the context, and which have no positions: as the config lists them, or
//! by the family's rule, that of transformers' configuration class.

use serde_json::Value;

use super::classes;
use super::family::{Family, LayerRule};
use super::fields::{Fields, bad, unsupported};
use crate::Result;

/// What a layer's attention sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    Window,
    Chunk,
}

/// The layers of a model by what they see and know.
#[derive(Debug, Default)]
pub(super) struct LayerKinds {
    /// Tokens of a window, and whether each layer has it; empty where none does.
    pub window: (Option<usize>, Vec<bool>),
    /// Tokens of a chunk, likewise.
    pub chunk: (Option<usize>, Vec<bool>),
    /// Layers without positions; empty where all have them.
    pub no_rope: Vec<bool>,
}

impl LayerKinds {
    pub fn of(fields: Fields<'_>, family: &Family, layers: usize) -> Result<Self> {
        let no_rope = no_rope(fields, family, layers)?;
        let kinds = kinds(fields, family, &no_rope, layers)?;
        let of = |kind: Kind, key: &str| -> Result<(Option<usize>, Vec<bool>)> {
            let which: Vec<bool> = kinds.iter().map(|k| *k == kind).collect();
            if !which.contains(&true) {
                return Ok((None, Vec::new()));
            }
            let tokens = fields.size(key, u64::MAX >> 32)?.ok_or_else(|| fields.missing(key))?;
            Ok((Some(tokens), which))
        };
        Ok(Self {
            window: of(Kind::Window, "sliding_window")?,
            chunk: of(Kind::Chunk, "attention_chunk_size")?,
            no_rope,
        })
    }
}

/// Layers without positions. In transformers' configs 1 means that a layer has them.
fn no_rope(fields: Fields<'_>, family: &Family, layers: usize) -> Result<Vec<bool>> {
    if !classes::reads(family.name, "no_rope_layers") {
        return Ok(Vec::new());
    }
    let listed = match fields.get("no_rope_layers") {
        Some(Value::Array(list)) if list.is_empty() => None, // "by the interval"
        Some(Value::Array(list)) if list.len() >= layers => Some(&list[..layers]),
        Some(_) => return Err(bad(format!("no_rope_layers is no list of {layers} layers"))),
        None => None,
    };
    let Some(listed) = listed else {
        let interval = fields.unsigned("no_rope_layer_interval")?.filter(|&n| n > 0).unwrap_or(4);
        return Ok((1..=layers as u64).map(|n| n % interval == 0).collect());
    };
    let has_rope = listed.iter().map(|has_rope| match has_rope.as_u64() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(bad(format!("no_rope_layers has {has_rope}"))),
    });
    has_rope.collect()
}

/// What each layer sees.
fn kinds(fields: Fields<'_>, family: &Family, no_rope: &[bool], layers: usize) -> Result<Vec<Kind>> {
    // A switch of the Qwens and of SmolLM3, off where it is not there.
    let switched_off =
        classes::reads(family.name, "use_sliding_window") && !fields.bool("use_sliding_window")?.unwrap_or(false);
    let has_window = fields.get("sliding_window").is_some() && !switched_off;
    let from_layer = fields.unsigned("max_window_layers")?.unwrap_or(0);
    let by_rule = |layer: usize| {
        let (nth, window) = (layer as u64 + 1, |yes| if yes && has_window { Kind::Window } else { Kind::Full });
        Ok(match family.layers {
            LayerRule::Full => Kind::Full,
            LayerRule::Window => window(true),
            LayerRule::WindowAfterFirst => window(nth > from_layer),
            LayerRule::WindowAlternatingAmongFirst => window(nth % 2 == 1 && nth <= from_layer),
            LayerRule::WindowAlternating => window(nth % 2 == 1),
            LayerRule::WindowExceptEach(default) => {
                let every = fields.unsigned("sliding_window_pattern")?.filter(|&n| n > 0).unwrap_or(default);
                window(nth % every != 0)
            }
            LayerRule::WindowWithoutPositions => window(no_rope[layer]),
            LayerRule::ChunkWithPositions if !no_rope[layer] => Kind::Chunk,
            LayerRule::ChunkWithPositions => Kind::Full,
        })
    };
    match fields.get("layer_types").filter(|_| classes::reads(family.name, "layer_types")) {
        None => (0..layers).map(by_rule).collect(),
        Some(Value::Array(types)) if types.len() == layers => types
            .iter()
            .map(|kind| match kind.as_str() {
                Some("full_attention") => Ok(Kind::Full),
                Some("sliding_attention") if switched_off => {
                    Err(bad("layer_types has windows, which use_sliding_window switches off".into()))
                }
                Some("sliding_attention") => Ok(Kind::Window),
                Some("chunked_attention") => Ok(Kind::Chunk),
                _ => Err(unsupported(format!("layer_types has {kind}"))),
            })
            .collect(),
        Some(_) => Err(bad(format!("layer_types is no list of {layers} layers"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::architecture;

    /// The window, chunk and absence of positions of each of four layers, as letters.
    fn kinds(name: &str, more: &str) -> Result<String> {
        let text = format!(r#"{{"sliding_window": 8, "attention_chunk_size": 16, {more}}}"#);
        let Value::Object(object) = serde_json::from_str(&text).expect("JSON") else { unreachable!("it is an object") };
        let family = &architecture(name)?.family;
        let kinds = LayerKinds::of(Fields { file: "config.json", object: &object }, family, 4)?;
        let is = |which: &[bool], layer: usize| which.get(layer) == Some(&true);
        let letters = |layer| match (is(&kinds.window.1, layer), is(&kinds.chunk.1, layer), is(&kinds.no_rope, layer)) {
            (true, false, false) => "w",
            (true, false, true) => "W",
            (false, true, false) => "c",
            (false, true, true) => "C",
            (false, false, false) => "f",
            (false, false, true) => "F",
            (true, true, _) => panic!("a window and a chunk"),
        };
        Ok((0..4).map(letters).collect())
    }

    /// As transformers' configuration classes say.
    #[test]
    fn every_family_has_its_rule() {
        let on = r#""use_sliding_window": true, "max_window_layers": 2"#;
        for (name, more, expected) in [
            ("llama", r#""layer_types": null"#, "ffff"),
            ("mistral", r#""max_window_layers": 2"#, "wwww"),
            ("mixtral", r#""sliding_window": null"#, "ffff"),
            ("phi3", r#""layer_types": ["full_attention"]"#, "wwww"),
            ("qwen2", on, "ffww"),
            ("qwen3", on, "ffww"),
            ("qwen2_moe", on, "wfff"),
            ("qwen3_moe", on, "wwww"),
            ("qwen3_moe", r#""use_sliding_window": false"#, "ffff"),
            ("gpt_oss", r#""max_window_layers": 9"#, "wfwf"),
            ("gemma3_text", r#""sliding_window_pattern": 3"#, "wwfw"),
            ("smollm3", r#""no_rope_layer_interval": 2"#, "fFfF"),
            ("smollm3", r#""no_rope_layers": [1, 0, 1, 1], "use_sliding_window": true"#, "fWff"),
            ("llama4_text", r#""no_rope_layers": []"#, "cccF"),
            ("llama4_text", r#""no_rope_layers": [0, 1, 1, 1, 0]"#, "Fccc"),
        ] {
            assert_eq!(kinds(name, more).expect("kinds"), expected, "{name} {more}");
        }
    }

    #[test]
    fn lists_go_before_rules() {
        let list = |kinds: [&str; 4]| format!(r#""no_rope_layers": [1, 0, 1, 1], "layer_types": {kinds:?}"#);
        let (full, window, chunk) = ("full_attention", "sliding_attention", "chunked_attention");
        assert_eq!(kinds("gpt_oss", &list([full, window, window, full])).expect("kinds"), "fwwf");
        assert_eq!(kinds("llama4_text", &list([full, chunk, full, chunk])).expect("kinds"), "fCfc");
        assert!(kinds("gpt_oss", &list([full, window, window, "linear_attention"])).is_err());
        assert!(kinds("qwen2", &list([full, window, full, full])).is_err(), "switched off");
        assert!(kinds("qwen2", r#""layer_types": ["full_attention"]"#).is_err(), "too short");
    }
}
