//! The device: adapter, limits, loss, error scopes around allocations, and a ledger of every byte allocated.
//!
//! wgpu is used in browsers and natively. Pipelines are created synchronously, because browsers compile them in the GPU
//! process anyway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;

use crate::plan::{Bytes, DeviceFacts, Extension, MemoryUse, Role};
use crate::{Error, Result};

/// The directives that a module begins with. naga knows subgroups and no directive for them (wgpu 30); browsers prove that
/// whole subgroups take the same way only where a constant says so, and what they cannot prove is an error.
pub(super) fn directives(extension: Option<Extension>) -> &'static str {
    match extension {
        Some(Extension::Subgroups) if cfg!(target_arch = "wasm32") => {
            "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n"
        }
        _ => "",
    }
}

/// Counts every byte this device holds.
#[derive(Debug, Default)]
struct Ledger([AtomicU64; 3]);

impl Ledger {
    fn of(&self, role: Role) -> &AtomicU64 {
        &self.0[role as usize]
    }
}

/// A GPU buffer that leaves the ledger, and the GPU, when dropped.
pub(super) struct Buffer {
    pub raw: wgpu::Buffer,
    role: Role,
    ledger: Arc<Ledger>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.ledger.of(self.role).fetch_sub(self.raw.size(), Ordering::Relaxed);
        self.raw.destroy();
    }
}

/// Which adapter to ask for, and limits to stay below.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceOptions {
    /// `Some(true)`: high performance; `Some(false)`: low power.
    pub high_performance: Option<bool>,
    /// Largest storage binding to use, in bytes, below the adapter's own: tests split tensors with it.
    pub max_binding: Option<u64>,
    /// Bytes that the device grants in all, where it would grant more: tests are refused memory with it.
    pub max_memory: Option<u64>,
}

#[derive(Default)]
struct Loss {
    message: Option<String>,
    waiting: Vec<oneshot::Sender<String>>,
}

/// An open GPU device and its queue.
pub(super) struct Device {
    pub(super) raw: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    facts: DeviceFacts,
    max_memory: u64,
    pub(super) max_workgroups: u32,
    ledger: Arc<Ledger>,
    loss: Arc<Mutex<Loss>>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("facts", &self.facts).field("memory", &self.memory()).finish()
    }
}

