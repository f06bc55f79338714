//! `minke pack`: writes a model to a folder that any static host can serve, optionally quantised and split into parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minke::engine::{Devices, Engine, Estimate, Fit, Limits, LoadOptions, LogitRows, estimate, rope_factors};
use minke::model::{Model, ModelConfig, ModelOptions, Quantization};
use minke::weights::pack::{MANIFEST, Pack, PackedFile};
use minke::weights::{ByteSource, Checkpoint, ConfigFacts, Folder, Format};
use minke::{Cancel, Error, FormatKind};
use pollster::block_on;

use super::parts::PartWriter;
use super::place::{HOST, Place};
use super::plan::Plan;
use super::{Failure, bytes, gguf, safetensors, writing};

/// Options of the command line.
pub struct Options {
    pub quantization: Quantization,
    pub shard_size: u64,
    pub verify_load: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { quantization: Quantization::None, shard_size: 24 << 20, verify_load: false }
    }
}

/// Files that a pack includes in addition to safetensors, if they exist. A GGUF file contains all of this itself.
const COMPANIONS: &[&str] =
    &["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
const LICENSES: &[&str] = &["LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE"];
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Bytes that are copied at once.
const BLOCK: u64 = 4 << 20;

/// Writes a pack, then reads it back and checks it against the manifest.
pub fn pack(from: &Path, to: &Path, options: &Options) -> Result<(), Failure> {
    let place = Place::new(from)?;
    if let Some(pack) = place.pack()? {
        block_on(pack.verify(&place.folder, &mut |_, _| {}))?;
    }
    let checkpoint = block_on(place.source().open())?;
    if to.exists() && writing(to, fs::read_dir(to))?.next().is_some() {
        return Err(Error::invalid("OUT", format!("{} exists and is not empty", to.display())).into());
    }
    // The pack is written under a temporary name first, so that a folder with the final name is complete.
    let partial = PathBuf::from(format!("{}.partial", to.display()));
    if partial.exists() {
        writing(&partial, fs::remove_dir_all(&partial))?;
    }
    writing(&partial, fs::create_dir_all(&partial))?;
    let mut files = Files { folder: &partial, shard: options.shard_size, files: BTreeMap::new() };
    let done = files
        .write(&place, &checkpoint, options.quantization)
        .and_then(|pack| verify(&partial, &pack, options.verify_load).map(|estimate| (pack, estimate)));
    let (pack, estimate) = done.inspect_err(|_| drop(fs::remove_dir_all(&partial)))?;
    if to.exists() {
        writing(to, fs::remove_dir(to))?;
    }
    writing(to, fs::rename(&partial, to))?;
    let stored = pack.files.values().map(|file| file.parts.len().max(1)).sum::<usize>() + 1;
    let size: u64 = pack.files.values().map(|file| file.size).sum();
    eprintln!("{}: {stored} files, {}; read back, hashes equal", to.display(), bytes(size));
    eprintln!(
        "a load reads {} and takes {} on the GPU with a context of {} tokens",
        bytes(estimate.download_bytes),
        bytes(estimate.gpu_bytes),
        estimate.max_context_length
    );
    Ok(())
}

/// The files of a pack that is being written.
struct Files<'a> {
    folder: &'a Path,
    shard: u64,
    files: BTreeMap<String, PackedFile>,
}

