//! The GPU as this crate needs it: a device, tensors, a plan of steps, an executor. Knows nothing of language models.

pub mod layout;

pub use layout::Layout;
