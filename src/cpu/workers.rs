//! The interface of a group of workers, wherever they are.

use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;

use crate::plan::{BufferId, BytesRef};
use crate::{Error, Result};

/// An answer that arrives later; [`Error::DeviceLost`] if the workers have stopped.
pub type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>>>>>;

/// Workers that are being started.
pub type Starting = Pin<Box<dyn Future<Output = Result<Rc<dyn Workers>>>>>;

/// Workers, which carry out what they are told in order.
pub trait Workers: Debug {
    /// How many there are.
    fn count(&self) -> usize;

    /// Bytes that each can hold, at most.
    fn memory(&self) -> u64;

    /// Tells a worker a [`Command`](super::Command) without an answer.
    fn tell(&self, worker: usize, command: &[u8]);

    /// Tells a worker to write bytes to a buffer.
    fn write(&self, worker: usize, to: BufferId, offset: u64, bytes: BytesRef<'_>);

    /// Tells a worker a command, at once, and gives its answer.
    fn ask(&self, worker: usize, command: &[u8]) -> Answer;

    /// Resolves when a worker has stopped although nobody stopped it.
    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>>;

    /// Stops the workers and frees their memory.
    fn stop(&self);
}
