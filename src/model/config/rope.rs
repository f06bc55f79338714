//! Rotary position embedding: how far each pair of dimensions turns per position.
//!
//! The formulas are those of the models' papers as Hugging Face transformers computes them (`ROPE_INIT_FUNCTIONS`), in f64.

use std::f64::consts::PI;

use crate::{Error, FormatKind, Result};

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base.
    pub theta: f64,
    /// Dimensions of a head that turn, from its first.
    pub rotary_dim: usize,
    /// Whether neighbours (2i, 2i + 1) form a pair; otherwise (i, i + rotary_dim / 2) do. GGUF's converter permutes the rows
    /// of some architectures' queries and keys for it.
    pub interleaved: bool,
    /// How the context was extended.
    pub scaling: RopeScaling,
}

/// How a context length was extended.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // fields are named as in config.json
pub enum RopeScaling {
    /// It was not.
    None,
    /// All positions divided by `factor`.
    Linear { factor: f64 },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original_max_position: f64 },
    /// YaRN (arXiv 2309.00071).
    Yarn {
        factor: f64,
        beta_fast: f64,
        beta_slow: f64,
        original_max_position: f64,
        /// Scale of cos and sin; derived where absent.
        attention_factor: Option<f64>,
        mscale: Option<f64>,
        mscale_all_dim: Option<f64>,
        /// Whether the ramp's ends are rounded to whole dimensions.
        truncate: bool,
    },
    /// LongRoPE (arXiv 2402.13753): each frequency divided by a factor of its own, one set for sequences within the original
    /// length and one for longer ones.
    Long {
        short: Vec<f64>,
        long: Vec<f64>,
        original_max_position: f64,
        /// Scale of cos and sin.
        attention_factor: f64,
    },
    /// Each frequency divided by a value of the tensor `rope_freqs.weight` (GGUF); [`RopeConfig::inv_freq`] leaves that to the
    /// caller, who has the tensor.
    FreqFactors,
    /// As `Long`, with the factors in `rope_factors_short.weight` and `rope_factors_long.weight` (GGUF), and left to the caller.
    LongFactors { original_max_position: f64, attention_factor: f64 },
}

/// Divisors of the rope frequencies that GGUF files have as tensors.
#[derive(Debug, Clone, Default)]
pub struct RopeFactors {
    /// `rope_freqs.weight`, for any context.
    pub any: Option<Vec<f32>>,
    /// `rope_factors_short.weight`, for sequences within the original length.
    pub short: Option<Vec<f32>>,
    /// `rope_factors_long.weight`, for longer ones.
    pub long: Option<Vec<f32>>,
}

impl RopeFactors {
    /// The divisors that a scaling asks for, and the tensor's name.
    pub(in crate::model) fn of(
        &self,
        scaling: &RopeScaling,
        sequence: usize,
    ) -> Option<(&'static str, Option<&Vec<f32>>)> {
        match *scaling {
            RopeScaling::FreqFactors => Some(("rope_freqs.weight", self.any.as_ref())),
            RopeScaling::LongFactors { original_max_position, .. } if sequence as f64 > original_max_position => {
                Some(("rope_factors_long.weight", self.long.as_ref()))
            }
            RopeScaling::LongFactors { .. } => Some(("rope_factors_short.weight", self.short.as_ref())),
            _ => None,
        }
    }
}

impl RopeScaling {
    /// Tokens of the longest sequence that is rotated otherwise than longer ones, where that differs.
    pub(in crate::model) fn original_length(&self) -> Option<usize> {
        match self {
            Self::Long { original_max_position, .. } | Self::LongFactors { original_max_position, .. } => {
                Some(*original_max_position as usize)
            }
            _ => None,
        }
    }
}

