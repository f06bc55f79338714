//! The GPU as this crate needs it: a device, tensors, a plan of steps, an executor. Knows nothing of language models.

mod bytes;
mod device;
mod executor;
pub mod layout;
mod plan;
mod quantize;
#[cfg(target_arch = "wasm32")]
mod subgroups;
mod tensor;

pub use bytes::Bytes;
pub use device::{Device, DeviceFacts, DeviceOptions, Extension, MemoryUse, Role};
pub use executor::{Aside, Counts, Executor, Prepared, Readback, Staging};
pub use layout::{GROUP, Layout};
pub use plan::{Access, Binding, BufferId, BufferSpec, Buffers, Plan, Shader, Step, fold_grid};
pub use quantize::{Arrival, QuantizeJob, e4m3_product};
pub use tensor::{Activation, Matrix, PART_ROWS, Part, Vector};