impl Device {
    /// Opens the adapter's device with limits as large as the adapter gives.
    ///
    /// # Errors
    /// [`Error::NoWebGpu`] where there is no adapter or it gives no device.
    pub async fn open(options: DeviceOptions) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = request_adapter(&instance, options).await?;
        let limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("minke"),
            required_features: adapter.features() & (wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP),
            required_limits: limits.clone(),
            ..Default::default()
        };
        let request = || adapter.request_device(&descriptor);
        #[cfg(target_arch = "wasm32")]
        let (request, told) = super::subgroups::asked_for(request);
        #[cfg(not(target_arch = "wasm32"))]
        let (request, subgroups) = (request(), descriptor.required_features.contains(wgpu::Features::SUBGROUP));
        let packed_int8 =
            instance.wgsl_language_features().contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct);
        #[cfg(target_arch = "wasm32")]
        let facts = DeviceFacts {
            subgroups: told.subgroups,
            packed_int8,
            vendor: told.vendor,
            architecture: told.architecture,
            ..facts(&adapter, options)
        };
        #[cfg(not(target_arch = "wasm32"))]
        let facts = DeviceFacts { subgroups, packed_int8, ..facts(&adapter, options) };
        let (raw, queue) =
            request.await.map_err(|e| Error::NoWebGpu { reason: format!("the adapter gave no device: {e}") })?;

        let loss = Arc::new(Mutex::new(Loss::default()));
        let seen = loss.clone();
        raw.set_device_lost_callback(move |reason, message| {
            let text = if message.is_empty() { format!("{reason:?}") } else { message };
            let mut loss = seen.lock().expect("no holder of this lock panics");
            for waiting in loss.waiting.drain(..) {
                let _ = waiting.send(text.clone()); // nobody waits any more: fine
            }
            loss.message.get_or_insert(text);
        });
        Ok(Self {
            raw,
            queue,
            facts,
            max_memory: options.max_memory.unwrap_or(u64::MAX),
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            ledger: Arc::default(),
            loss,
        })
    }

    /// What this device is and allows.
    pub fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    /// Bytes held now.
    pub fn memory(&self) -> MemoryUse {
        let of = |role| self.ledger.of(role).load(Ordering::Relaxed);
        MemoryUse { weights: of(Role::Weights), kv: of(Role::Kv), scratch: of(Role::Scratch) }
    }

    /// `Err(DeviceLost)` once the device is gone.
    pub fn check(&self) -> Result<()> {
        match &self.loss.lock().expect("no holder of this lock panics").message {
            None => Ok(()),
            Some(message) => Err(Error::DeviceLost { message: message.clone() }),
        }
    }

    /// Resolves when the device is lost, never before.
    pub fn lost(&self) -> impl Future<Output = Error> + 'static {
        let (tx, rx) = oneshot::channel();
        let mut loss = self.loss.lock().expect("no holder of this lock panics");
        match &loss.message {
            Some(message) => drop(tx.send(message.clone())),
            None => loss.waiting.push(tx),
        }
        async {
            let message = rx.await.unwrap_or_else(|_| "the device was closed".into());
            Error::DeviceLost { message }
        }
    }

    /// Gives everything back to the platform. Buffers still held become unusable. Dropping the device does the same.
    pub fn destroy(&self) {
        self.raw.destroy();
    }

    /// Allocates buffers, all or none, each zeroed.
    ///
    /// # Errors
    /// [`Error::BufferLimit`] before anything is asked for, [`Error::Memory`] when the device refuses.
    pub(super) async fn allocate(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Buffer>> {
        self.check()?;
        for a in wanted {
            if a.bytes > self.facts.max_buffer_size {
                let what = a.label.to_owned();
                return Err(Error::BufferLimit { what, needed: a.bytes, limit: self.facts.max_buffer_size });
            }
        }
        let held = self.memory().total();
        let bytes = wanted.iter().map(|a| a.bytes).sum();
        let refused = || {
            let what = wanted.first().map_or("", |a| a.label).to_owned();
            Error::Memory { what, bytes, allocated: held }
        };
        if bytes > self.max_memory.saturating_sub(held) {
            return Err(refused());
        }
        let memory = self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let invalid = self.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffers: Vec<Buffer> = wanted
            .iter()
            .map(|a| {
                let size = a.bytes.next_multiple_of(4).max(16);
                let descriptor =
                    wgpu::BufferDescriptor { label: Some(a.label), size, usage: a.usage, mapped_at_creation: false };
                let raw = self.raw.create_buffer(&descriptor);
                self.ledger.of(a.role).fetch_add(size, Ordering::Relaxed);
                Buffer { raw, role: a.role, ledger: self.ledger.clone() }
            })
            .collect();
        let invalid = invalid.pop();
        let memory = memory.pop();
        if let Some(e) = invalid.await {
            return Err(Error::Internal { message: format!("buffer creation: {e}") });
        }
        if memory.await.is_some() {
            return Err(refused());
        }
        self.check()?;
        Ok(buffers)
    }

    /// Writes to a buffer, padded with zeros to a multiple of 4 bytes. `offset` is a multiple of 4, in bytes.
    pub(super) fn upload(&self, buffer: &wgpu::Buffer, offset: u64, bytes: Bytes) {
        #[cfg(target_arch = "wasm32")]
        if let Bytes::Outside(array, done) = &bytes
            && bytes.len().is_multiple_of(4)
            && let (Some(queue), Some(raw)) = (self.queue.as_webgpu(), buffer.as_webgpu())
        {
            // A write that does not fit is refused with an exception; wgpu's own would stop the program.
            let written = queue.write_buffer_with_f64_and_u8_array(raw, offset as f64, array);
            assert!(written.is_ok(), "{} bytes at {offset} lie within the buffer", array.length());
            crate::plan::give_back(array, done.as_ref());
            return;
        }
        let mut bytes = bytes.into_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.queue.write_buffer(buffer, offset, &bytes);
    }

    /// Natively, waits for the queue; in a browser the event loop does, so this returns at once.
    pub(super) fn wait(&self) {
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.raw.poll(wgpu::PollType::wait_indefinitely()); // a lost device shows in check()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.raw.destroy(); // a browser would wait for its garbage collector
    }
}

/// One buffer to allocate.
pub(super) struct Wanted<'a> {
    pub label: &'a str,
    pub bytes: u64,
    pub role: Role,
    pub usage: wgpu::BufferUsages,
}

async fn request_adapter(instance: &wgpu::Instance, options: DeviceOptions) -> Result<wgpu::Adapter> {
    let power_preference = match options.high_performance {
        Some(true) => wgpu::PowerPreference::HighPerformance,
        Some(false) => wgpu::PowerPreference::LowPower,
        None => wgpu::PowerPreference::None,
    };
    instance.request_adapter(&wgpu::RequestAdapterOptions { power_preference, ..Default::default() }).await.map_err(
        |e| {
            let hint = if cfg!(target_arch = "wasm32") {
                "no GPU adapter was offered; use a current Chrome, Edge, Safari or Firefox with hardware acceleration on"
            } else {
                "no Vulkan, Metal or Direct3D 12 adapter was found"
            };
            Error::NoWebGpu { reason: format!("{hint} ({e})") }
        },
    )
}

fn facts(adapter: &wgpu::Adapter, options: DeviceOptions) -> DeviceFacts {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    let text = format!("{} {} {}", info.name, info.driver, info.driver_info).to_lowercase();
    DeviceFacts {
        name: info.name.clone(),
        vendor: info.driver.clone(),
        architecture: info.driver_info.clone(),
        features: features.iter_names().map(|(name, _)| name.to_lowercase().replace('_', "-")).collect(),
        max_buffer_size: limits.max_buffer_size,
        max_storage_buffer_binding_size: limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
            .min(u64::from(u32::MAX) & !255) // sizes are usize, which has 32 bits in wasm
            .min(options.max_binding.unwrap_or(u64::MAX)),
        min_uniform_buffer_offset_alignment: limits.min_uniform_buffer_offset_alignment,
        shader_f16: features.contains(wgpu::Features::SHADER_F16),
        subgroups: false, // told where the device is asked for, as is the next
        packed_int8: false,
        software: info.device_type == wgpu::DeviceType::Cpu
            || text.contains("swiftshader")
            || text.contains("llvmpipe"),
        cpu: false,
    }
}