impl RopeConfig {
    pub(super) fn check(&self, file: &str) -> Result<()> {
        let bad = |name: &str, value: f64| {
            Err(Error::format(FormatKind::BadConfig, file, format!("rope: {name} is {value}")))
        };
        let positive = |name: &str, value: f64| {
            if value.is_finite() && value > 0.0 { Ok(()) } else { bad(name, value) }
        };
        if !(self.theta.is_finite() && self.theta > 1.0) {
            return bad("theta", self.theta);
        }
        match &self.scaling {
            RopeScaling::Long { short, long, original_max_position, attention_factor } => {
                positive("original_max_position_embeddings", *original_max_position)?;
                positive("attention_factor", *attention_factor)?;
                if short.len() != self.rotary_dim / 2 || long.len() != short.len() {
                    let message = format!(
                        "rope: {} short and {} long factors for {} pairs",
                        short.len(),
                        long.len(),
                        self.rotary_dim / 2
                    );
                    return Err(Error::format(FormatKind::BadConfig, file, message));
                }
                short.iter().chain(long).try_for_each(|&factor| positive("a factor", factor))
            }
            RopeScaling::None | RopeScaling::FreqFactors => Ok(()),
            &RopeScaling::LongFactors { original_max_position, attention_factor } => {
                positive("original_max_position_embeddings", original_max_position)?;
                positive("attention_factor", attention_factor)
            }
            &RopeScaling::Linear { factor } => positive("factor", factor),
            &RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => {
                positive("factor", factor)?;
                positive("low_freq_factor", low_freq_factor)?;
                positive("original_max_position_embeddings", original_max_position)?;
                if high_freq_factor.is_finite() && high_freq_factor >= low_freq_factor {
                    Ok(())
                } else {
                    bad("high_freq_factor", high_freq_factor)
                }
            }
            &RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_position, attention_factor, .. } => {
                positive("factor", factor)?;
                positive("beta_fast", beta_fast)?;
                positive("beta_slow", beta_slow)?;
                positive("original_max_position_embeddings", original_max_position)?;
                attention_factor.map_or(Ok(()), |factor| positive("attention_factor", factor))
            }
        }
    }

    /// Radians per position of each pair (`rotary_dim / 2` of them), and the scale of cos and sin, for sequences of so many
    /// tokens.
    pub fn inv_freq(&self, sequence: usize) -> (Vec<f64>, f64) {
        let dim = self.rotary_dim as f64;
        let pairs = self.rotary_dim / 2;
        let mut inv_freq: Vec<f64> = (0..pairs).map(|i| self.theta.powf(-2.0 * i as f64 / dim)).collect();
        match &self.scaling {
            RopeScaling::Long { short, long, original_max_position, attention_factor } => {
                let factors = if sequence as f64 > *original_max_position { long } else { short };
                inv_freq.iter_mut().zip(factors).for_each(|(f, by)| *f /= by);
                (inv_freq, *attention_factor)
            }
            RopeScaling::None | RopeScaling::FreqFactors => (inv_freq, 1.0),
            &RopeScaling::LongFactors { attention_factor, .. } => (inv_freq, attention_factor),
            &RopeScaling::Linear { factor } => {
                inv_freq.iter_mut().for_each(|f| *f /= factor);
                (inv_freq, 1.0)
            }
            &RopeScaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_max_position } => {
                for f in &mut inv_freq {
                    // Turns in the original context, against the two factors.
                    let turns = original_max_position * *f / (2.0 * PI);
                    if turns < low {
                        *f /= factor;
                    } else if turns <= high && high > low {
                        let smooth = (turns - low) / (high - low);
                        *f = (1.0 - smooth) * *f / factor + smooth * *f;
                    }
                }
                (inv_freq, 1.0)
            }
            &RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_position, truncate, .. } => {
                // The dimension that turns `rotations` times in the original context.
                let dimension = |rotations: f64| {
                    dim * (original_max_position / (rotations * 2.0 * PI)).ln() / (2.0 * self.theta.ln())
                };
                let (mut low, mut high) = (dimension(beta_fast), dimension(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(dim - 1.0));
                if low == high {
                    high += 0.001; // as the reference does, against division by zero
                }
                for (i, f) in inv_freq.iter_mut().enumerate() {
                    let interpolated = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    *f = *f / factor * interpolated + *f * (1.0 - interpolated);
                }
                (inv_freq, self.yarn_attention_factor())
            }
        }
    }

    fn yarn_attention_factor(&self) -> f64 {
        let RopeScaling::Yarn { factor, attention_factor, mscale, mscale_all_dim, .. } = self.scaling else {
            return 1.0;
        };
        let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
        match (attention_factor, mscale, mscale_all_dim) {
            (Some(given), ..) => given,
            (None, Some(mscale), Some(all_dim)) if mscale != 0.0 && all_dim != 0.0 => scale(mscale) / scale(all_dim),
            _ => scale(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> RopeConfig {
        RopeConfig { theta: 10_000.0, rotary_dim: 16, interleaved: false, scaling }
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 2e-6 * b.abs(), "{found:?} is not {expected:?}"); // references are f32
        }
    }

    // Expected values were printed by transformers' ROPE_INIT_FUNCTIONS.
    #[test]
    fn frequencies_are_those_of_the_reference() {
        let base = [1.0, 0.31622776, 0.1, 0.031622779, 0.0099999998, 0.0031622779, 0.001, 0.00031622779];
        let (found, scale) = rope(RopeScaling::None).inv_freq(1);
        close(&found, &base);
        assert_eq!(scale, 1.0);
        close(&rope(RopeScaling::FreqFactors).inv_freq(1).0, &base);
        let quarter = base.map(|f| f / 4.0);
        close(&rope(RopeScaling::Linear { factor: 4.0 }).inv_freq(1).0, &quarter);

        let llama3 = |factor, high_freq_factor, original_max_position| {
            rope(RopeScaling::Llama3 { factor, low_freq_factor: 1.0, high_freq_factor, original_max_position })
                .inv_freq(1)
                .0
        };
        let expected =
            [1.0, 0.24438459, 0.013042256, 0.0039528473, 0.00125, 0.00039528473, 0.00012500001, 3.9528473e-05];
        close(&llama3(8.0, 4.0, 64.0), &expected);
        let no_ramp =
            [1.0, 0.31622776, 0.0062500001, 0.0019764237, 0.00062499999, 0.00019764237, 6.2500003e-05, 1.9764237e-05];
        close(&llama3(16.0, 1.0, 32.0), &no_ramp);
    }

    #[test]
    fn yarn_is_that_of_the_reference() {
        let yarn = |original_max_position, mscale: Option<f64>, mscale_all_dim, truncate| {
            let (beta_fast, beta_slow, factor, attention_factor) = (32.0, 1.0, 4.0, None);
            rope(RopeScaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                original_max_position,
                attention_factor,
                mscale,
                mscale_all_dim,
                truncate,
            })
            .inv_freq(1)
        };
        let (found, scale) = yarn(128.0, None, None, true);
        let expected =
            [1.0, 0.23717082, 0.049999997, 0.0079056947, 0.0024999999, 0.00079056947, 0.00025000001, 7.9056947e-05];
        close(&found, &expected);
        close(&[scale], &[1.138629436111989]);
        let (found, scale) = yarn(32.0, Some(0.707), Some(0.5), false);
        let expected =
            [1.0, 0.14849025, 0.025, 0.0079056947, 0.0024999999, 0.00079056947, 0.00025000001, 7.9056947e-05];
        close(&found, &expected);
        close(&[scale], &[1.0268361529030026]);
    }
}
