//! Runs plans: pipelines and bind groups are built once, then a step of the model is one command buffer with one
//! compute pass. Nothing is created per token but the command encoder and its pass.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;

use futures_channel::oneshot;

use super::bytes::Bytes;
use super::device::{Allocation, Buffer, Device, MemoryUse, directives};
use crate::plan::{Access, BufferId, Buffers, Plan, Role, Step};
use crate::{Error, Result};

/// A plan with its GPU objects.
pub struct Prepared {
    label: String,
    steps: Vec<PreparedStep>,
    _params: Option<Buffer>,
}

struct PreparedStep {
    pipeline: usize,
    bind_group: wgpu::BindGroup,
    grid: [u32; 3],
}

/// A buffer the host can map, made once and used for many readbacks.
pub struct Staging {
    buffer: Buffer,
    filled: Cell<u64>,
}

/// What has been done so far; tests take differences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct Counts {
    pub submits: u64,
    pub passes: u64,
    pub dispatches: u64,
    pub readbacks: u64,
    /// Buffers, bind groups, layouts, shader modules and pipelines; not the encoder and pass of a submit.
    pub objects_created: u64,
}

/// A readback that rides along with a submit: `bytes` of `from` are copied to the staging buffer after the pass.
pub struct Readback<'a> {
    /// Source.
    pub from: BufferId,
    /// Byte range of the source.
    pub bytes: Range<u64>,
    /// Destination.
    pub to: &'a Staging,
}

/// A copy of byte ranges of buffers, kept in buffers of its own on the device.
pub struct Snapshot(Vec<(BufferId, Range<u64>, Buffer)>);

impl Snapshot {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, range, _)| range.end - range.start).sum()
    }
}

type PipelineKey = (&'static str, Vec<(&'static str, u64)>);

/// Owns a model's buffers and runs its plans.
pub struct Executor {
    device: std::rc::Rc<Device>,
    /// By id; `None` where it was given back.
    buffers: Vec<Option<Buffer>>,
    pipelines: RefCell<Vec<wgpu::ComputePipeline>>,
    by_key: RefCell<HashMap<PipelineKey, usize>>,
    modules: RefCell<HashMap<&'static str, wgpu::ShaderModule>>,
    counts: Cell<Counts>,
}

impl Executor {
    /// Allocates every buffer of the table, zeroed.
    ///
    /// # Errors
    /// [`Error::BufferLimit`], [`Error::Memory`], [`Error::DeviceLost`]; nothing stays allocated then.
    pub async fn new(device: std::rc::Rc<Device>, buffers: &Buffers) -> Result<Self> {
        let mut made = Self {
            device,
            buffers: Vec::new(),
            pipelines: RefCell::default(),
            by_key: RefCell::default(),
            modules: RefCell::default(),
            counts: Cell::default(),
        };
        made.add(buffers).await?;
        Ok(made)
    }

    /// Allocates further buffers, zeroed: the first id of theirs is returned, the others follow it.
    ///
    /// # Errors
    /// Those of [`Self::new`]; nothing stays allocated then.
    pub async fn add(&mut self, buffers: &Buffers) -> Result<BufferId> {
        use wgpu::BufferUsages as U;
        let wanted: Vec<Allocation<'_>> = buffers
            .iter()
            .map(|spec| Allocation {
                label: &spec.label,
                bytes: spec.bytes,
                role: spec.role,
                usage: U::STORAGE | U::COPY_DST | U::COPY_SRC,
            })
            .collect();
        let first = BufferId(self.buffers.len() as u32);
        self.buffers.extend(self.device.allocate(&wanted).await?.into_iter().map(Some));
        self.count(|c| c.objects_created += wanted.len() as u64);
        Ok(first)
    }

    /// Gives back what [`Self::add`] allocated last. Nothing that uses it may be submitted any more.
    pub fn remove(&mut self, first: BufferId) {
        self.buffers.truncate(first.0 as usize);
    }

    /// The device everything runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The device, to keep beyond the executor.
    pub fn device_handle(&self) -> std::rc::Rc<Device> {
        self.device.clone()
    }

    /// What has been done since the executor was made.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// Bytes held on the device, by role.
    pub fn memory(&self) -> MemoryUse {
        self.device.memory()
    }

