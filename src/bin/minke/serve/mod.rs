//! `minke serve`: answers OpenAI's HTTP API on this machine's loopback address.
//!
//! The engine stays on the thread that loaded it and carries out one job at a time. HTTP runs on another thread, which turns requests
//! into jobs and what they produce into responses.

mod chat;
mod completions;
mod fields;
mod http;
mod job;
mod reply;
mod responses;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::mpsc;

use minke::engine::LoadOptions;

use self::job::Job;
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
