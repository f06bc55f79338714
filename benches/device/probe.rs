//! How fast the adapter reads memory: the ceiling of decode. The best of several ways to read a buffer that no cache holds.

use std::time::Instant;

use wgpu::util::{BufferInitDescriptor, DeviceExt};

/// The most bytes to read; more than caches hold.
const BYTES: u64 = 1 << 29;
/// Seconds of a round, in which a clock is exact.
const ROUND: f64 = 0.2;

/// The adapter that Minke takes.
pub struct Adapter {
    pub raw: wgpu::Adapter,
}

impl Adapter {
    /// Opens it.
    pub async fn open() -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let raw = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await.expect("an adapter");
        Self { raw }
    }

    /// Gigabytes a second of each way to read, and the bytes that were read at once.
    pub async fn read(&self) -> (Vec<(String, f64)>, u64) {
        let software = self.raw.get_info().device_type == wgpu::DeviceType::Cpu;
        let limits = self.raw.limits();
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let bytes = if software { 64 << 20 } else { BYTES }.min(1 << most.ilog2());
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let (device, queue) = self.raw.request_device(&descriptor).await.expect("a device");
        let words: Vec<u32> = (0..(bytes / 4) as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
        let usage = wgpu::BufferUsages::STORAGE;
        let contents = bytemuck::cast_slice(&words);
        let source = device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(include_str!("../read.wgsl").into()),
        });
        // Software adapters are fastest with few threads that each read a range, GPUs with many that read beside each other.
        let ways = [(1 << 12, 16, false), (1 << 16, 64, true), (1 << 16, 256, true), (1 << 18, 256, true)];
        let mut rates = Vec::new();
        for (threads, workgroup, interleaved) in ways {
            let per = bytes / 16 / u64::from(threads);
            let constants = [
                ("PER", per as f64),
                ("INTERLEAVED", f64::from(u8::from(interleaved))),
                ("THREADS", f64::from(threads)),
                ("WORKGROUP", f64::from(workgroup)),
            ];
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
                cache: None,
            });
            let size = u64::from(threads) * 4;
            let reduced =
                device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(0),
                entries: &[
                    wgpu::BindGroupEntry { binding: 0, resource: source.as_entire_binding() },
                    wgpu::BindGroupEntry { binding: 1, resource: reduced.as_entire_binding() },
                ],
            });
            let seconds = |times: u32| {
                let start = Instant::now();
                let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                (0..times).for_each(|_| pass.dispatch_workgroups(threads / workgroup, 1, 1));
                drop(pass);
                queue.submit([encoder.finish()]);
                device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
                start.elapsed().as_secs_f64()
            };
            let mut times = 1;
            let mut took = seconds(times);
            while took < ROUND / 2.0 && times < 4096 {
                times = (f64::from(times) * (ROUND / took.max(1e-3)).clamp(2.0, 16.0)) as u32;
                took = seconds(times);
            }
            let best = (0..2).map(|_| seconds(times)).fold(took, f64::min);
            let order = if interleaved { "interleaved" } else { "in ranges" };
            let rate = bytes as f64 * f64::from(times) / best / 1e9;
            rates.push((format!("{threads} threads by {workgroup}, {order}"), rate));
        }
        (rates, bytes)
    }
}
