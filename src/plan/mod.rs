//! The work of a step of the model as plain data: buffers, tensors in their layouts, dispatches; and the interface of what
//! runs it. Nothing here knows a GPU: a plan is printed, counted and compared, run by an [`Executor`], or by the kernels'
//! references.

mod buffers;
mod bytes;
mod executor;
mod facts;
pub mod layout;
mod quantize;
mod shader;
mod share;
mod step;
mod tensor;

pub use buffers::{BufferId, BufferSpec, Buffers, Role};
#[cfg(target_arch = "wasm32")]
pub use bytes::give_back;
pub use bytes::{Bytes, BytesRef};
pub use executor::{Allocation, BufferCopy, Counts, Executor, MemoryUse, Prepared, Read, Readback, Snapshot};
pub use facts::DeviceFacts;
pub use layout::{GROUP, Layout, LayoutSpec, Scales};
pub use quantize::{Arrival, QuantizeJob, e4m3_product};
pub use shader::{Extension, Shader, ShaderId, Variant, VariantSpec};
pub use share::{DividedRows, Held, Share};
pub use step::{Access, Binding, Plan, Step, fold_grid};
pub use tensor::{Activation, Matrix, PART_ROWS, Part, Units, Vector};
