//! `minke run`: loads a model and generates one answer on this machine's GPU.

use std::io::{IsTerminal, Write};
use std::path::Path;

use minke::Cancel;
use minke::engine::{GenerateOptions, Input, LoadOptions, StreamPart};
use pollster::block_on;

use super::place::Place;
use super::{Failure, loaded};

/// Options of the command line.
#[derive(Default)]
pub struct Options {
    pub prompt: Option<String>,
    pub generate: GenerateOptions,
    pub load: LoadOptions,
}

/// Loads a model and generates once.
pub fn run(path: &Path, prompt: String, options: &Options) -> Result<(), Failure> {
    let engine = loaded::load(&Place::new(path)?, options.load)?;
    let cancel = Cancel::default();
    let terminal = std::io::stderr().is_terminal();
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
