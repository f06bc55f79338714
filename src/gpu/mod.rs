//! The GPU: an [`Executor`](crate::plan::Executor) on a WebGPU device. Knows nothing of language models.

mod device;
mod executor;
#[cfg(target_arch = "wasm32")]
mod subgroups;

pub use device::DeviceOptions;
pub use executor::Gpu;