    /// How many distinct pipelines exist.
    pub fn pipelines(&self) -> usize {
        self.pipelines.borrow().len()
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    fn raw(&self, id: BufferId) -> &wgpu::Buffer {
        &self.buffers[id.0 as usize].as_ref().expect("nothing uses a buffer that was given back").raw
    }

    /// Gives a buffer back that only the load needed. Nothing that uses it may be submitted any more.
    pub fn release(&mut self, id: BufferId) {
        self.buffers[id.0 as usize] = None;
    }

    /// Writes to a buffer before the next submit. `offset` and the length are multiples of 4, in bytes.
    pub fn write(&self, id: BufferId, offset: u64, data: &[u8]) {
        self.device.queue.write_buffer(self.raw(id), offset, data);
    }

    /// The same for bytes wherever they are, padded with zeros to whole words.
    pub fn upload(&self, id: BufferId, offset: u64, bytes: Bytes) {
        self.device.upload(self.raw(id), offset, bytes);
    }

    /// Builds the plan's pipelines and bind groups.
    ///
    /// # Errors
    /// [`Error::Internal`] with the compiler's message where a shader or layout is rejected, [`Error::Memory`].
    pub async fn prepare(&self, plan: &Plan) -> Result<Prepared> {
        let (words, offsets) = plan.params(u64::from(self.device.facts().min_uniform_buffer_offset_alignment));
        let params = if words.is_empty() {
            None
        } else {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let wanted = Allocation { label: "params", bytes: words.len() as u64, role: Role::Scratch, usage };
            let buffer = self.device.allocate(&[wanted]).await?.pop().expect("one was asked for");
            self.device.queue.write_buffer(&buffer.raw, 0, &words);
            self.count(|c| c.objects_created += 1);
            Some(buffer)
        };
        let scope = self.device.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let steps = plan
            .steps
            .iter()
            .zip(offsets)
            .map(|(step, offset)| self.prepare_step(step, params.as_ref().map(|p| (&p.raw, offset))))
            .collect();
        if let Some(e) = scope.pop().await {
            return Err(Error::Internal { message: format!("plan {}: {e}", plan.label) });
        }
        self.device.check()?;
        Ok(Prepared { label: plan.label.clone(), steps, _params: params })
    }

    fn prepare_step(&self, step: &Step, params: Option<(&wgpu::Buffer, u64)>) -> PreparedStep {
        let limit = self.device.max_workgroups;
        assert!(step.grid.iter().all(|&n| n <= limit), "{}: grid {:?} exceeds {limit}", step.label, step.grid);
        let pipeline = self.pipeline(step);
        let mut entries = Vec::with_capacity(step.bindings.len() + 1);
        if let (Some((buffer, offset)), false) = (params, step.params.is_empty()) {
            let size = std::num::NonZeroU64::new((step.params.len() * 4).next_multiple_of(16) as u64);
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
            entries.push(wgpu::BindGroupEntry { binding: 0, resource });
        }
        for b in &step.bindings {
            entries.push(wgpu::BindGroupEntry { binding: b.slot, resource: self.raw(b.buffer).as_entire_binding() });
        }
        let layout = self.pipelines.borrow()[pipeline].get_bind_group_layout(0);
        let bind_group = self.device.raw.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&step.label),
            layout: &layout,
            entries: &entries,
        });
        self.count(|c| c.objects_created += 1);
        PreparedStep { pipeline, bind_group, grid: step.grid }
    }

    /// Index of the step's pipeline, which is shared by all steps of the same shader and constants.
    fn pipeline(&self, step: &Step) -> usize {
        let key: PipelineKey = (step.shader.name, step.constants.iter().map(|&(n, v)| (n, v.to_bits())).collect());
        if let Some(&index) = self.by_key.borrow().get(&key) {
            return index;
        }
        let raw = &self.device.raw;
        let mut modules = self.modules.borrow_mut();
        let module = modules.entry(step.shader.name).or_insert_with(|| {
            self.count(|c| c.objects_created += 1);
            raw.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(step.shader.name),
                source: wgpu::ShaderSource::Wgsl(
                    (directives(step.shader.extension).to_owned() + &step.shader.text()).into(),
                ),
            })
        });
        let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let mut entries: Vec<_> =
            step.bindings.iter().map(|b| entry(b.slot, storage(b.access == Access::Read))).collect();
        if !step.params.is_empty() {
            entries.push(entry(0, wgpu::BufferBindingType::Uniform));
        }
        let layout = raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(step.shader.name),
            entries: &entries,
        });
        let layout = raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(step.shader.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(step.shader.name),
            layout: Some(&layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &step.constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        self.count(|c| c.objects_created += 3);
        let index = self.pipelines.borrow().len();
        self.pipelines.borrow_mut().push(pipeline);
        self.by_key.borrow_mut().insert(key, index);
        index
    }

    /// Runs plans one after the other, as one pass and one submit, then copies what is to be read back.
    /// Returns at once: submits queue, and several may be under way.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn submit(&self, plans: &[&Prepared], readbacks: &[Readback<'_>]) -> Result<()> {
        self.device.check()?;
        let label = plans.first().map(|p| p.label.as_str());
        let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        let mut dispatches = 0;
        if !plans.is_empty() {
            let pipelines = self.pipelines.borrow();
            let descriptor = wgpu::ComputePassDescriptor { label, timestamp_writes: None };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            let mut current = usize::MAX;
            for step in plans.iter().flat_map(|p| &p.steps) {
                if step.pipeline != current {
                    pass.set_pipeline(&pipelines[step.pipeline]);
                    current = step.pipeline;
                }
                pass.set_bind_group(0, &step.bind_group, &[]);
                pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
                dispatches += 1;
            }
        }
        for r in readbacks {
            let bytes = r.bytes.end - r.bytes.start;
            encoder.copy_buffer_to_buffer(self.raw(r.from), r.bytes.start, &r.to.buffer.raw, 0, bytes);
            r.to.filled.set(bytes);
        }
        self.device.queue.submit([encoder.finish()]);
        self.count(|c| {
            c.submits += 1;
            c.passes += u64::from(!plans.is_empty());
            c.dispatches += dispatches;
        });
        Ok(())
    }

    /// Makes a staging buffer of `bytes`.
    pub async fn staging(&self, bytes: u64) -> Result<Staging> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let wanted = Allocation { label: "staging", bytes, role: Role::Scratch, usage };
        let buffer = self.device.allocate(&[wanted]).await?.pop().expect("one was asked for");
        self.count(|c| c.objects_created += 1);
        Ok(Staging { buffer, filled: Cell::new(0) })
    }

    /// Waits for the readback into `staging` and returns its bytes.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where the device went away meanwhile.
    pub async fn fetch(&self, staging: &Staging) -> Result<Vec<u8>> {
        let slice = staging.buffer.raw.slice(0..staging.filled.get());
        let (tx, rx) = oneshot::channel();
        slice.map_async(wgpu::MapMode::Read, move |result| drop(tx.send(result)));
        self.device.wait();
        let mapped = rx.await;
        self.device.check()?;
        match mapped {
            Ok(Ok(())) => {}
            other => return Err(Error::DeviceLost { message: format!("a readback failed: {other:?}") }),
        }
        let view = slice.get_mapped_range().map_err(|e| Error::Internal { message: format!("readback: {e}") })?;
        let bytes = view.to_vec();
        drop(view);
        staging.buffer.raw.unmap();
        self.count(|c| c.readbacks += 1);
        Ok(bytes)
    }

    /// Reads bytes of a buffer after everything submitted so far. Makes a staging buffer: not for the decode loop.
    pub async fn read(&self, id: BufferId, bytes: Range<u64>) -> Result<Vec<u8>> {
        let staging = self.staging(bytes.end - bytes.start).await?;
        self.submit(&[], &[Readback { from: id, bytes, to: &staging }])?;
        self.fetch(&staging).await
    }

    /// Reads byte ranges of several buffers, concatenated, in one submit.
    pub async fn read_all(&self, ranges: &[(BufferId, Range<u64>)]) -> Result<Vec<u8>> {
        let total = ranges.iter().map(|(_, range)| range.end - range.start).sum();
        let staging = self.staging(total).await?;
        self.copy(|encoder| {
            let mut at = 0;
            for (id, range) in ranges {
                let bytes = range.end - range.start;
                encoder.copy_buffer_to_buffer(self.raw(*id), range.start, &staging.buffer.raw, at, bytes);
                at += bytes;
            }
        })?;
        staging.filled.set(total);
        self.fetch(&staging).await
    }

    /// Copies byte ranges of buffers to new buffers that no plan writes. The ends of ranges are multiples of 4.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device does not grant as much more, [`Error::DeviceLost`].
    pub async fn snapshot(&self, ranges: &[(BufferId, Range<u64>)], role: Role) -> Result<Snapshot> {
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let size = |range: &Range<u64>| range.end - range.start;
        let wanted: Vec<_> =
            ranges.iter().map(|(_, range)| Allocation { label: "snapshot", bytes: size(range), role, usage }).collect();
        let buffers = self.device.allocate(&wanted).await?;
        self.count(|c| c.objects_created += buffers.len() as u64);
        let parts = ranges.iter().cloned().zip(buffers).map(|((id, range), buffer)| (id, range, buffer));
        let snapshot = Snapshot(parts.collect());
        self.copy(|encoder| {
            for (id, range, buffer) in &snapshot.0 {
                encoder.copy_buffer_to_buffer(self.raw(*id), range.start, &buffer.raw, 0, size(range));
            }
        })?;
        Ok(snapshot)
    }

    /// Copies a snapshot back to the ranges that it was taken from.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.copy(|encoder| {
            for (id, range, buffer) in &snapshot.0 {
                encoder.copy_buffer_to_buffer(&buffer.raw, 0, self.raw(*id), range.start, range.end - range.start);
            }
        })
    }

    /// A submit of copies alone.
    fn copy(&self, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<()> {
        self.device.check()?;
        let mut encoder =
            self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("copy") });
        record(&mut encoder);
        self.device.queue.submit([encoder.finish()]);
        self.count(|c| c.submits += 1);
        Ok(())
    }

    /// Waits until everything submitted so far is done.
    pub async fn idle(&self) -> Result<()> {
        let (tx, rx) = oneshot::channel();
        self.device.queue.on_submitted_work_done(move || {
            let _ = tx.send(()); // nobody waits any more: fine
        });
        self.device.wait();
        let _ = rx.await; // a lost device drops the sender; check() tells
        self.device.check()
    }
}
