//! What a plan is made for: a device as far as plans and the choice of kernels depend on it.

/// What the platform tells of the adapter, and the limits the engine plans with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the platform's names
pub struct DeviceFacts {
    pub name: String,
    pub vendor: String,
    pub architecture: String,
    pub features: Vec<String>,
    pub max_buffer_size: u64,
    pub max_storage_buffer_binding_size: u64,
    pub min_uniform_buffer_offset_alignment: u32,
    pub shader_f16: bool,
    pub subgroups: bool,
    /// WGSL's `packed_4x8_integer_dot_product`: a promise of the language, which many GPUs keep by many instructions.
    pub packed_int8: bool,
    /// A software adapter (SwiftShader, lavapipe, WARP).
    pub software: bool,
    /// It is the processor, which runs a plan while it is submitted, without shaders.
    pub cpu: bool,
}

impl DeviceFacts {
    /// Whether plans run on a processor: there is no latency to hide.
    pub fn on_processor(&self) -> bool {
        self.software || self.cpu
    }
}
