//! `minke run`: loads a model and generates one answer on this machine's GPU.

use std::io::{IsTerminal, Write};
use std::path::Path;

use minke::Cancel;
use minke::engine::{Engine, GenerateOptions, Input, LoadOptions, Progress, Stage, StreamPart};
use pollster::block_on;

use super::place::{HOST, Place};
use super::{Failure, bytes};

/// Options of the command line.
#[derive(Default)]
pub struct Options {
    pub prompt: Option<String>,
    pub generate: GenerateOptions,
    pub load: LoadOptions,
}

/// Loads a model and generates once. The files of a pack are checked against their hashes first.
pub fn run(path: &Path, prompt: String, options: &Options) -> Result<(), Failure> {
    let place = Place::new(path)?;
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
    let cancel = Cancel::default();
    let engine = block_on(async {
        let checkpoint = place.source().open().await?;
        Engine::load(&checkpoint, options.load, HOST, &cancel, &mut progress).await
    })?;
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
    let mut out = std::io::stdout();
    let mut lost = None;
    let mut emit = |part: StreamPart| match part {
        StreamPart::ReasoningDelta { text } if terminal => eprint!("\x1b[2m{text}\x1b[0m"),
        StreamPart::ReasoningDelta { text } => eprint!("{text}"),
        StreamPart::TextDelta { text, .. } => {
            if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                lost = Some(error); // the reader of stdout is gone
                cancel.stop();
            }
        }
        StreamPart::Prefill { .. } | StreamPart::Finish { .. } => {}
        StreamPart::ToolInputDelta { .. } | StreamPart::ToolCall(_) => {} // no tools are offered
    };
    let result = block_on(engine.generate(Input::Text(prompt), &options.generate, &cancel, &mut emit))?;
    if let Some(error) = lost {
        return super::writing(Path::new("stdout"), Err(error));
    }
    println!();
    let usage = result.usage;
    eprintln!(
        "{} tokens in, {} out ({} of reasoning), first after {:.0} ms, {:.1} tokens/s, finished by {:?}",
        usage.input_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.time_to_first_token_ms,
        usage.tokens_per_second,
        result.finish_reason
    );
    Ok(())
}
