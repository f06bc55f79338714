//! The GPU as this crate needs it: a device, and an executor that runs plans on it. Knows nothing of language models.

mod bytes;
mod device;
mod executor;
#[cfg(target_arch = "wasm32")]
mod subgroups;

pub use bytes::Bytes;
pub use device::{Device, DeviceOptions, MemoryUse};
pub use executor::{Counts, Executor, Prepared, Readback, Snapshot, Staging};
