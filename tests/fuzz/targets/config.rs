//! Fuzzes config.json and generation_config.json.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minke::model::config::{GenerationDefaults, ModelConfig};
use minke::weights::checkpoint::ConfigFacts;
use minke::weights::json;

#[path = "../bounds.rs"]
mod bounds;

fuzz_target!(|data: &[u8]| {
    bounds::bounded(|| {
        let _ = GenerationDefaults::parse(data, 1000);
        let Ok(value) = json::parse("config.json", data) else { return };
        let Ok(config) = ModelConfig::from_facts(&ConfigFacts::Json(value), &|_| true) else { return };
        assert!(config.num_heads.is_multiple_of(config.num_kv_heads) && config.head_dim.is_multiple_of(2));
        assert!(config.rope.rotary_dim <= config.head_dim && config.rms_norm_eps > 0.0);
        let (frequencies, scale) = config.rope.inv_freq(4096);
        assert!(frequencies.len() == config.rope.rotary_dim / 2 && scale.is_finite());
        assert!((0..config.num_layers).all(|layer| config.window(layer).is_none_or(|window| window > 0)));
    });
});
