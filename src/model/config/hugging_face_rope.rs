//! Rotary position embeddings of a config.json, as transformers' `modeling_rope_utils.py` reads them: `rope_scaling` (the older
//! key) goes before `rope_parameters`, whose missing values stand beside it.

use serde_json::{Map, Value};

use super::classes;
use super::family::Family;
use super::fields::{FILE, Fields, bad, unsupported};
use super::rope::{RopeConfig, RopeScaling};
use crate::{Error, Result, Warning, WarningCode};

/// The ropes of a model.
pub(super) struct Ropes {
    pub rope: RopeConfig,
    /// The rope of layers with a window, if it differs.
    pub local_rope: Option<RopeConfig>,
    pub warnings: Vec<Warning>,
}

impl Ropes {
    pub fn read(fields: Fields<'_>, family: &Family, head_dim: usize, max_positions: usize) -> Result<Self> {
        let section = |key: &str| match fields.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object).filter(|object| !object.is_empty())),
            Some(_) => Err(fields.wrong(key, "an object")),
        };
        let (older, newer) = (section("rope_scaling")?, section("rope_parameters")?);
        let base = fields.number("rope_theta")?.unwrap_or(10_000.0); // RoPE's own, where no class says another
        let mut reader = Reader { fields, family, max_positions, warnings: Vec::new() };
        let whole = |rotary_dim: usize| RopeConfig {
            theta: base,
            rotary_dim,
            interleaved: family.interleaved_rope,
            scaling: RopeScaling::None,
        };
        // Families of two ropes keep them by kind of layer; one that is older has the second base beside the first.
        if let Some(local_base) = fields.number("rope_local_base_freq")? {
            let of = |kind: &str| {
                newer.and_then(|kinds| kinds.get(kind)).and_then(Value::as_object).cloned().unwrap_or_default()
            };
            let mut full = of("full_attention");
            full.extend(older.cloned().unwrap_or_default());
            let rope = reader.rope(&full, base, whole(head_dim))?;
            let local_rope = Some(reader.rope(&of("sliding_attention"), local_base, whole(head_dim))?);
            return Ok(Self { rope, local_rope, warnings: reader.warnings });
        }
        let none = Map::new();
        let parameters = older.or(newer).unwrap_or(&none);
        if parameters.values().any(Value::is_object) {
            return Err(unsupported("rope_parameters differ between kinds of layers".into()));
        }
        let partial = match (Fields { file: FILE, object: parameters }).number("partial_rotary_factor")? {
            Some(inside) => Some(inside),
            None => fields.number("partial_rotary_factor")?,
        };
        let partial = partial.filter(|_| classes::reads(family.name, "partial_rotary_factor")).unwrap_or(1.0);
        if !(partial > 0.0 && partial <= 1.0) {
            return Err(bad(format!("partial_rotary_factor is {partial}")));
        }
        let rope = reader.rope(parameters, base, whole((head_dim as f64 * partial) as usize))?;
        Ok(Self { rope, local_rope: None, warnings: reader.warnings })
    }
}

struct Reader<'a> {
    fields: Fields<'a>,
    family: &'a Family,
    max_positions: usize,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    /// The rope of one set of parameters; what they leave out is `base`'s, and `whole`'s.
    fn rope(&mut self, parameters: &Map<String, Value>, base: f64, whole: RopeConfig) -> Result<RopeConfig> {
        let parameters = Fields { file: FILE, object: parameters };
        let theta = parameters.number("rope_theta")?.unwrap_or(base);
        Ok(RopeConfig { theta, scaling: self.scaling(parameters)?, ..whole })
    }

    fn scaling(&mut self, scaling: Fields<'_>) -> Result<RopeScaling> {
        let kind = match scaling.string("rope_type")? {
            Some(kind) => Some(kind),
            None => scaling.string("type")?,
        };
        let required = |key: &str| scaling.number(key)?.ok_or_else(|| bad(format!("rope_scaling: {key} is missing")));
        let max_positions = self.max_positions as f64;
        Ok(match kind {
            None if scaling.get("factor").is_none() => RopeScaling::None,
            None => {
                let message =
                    "config.json: rope_scaling has a factor and no rope_type; it is not used, as in transformers";
                self.warnings.push(Warning::new(WarningCode::Config, message));
                RopeScaling::None
            }
            // NTK scaling begins past max_position_embeddings, where no context here reaches.
            Some("default" | "dynamic") => RopeScaling::None,
            Some(kind) if self.family.long_rope_types.contains(&kind) => self.long(scaling)?,
            Some("linear") => RopeScaling::Linear { factor: required("factor")? },
            Some("llama3") => RopeScaling::Llama3 {
                factor: required("factor")?,
                low_freq_factor: required("low_freq_factor")?,
                high_freq_factor: required("high_freq_factor")?,
                original_max_position: self.original(scaling)?,
            },
            Some("yarn") => {
                let original = self.original(scaling)?;
                // 0 means "not given" to the reference.
                let given = |key: &str| Ok::<_, Error>(scaling.number(key)?.filter(|value| *value != 0.0));
                RopeScaling::Yarn {
                    factor: scaling.number("factor")?.unwrap_or(max_positions / original),
                    beta_fast: given("beta_fast")?.unwrap_or(32.0),
                    beta_slow: given("beta_slow")?.unwrap_or(1.0),
                    original_max_position: original,
                    attention_factor: scaling.number("attention_factor")?,
                    mscale: scaling.number("mscale")?,
                    mscale_all_dim: scaling.number("mscale_all_dim")?,
                    truncate: scaling.bool("truncate")?.unwrap_or(true),
                }
            }
            Some("longrope") => self.long(scaling)?,
            Some(other) => return Err(unsupported(format!("rope_scaling of type {other:?}"))),
        })
    }

    /// The context a model was made for: beside the scaling before inside it, else the whole.
    fn original(&self, scaling: Fields<'_>) -> Result<f64> {
        const KEY: &str = "original_max_position_embeddings";
        let beside = self.fields.number(KEY)?;
        let original = if beside.is_some() { beside } else { scaling.number(KEY)? };
        Ok(original.unwrap_or(self.max_positions as f64))
    }

    fn long(&self, scaling: Fields<'_>) -> Result<RopeScaling> {
        let factors = |key: &str| match scaling.get(key) {
            Some(Value::Array(list)) => {
                let number = |v: &Value| v.as_f64().ok_or_else(|| bad(format!("rope_scaling: {key} has {v}")));
                list.iter().map(number).collect::<Result<Vec<f64>>>()
            }
            _ => Err(bad(format!("rope_scaling: {key} is no list"))),
        };
        let original = self.original(scaling)?;
        let factor = scaling.number("factor")?.unwrap_or(self.max_positions as f64 / original);
        let derived = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
        Ok(RopeScaling::Long {
            short: factors("short_factor")?,
            long: factors("long_factor")?,
            original_max_position: original,
            attention_factor: scaling.number("attention_factor")?.unwrap_or(derived),
        })
    }
}
