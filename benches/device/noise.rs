//! A model file whose header was written beforehand and whose weights are noise: what www/bench/noise.js makes in a browser, without a file.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use async_trait::async_trait;
use minke::weights::gguf::read_header;
use minke::weights::{ByteSource, Dtype, TensorEntry, check_range};
use minke::{Error, Result};
use serde::Deserialize;

/// Bytes of noise of each kind, which repeat. Whole blocks of every format fit: 18 and 34 bytes, and numbers of 4.
const PERIOD: usize = (18 * 34 * 4) << 10;

/// A published shape, as `shapes.json` has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    pub name: String,
    pub parameters: u64,
    pub file_bytes: u64,
    /// Bytes of weights that a decoded token reads.
    pub bytes_per_token: u64,
    /// Bytes of 16-bit keys and values that it reads for each token before it.
    pub cache_bytes_per_token: u64,
}

impl Shape {
    /// The shapes of a bundle.
    pub fn all(folder: &Path) -> Vec<Self> {
        let path = folder.join("shapes.json");
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

/// Values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Norms: ones.
    Ones,
    /// A router, whose scores must differ, lest every token goes to the same experts.
    Numbers,
    /// Blocks of codes below a 16-bit scale.
    Blocks { bytes: usize, scale: u8 },
}

/// The file.
pub struct Noise {
    name: String,
    header: Vec<u8>,
    len: u64,
    /// Tensors in the order of their bytes.
    tensors: Vec<(TensorEntry, Kind)>,
    /// [`PERIOD`] bytes of each kind that there is.
    kinds: Vec<(Kind, Vec<u8>)>,
}

impl Noise {
    /// The model of a shape in a folder of headers.
    ///
    /// # Errors
    /// Faults of the header.
    pub async fn open(folder: &Path, shape: &Shape) -> Result<Rc<Self>> {
        let name = format!("{}.gguf", shape.name);
        let path = folder.join(&name);
        let fault = |e: std::io::Error| Error::Internal { message: format!("{}: {e}", path.display()) };
        let header = std::fs::read(&path).map_err(fault)?;
        let mut noise = Self { name, header, len: shape.file_bytes, tensors: Vec::new(), kinds: Vec::new() };
        let parsed = read_header(&noise, 0).await?;
        for entry in parsed.tensors.into_values() {
            let kind = match entry.dtype {
                Dtype::F32 if entry.rows() > 1 => Kind::Numbers,
                Dtype::F32 => Kind::Ones,
                Dtype::Q8_0 => Kind::Blocks { bytes: 34, scale: 0x0c },
                Dtype::Q4_0 => Kind::Blocks { bytes: 18, scale: 0x1c },
                other => return Err(Error::Dtype { tensor: entry.name, dtype: other.name().into() }),
            };
            if !noise.kinds.iter().any(|(known, _)| *known == kind) {
                noise.kinds.push((kind, kind.period()));
            }
            noise.tensors.push((entry, kind));
        }
        noise.tensors.sort_by_key(|(entry, _)| entry.range.start);
        Ok(Rc::new(noise))
    }
}

impl Kind {
    /// One period of its bytes.
    fn period(self) -> Vec<u8> {
        let mut seed = 1u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        match self {
            Self::Ones => 1.0f32.to_le_bytes().repeat(PERIOD / 4),
            Self::Numbers => {
                (0..PERIOD / 4).flat_map(|_| ((f32::from(next()) - 127.5) / 2048.0).to_le_bytes()).collect()
            }
            Self::Blocks { bytes, scale } => {
                let mut noise: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
                noise.chunks_mut(bytes).for_each(|block| block[..2].copy_from_slice(&[0, scale]));
                noise
            }
        }
    }
}

#[async_trait(?Send)]
impl ByteSource for Noise {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let length = check_range(&self.name, self.len, &range)?;
        let mut bytes = Vec::with_capacity(length);
        let header = self.header.len() as u64;
        if range.start < header {
            bytes.extend(&self.header[range.start as usize..range.end.min(header) as usize]);
        }
        let first = self.tensors.partition_point(|(entry, _)| entry.range.end <= range.start);
        for (entry, kind) in &self.tensors[first..] {
            let (start, end) = (entry.range.start.max(range.start), entry.range.end.min(range.end));
            if start >= end {
                break;
            }
            bytes.resize((start - range.start) as usize, 0); // between tensors
            let (_, period) = self.kinds.iter().find(|(known, _)| known == kind).expect("made when it was opened");
            let mut at = (start - entry.range.start) as usize % PERIOD;
            let mut left = (end - start) as usize;
            while left > 0 {
                let piece = left.min(PERIOD - at);
                bytes.extend(&period[at..at + piece]);
                (at, left) = (0, left - piece);
            }
        }
        bytes.resize(length, 0);
        Ok(bytes)
    }
}