impl Files<'_> {
    fn write(&mut self, place: &Place, checkpoint: &Checkpoint, quantization: Quantization) -> Result<Pack, Failure> {
        let source = minke::weights::pack::Unpacked::new(&place.folder);
        let companions = if checkpoint.format == Format::Gguf { &[] } else { COMPANIONS };
        for name in companions.iter().chain(LICENSES) {
            if let Some(file) = block_on(source.open(name))? {
                self.copy(name, &*file)?;
            }
        }
        let name = match quantization {
            Quantization::None => {
                let indexed = checkpoint.shards.iter().any(|shard| shard.name() != WHOLE);
                if checkpoint.format == Format::Safetensors && indexed {
                    let index = block_on(source.open(INDEX))?;
                    let index = index.ok_or_else(|| Error::format(FormatKind::MissingFile, &checkpoint.id, INDEX))?;
                    self.copy(INDEX, &*index)?;
                }
                checkpoint.shards.iter().try_for_each(|shard| self.copy(shard.name(), &**shard))?;
                None
            }
            Quantization::Q8 => Some("q8"),
            Quantization::Q4 => Some("q4"),
        };
        if name.is_some() {
            self.quantized(checkpoint, quantization)?;
        }
        let pack = Pack::new(name.map(str::to_owned), std::mem::take(&mut self.files));
        let path = self.folder.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&pack).expect("strings and numbers are JSON");
        writing(&path, fs::write(&path, text))?;
        Ok(pack)
    }

    /// Starts a file. The file that readers of folders open first is always a part, so that they look for the manifest.
    fn start(&self, name: &str, len: u64) -> PartWriter<'_> {
        PartWriter::new(self.folder, name, len, self.shard, [WHOLE, INDEX].contains(&name))
    }

    fn copy(&mut self, path: &str, source: &dyn ByteSource) -> Result<(), Failure> {
        let mut out = self.start(path, source.len());
        let mut at = 0;
        while at < source.len() {
            let block = block_on(source.read(at..source.len().min(at + BLOCK)))?;
            at += block.len() as u64;
            out.write(&block)?;
        }
        let (name, file) = out.finish()?;
        self.files.insert(name, file);
        Ok(())
    }

    /// Writes one weight file, with unquantised weights quantised as a load would.
    fn quantized(&mut self, checkpoint: &Checkpoint, quantization: Quantization) -> Result<(), Failure> {
        let config = ModelConfig::from_checkpoint(checkpoint)?;
        let rope_factors = block_on(rope_factors(checkpoint))?;
        let options = ModelOptions { quantization, rope_factors, ..ModelOptions::default() };
        let model = Model::new(checkpoint, &config, options)?;
        let plan = Plan::new(checkpoint, &model)?;
        for kept in &plan.kept {
            eprintln!("{} is not quantised: rows of {} weights are not whole blocks of 32", kept.tensor, kept.k);
        }
        if let (count @ 1.., size) = plan.unused {
            eprintln!("{count} tensors that the language model does not use are left out ({})", bytes(size));
        }
        let (name, header, alignment) = match &checkpoint.config {
            ConfigFacts::Json(_) => (WHOLE, safetensors::header(&plan.tensors), 1),
            ConfigFacts::Gguf(published) => {
                let metadata = gguf::metadata(published, quantization);
                ("model.gguf", gguf::header(&metadata, &plan.tensors), gguf::alignment(&metadata))
            }
        };
        let (starts, end) = gguf::places(&plan.tensors, alignment);
        let data = header.len() as u64;
        let mut out = self.start(name, data + end);
        out.write(&header)?;
        for (tensor, start) in plan.tensors.iter().zip(starts) {
            out.pad(data + start)?;
            block_on(tensor.read(checkpoint, &mut |bytes| out.write(bytes)))?;
        }
        out.pad(data + end)?;
        let (name, file) = out.finish()?;
        self.files.insert(name, file);
        Ok(())
    }
}

/// Reads the pack back and checks it; with `load`, also generates a token with it.
fn verify(folder: &Path, written: &Pack, load: bool) -> Result<Estimate, Failure> {
    let place = Place::new(folder)?;
    let pack = place.pack()?;
    if pack.as_ref() != Some(written) {
        return Err(Error::Internal { message: format!("{MANIFEST} reads back as {pack:?}") }.into());
    }
    block_on(written.verify(&place.folder, &mut |_, _| {}))?;
    let limits = Limits::default();
    let estimate = block_on(estimate(
        place.source(),
        LoadOptions::default(),
        Devices { gpu: Some(limits), ..Devices::default() },
    ))?;
    if let (Fit::No, Some(reason)) = (estimate.fit, estimate.reasons.first()) {
        return Err(Error::Internal { message: format!("the written pack does not load: {}", reason.message) }.into());
    }
    if load {
        let cancel = Cancel::default();
        block_on(async {
            let checkpoint = place.source().open().await?;
            let engine = Engine::load(&checkpoint, LoadOptions::default(), HOST, &cancel, &mut |_| {}).await?;
            let finite = |row: &[f32]| match row.iter().all(|logit| logit.is_finite()) {
                true => Ok(()),
                false => Err(Error::NonFinite { position: 0 }),
            };
            engine.forward(&[0], LogitRows::Last, &cancel, &mut { finite }).await
        })?;
    }
    Ok(estimate)
}
