//! Runs a program for a limited time and passes on its lines as they come.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How a program ended.
pub enum End {
    /// By itself.
    Exit(ExitStatus),
    /// It was ended when its time was over.
    Cut,
}

/// Where a line came from.
pub enum Line {
    Out(String),
    Err(String),
}

/// Runs a program until it ends or `limit` seconds are over.
pub fn run(mut command: Command, limit: f64, mut line: impl FnMut(Line)) -> std::io::Result<End> {
    let deadline = Instant::now() + Duration::from_secs_f64(limit.max(0.0));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (to, lines) = channel();
    pass(child.stdout.take().expect("it is piped"), to.clone(), Line::Out);
    pass(child.stderr.take().expect("it is piped"), to, Line::Err);
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(next) => line(next),
            // Both ends are closed: it has ended, or is about to.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                lines.try_iter().for_each(line);
                return Ok(End::Cut);
            }
        }
    }
    child.wait().map(End::Exit)
}

fn pass(from: impl Read + Send + 'static, to: Sender<Line>, of: fn(String) -> Line) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if to.send(of(String::from_utf8_lossy(&line).into_owned())).is_err() {
                return; // nobody reads on
            }
        }
    });
}
