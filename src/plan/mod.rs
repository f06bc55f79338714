//! The work of a step of the model as plain data: buffers, tensors in their layouts, dispatches. Nothing here knows a GPU: a plan is
//! printed, counted and compared, run by an executor, or by the kernels' references.

mod buffers;
mod facts;
pub mod layout;
mod quantize;
mod shader;
mod step;
mod tensor;

pub use buffers::{BufferId, BufferSpec, Buffers, Role};
pub use facts::DeviceFacts;
pub use layout::{GROUP, Layout, LayoutSpec, Scales};
pub use quantize::{Arrival, QuantizeJob, e4m3_product};
pub use shader::{Extension, Shader, ShaderId, Variant, VariantSpec};
pub use step::{Access, Binding, Plan, Step, fold_grid};
pub use tensor::{Activation, Matrix, PART_ROWS, Part, Vector};
