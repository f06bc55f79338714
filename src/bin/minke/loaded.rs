//! Loads a model, and says on stderr what it is.

use std::io::IsTerminal;

use minke::Cancel;
use minke::engine::{Engine, LoadOptions, Progress, Stage};
use pollster::block_on;

use super::place::{HOST, Place};
use super::{Failure, bytes, tuning};

/// Loads a model. The files of a pack are checked against their hashes first.
pub fn load(place: &Place, options: LoadOptions) -> Result<Engine, Failure> {
    let terminal = std::io::stderr().is_terminal();
    let started = std::time::Instant::now();
    if let Some(pack) = place.pack()? {
        block_on(pack.verify(&place.folder, &mut |_, _| {}))?;
    }
    let mut shown = None;
    let mut progress = |progress: Progress| {
        let percent = progress.loaded * 100 / progress.total.max(1);
        if terminal && shown.replace((progress.stage, percent)) != Some((progress.stage, percent)) {
            let what = if progress.stage == Stage::Download { "reading weights" } else { "building pipelines" };
            eprint!("\r{what}: {percent} %\x1b[K");
        }
    };
    let engine = block_on(async {
        let checkpoint = place.source().open().await?;
        Engine::load(&checkpoint, options, HOST, &Cancel::default(), &mut progress).await
    })?;
    tuning::keep()?;
    let info = engine.info();
    eprintln!(
        "{}{}: {} parameters as {}, {} on the {}, a context of {} tokens, loaded in {:.1} s",
        if terminal { "\r\x1b[K" } else { "" },
        info.architecture,
        info.parameters,
        info.quantization,
        bytes(engine.memory().total()),
        info.device.kind.to_uppercase(),
        info.context_length,
        started.elapsed().as_secs_f64()
    );
    Ok(engine)
}
