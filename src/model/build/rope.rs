//! The tables of cosines and sines that rotate queries and keys.

use super::options::ModelOptions;
use crate::kernels::rope_table;
use crate::model::ModelConfig;
use crate::plan::{BufferId, Buffers, Role};
use crate::weights::checkpoint::Checkpoint;
use crate::{Error, FormatKind, Result};

/// LongRoPE's tables for sequences within the model's original context length, and for longer ones (arXiv 2402.13753).
/// Keys rotated by one table do not match queries rotated by the other: when a sequence outgrows the original length,
/// all of it is prefilled again.
#[derive(Debug, Clone)]
pub struct LongRope {
    /// The buffer that holds the table in use; initially the one for short sequences.
    pub table: BufferId,
    /// The original context length, in tokens.
    pub original: usize,
    /// The table's bytes for sequences of at most `original` tokens.
    pub short: Vec<u8>,
    /// The table's bytes for longer sequences.
    pub long: Vec<u8>,
}

/// The tables of a model.
pub(super) struct RopeTables {
    pub table: BufferId,
    /// The table for layers with a window: their own if they have a rope of their own, else the global one.
    pub local: BufferId,
    pub long: Option<LongRope>,
}

impl RopeTables {
    /// Declares the tables, for a context of so many tokens; their bytes are added to the constants.
    pub fn declare(
        checkpoint: &Checkpoint,
        config: &ModelConfig,
        options: &ModelOptions,
        context_length: usize,
        buffers: &mut Buffers,
        constants: &mut Vec<(BufferId, Vec<u8>)>,
    ) -> Result<Self> {
        let mut declare = |label: &str, table: Vec<[f32; 2]>| {
            let buffer = buffers.add(label, (table.len() * 8) as u64, Role::Weights);
            constants.push((buffer, bytemuck::cast_slice(&table).to_vec()));
            buffer
        };
        // The inverse frequencies for a sequence of a given length.
        let rotation = |sequence: usize| -> Result<Vec<[f32; 2]>> {
            let (mut inv_freq, scale) = config.rope.inv_freq(sequence);
            if let Some((name, factors)) = options.rope_factors.of(&config.rope.scaling, sequence) {
                let bad = |kind, message: String| Error::format(kind, &checkpoint.id, format!("{name} {message}"));
                let factors = factors.ok_or_else(|| bad(FormatKind::MissingTensor, "is missing".into()))?;
                if factors.len() != inv_freq.len() || factors.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
                    let message = format!("has {} values, not {} positive ones", factors.len(), inv_freq.len());
                    return Err(bad(FormatKind::BadShape, message));
                }
                inv_freq.iter_mut().zip(factors).for_each(|(f, &by)| *f /= f64::from(by));
            }
            Ok(rope_table(&inv_freq, scale, context_length))
        };
        let short = config.rope.scaling.original_length().filter(|&original| original < context_length);
        let first = rotation(short.unwrap_or(context_length))?;
        let long = match short {
            Some(original) => Some((original, rotation(original + 1)?, first.clone())),
            None => None,
        };
        let table = declare("rope table", first);
        let long = long.map(|(original, long, short)| LongRope {
            table,
            original,
            short: bytemuck::cast_slice(&short).to_vec(),
            long: bytemuck::cast_slice(&long).to_vec(),
        });
        let local = config.local_rope.as_ref().map_or(table, |rope| {
            let (inv_freq, scale) = rope.inv_freq(context_length);
            declare("local rope table", rope_table(&inv_freq, scale, context_length))
        });
        Ok(Self { table, local, long })
    }
}
