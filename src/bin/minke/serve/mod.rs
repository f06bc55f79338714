//! `minke serve`: answers OpenAI's HTTP API on this machine's loopback address.
//!
//! The engine stays on the thread that loaded it and carries out one job at a time. HTTP runs on another thread, which turns requests
//! into jobs and what they produce into responses.

mod chat;
mod completions;
mod fields;
mod http;
mod reply;
mod responses;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::mpsc;

use minke::engine::{Engine, GenerateOptions, GenerateResult, Input, LoadOptions, StreamPart};
use minke::{Cancel, Error};
use pollster::block_on;
use tokio::sync::mpsc::UnboundedSender;

use super::{Failure, file_name, loaded, place::Place, writing};

/// Options of the command line.
pub struct Options {
    /// The port to listen on; 0 for any that is free.
    pub port: u16,
    pub load: LoadOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 8787, load: LoadOptions::default() }
    }
}

/// Loads a model and answers requests until the process ends.
pub fn serve(path: &Path, options: &Options) -> Result<(), Failure> {
    let address = (Ipv4Addr::LOCALHOST, options.port);
    // Before the load, which may take long.
    let listener = writing(Path::new("the port"), TcpListener::bind(address))?;
    let engine = loaded::load(&Place::new(path)?, options.load)?;
    let (jobs, waiting) = mpsc::channel();
    let at = writing(Path::new("the port"), listener.local_addr())?;
    let id = name(path);
    println!("http://{at}/v1 serves {id}");
    std::thread::spawn(move || http::listen(listener, http::Served::new(id, jobs)));
    waiting.into_iter().for_each(|job: Job| job.carry_out(&engine));
    Ok(())
}

/// The name of a model: that of its folder, or of its file without the ending.
fn name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = file_name(&path).to_string_lossy().into_owned();
    name.strip_suffix(".gguf").map_or_else(|| name.clone(), str::to_owned)
}

/// Answers that a request asks for.
pub struct Ask {
    pub input: Input,
    pub options: GenerateOptions,
    /// How many.
    pub n: usize,
}

/// A generation to carry out.
pub struct Job {
    pub input: Input,
    pub options: GenerateOptions,
    /// Receives what happens. Once nobody listens any more, the generation is aborted.
    pub events: UnboundedSender<Event>,
}

/// What happens in a job.
pub enum Event {
    Part(StreamPart),
    /// The last event.
    Done(Box<Result<GenerateResult, Error>>),
}

impl Job {
    fn carry_out(self, engine: &Engine) {
        let Self { input, options, events } = self;
        let cancel = Cancel::default();
        let mut emit = |part| {
            if events.send(Event::Part(part)).is_err() {
                cancel.abort();
            }
        };
        let result = block_on(engine.generate(input, &options, &cancel, &mut emit));
        let _ = events.send(Event::Done(Box::new(result))); // who asked may be gone
    }
}
