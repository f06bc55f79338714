//! Runs plans on a WebGPU device: pipelines and bind groups are built once, then a step of the model is one command buffer
//! with one compute pass. Nothing is created per token but the command encoder and its pass.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::rc::Rc;

use async_trait::async_trait;
use futures_channel::oneshot;

use super::device::{Buffer, Device, DeviceOptions, Wanted, directives};
use crate::plan::{
    Access, BufferCopy, BufferId, Buffers, Bytes, Counts, DeviceFacts, Executor, MemoryUse, Plan, Prepared, Read,
    Readback, Role, ShaderId, Step,
};
use crate::{Error, Result};

/// A plan with its GPU objects.
struct PreparedPlan {
    label: String,
    steps: Vec<PreparedStep>,
    _params: Option<Buffer>,
}

struct PreparedStep {
    pipeline: usize,
    bind_group: wgpu::BindGroup,
    grid: [u32; 3],
}

/// A buffer that the host can map.
struct Staging {
    buffer: Buffer,
    filled: Cell<u64>,
}

type PipelineKey = (ShaderId, Vec<(&'static str, u64)>);

/// A GPU that runs plans.
pub struct Gpu {
    device: Rc<Device>,
    buffers: RefCell<BTreeMap<BufferId, Buffer>>,
    pipelines: RefCell<Vec<wgpu::ComputePipeline>>,
    by_key: RefCell<HashMap<PipelineKey, usize>>,
    modules: RefCell<HashMap<ShaderId, wgpu::ShaderModule>>,
    counts: Cell<Counts>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Gpu {
    /// Opens a GPU.
    ///
    /// # Errors
    /// [`Error::NoWebGpu`] where there is no adapter or it gives no device.
    pub async fn open(options: DeviceOptions) -> Result<Self> {
        Ok(Self::on(Rc::new(Device::open(options).await?)))
    }

    fn on(device: Rc<Device>) -> Self {
        Self {
            device,
            buffers: RefCell::default(),
            pipelines: RefCell::default(),
            by_key: RefCell::default(),
            modules: RefCell::default(),
            counts: Cell::default(),
        }
    }

    /// Another executor on the same device, without buffers and pipelines.
    #[cfg(test)]
    pub(crate) fn another(&self) -> Self {
        Self::on(self.device.clone())
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    fn raw(&self, id: BufferId) -> wgpu::Buffer {
        self.buffers.borrow().get(&id).expect("nothing uses a buffer that was released").raw.clone()
    }

    /// Allocates one buffer that no plan binds.
    async fn own(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Buffer> {
        let wanted = Wanted { label, bytes, role: Role::Scratch, usage };
        let buffer = self.device.allocate(&[wanted]).await?.pop().expect("one was requested");
        self.count(|c| c.objects_created += 1);
        Ok(buffer)
    }

    fn prepare_step(&self, step: &Step, params: Option<(&wgpu::Buffer, u64)>) -> PreparedStep {
        let limit = self.device.max_workgroups;
        assert!(step.grid.iter().all(|&n| n <= limit), "{}: grid {:?} exceeds {limit}", step.label, step.grid);
        let pipeline = self.pipeline(step);
        let buffers = self.buffers.borrow();
        let mut entries = Vec::with_capacity(step.bindings.len() + 1);
        if let (Some((buffer, offset)), false) = (params, step.params.is_empty()) {
            let size = std::num::NonZeroU64::new((step.params.len() * 4).next_multiple_of(16) as u64);
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
            entries.push(wgpu::BindGroupEntry { binding: 0, resource });
        }
        for b in &step.bindings {
            entries
                .push(wgpu::BindGroupEntry { binding: b.slot, resource: buffers[&b.buffer].raw.as_entire_binding() });
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
        let key: PipelineKey = (step.shader.id, step.constants.iter().map(|&(n, v)| (n, v.to_bits())).collect());
        if let Some(&index) = self.by_key.borrow().get(&key) {
            return index;
        }
        let raw = &self.device.raw;
        let name = step.shader.id.to_string();
        let mut modules = self.modules.borrow_mut();
        let module = modules.entry(step.shader.id).or_insert_with(|| {
            self.count(|c| c.objects_created += 1);
            raw.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(&name),
                source: wgpu::ShaderSource::Wgsl(
                    (directives(step.shader.extension()).to_owned() + &step.shader.text()).into(),
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
        let layout =
            raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&name), entries: &entries });
        let layout = raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&name),
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

    /// Records a command buffer and submits it.
    fn record(&self, label: Option<&str>, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<()> {
        self.device.check()?;
        let mut encoder = self.device.raw.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        record(&mut encoder);
        self.device.queue.submit([encoder.finish()]);
        self.count(|c| c.submits += 1);
        Ok(())
    }

    /// Runs all plans as one pass; returns the number of dispatches.
    fn pass(&self, encoder: &mut wgpu::CommandEncoder, plans: &[&PreparedPlan]) -> u64 {
        let pipelines = self.pipelines.borrow();
        let label = plans.first().map(|plan| plan.label.as_str());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None });
        let (mut current, mut dispatches) = (usize::MAX, 0);
        for step in plans.iter().flat_map(|plan| &plan.steps) {
            if step.pipeline != current {
                pass.set_pipeline(&pipelines[step.pipeline]);
                current = step.pipeline;
            }
            pass.set_bind_group(0, &step.bind_group, &[]);
            pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
            dispatches += 1;
        }
        dispatches
    }
}

#[async_trait(?Send)]
impl Executor for Gpu {
    fn facts(&self) -> &DeviceFacts {
        self.device.facts()
    }

    fn memory(&self) -> MemoryUse {
        self.device.memory()
    }

    fn counts(&self) -> Counts {
        self.counts.get()
    }

    async fn allocate(&self, buffers: &Buffers) -> Result<BufferId> {
        use wgpu::BufferUsages as U;
        let usage = U::STORAGE | U::COPY_DST | U::COPY_SRC;
        let wanted: Vec<_> = buffers
            .iter()
            .map(|spec| Wanted { label: &spec.label, bytes: spec.bytes, role: spec.role, usage })
            .collect();
        let made = self.device.allocate(&wanted).await?;
        self.count(|c| c.objects_created += wanted.len() as u64);
        let all = &mut *self.buffers.borrow_mut();
        let first = all.last_key_value().map_or(0, |(id, _)| id.0 + 1);
        all.extend((first..).map(BufferId).zip(made));
        Ok(BufferId(first))
    }

    fn release(&self, buffers: &[BufferId]) {
        let all = &mut *self.buffers.borrow_mut();
        buffers.iter().for_each(|id| drop(all.remove(id)));
    }

    fn write(&self, to: BufferId, offset: u64, bytes: &[u8]) {
        self.device.queue.write_buffer(&self.raw(to), offset, bytes);
    }

    fn upload(&self, to: BufferId, offset: u64, bytes: Bytes) {
        self.device.upload(&self.raw(to), offset, bytes);
    }

    fn copy(&self, copies: &[BufferCopy]) -> Result<()> {
        self.record(Some("copy"), |encoder| {
            for BufferCopy { from, bytes, to, offset } in copies {
                let size = bytes.end - bytes.start;
                encoder.copy_buffer_to_buffer(&self.raw(*from), bytes.start, &self.raw(*to), *offset, size);
            }
        })
    }

    async fn prepare(&self, plan: &Plan) -> Result<Prepared> {
        let (words, offsets) = plan.params(u64::from(self.facts().min_uniform_buffer_offset_alignment));
        let params = if words.is_empty() {
            None
        } else {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let buffer = self.own("params", words.len() as u64, usage).await?;
            self.device.queue.write_buffer(&buffer.raw, 0, &words);
            Some(buffer)
        };
        let known = self.pipelines.borrow().len();
        let scope = self.device.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let steps = plan
            .steps
            .iter()
            .zip(offsets)
            .map(|(step, offset)| self.prepare_step(step, params.as_ref().map(|p| (&p.raw, offset))))
            .collect();
        if let Some(e) = scope.pop().await {
            self.by_key.borrow_mut().retain(|_, index| *index < known); // what was rejected is never used again
            self.modules.borrow_mut().clear();
            return Err(Error::Plan { plan: plan.label.clone(), message: e.to_string() });
        }
        self.device.check()?;
        Ok(Prepared::new(PreparedPlan { label: plan.label.clone(), steps, _params: params }))
    }

    async fn readback(&self, bytes: u64) -> Result<Readback> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = self.own("readback", bytes, usage).await?;
        Ok(Readback::new(Staging { buffer, filled: Cell::new(0) }))
    }

    fn submit(&self, plans: &[&Prepared], reads: &[Read<'_>]) -> Result<()> {
        let plans: Vec<&PreparedPlan> = plans.iter().map(|plan| plan.inner()).collect();
        let mut dispatches = 0;
        self.record(plans.first().map(|plan| plan.label.as_str()), |encoder| {
            if !plans.is_empty() {
                dispatches = self.pass(encoder, &plans);
            }
            reads.iter().for_each(|read| read.to.inner::<Staging>().filled.set(0));
            for read in reads {
                let to: &Staging = read.to.inner();
                let (at, size) = (to.filled.get(), read.bytes.end - read.bytes.start);
                encoder.copy_buffer_to_buffer(&self.raw(read.from), read.bytes.start, &to.buffer.raw, at, size);
                to.filled.set(at + size);
            }
        })?;
        self.count(|c| {
            c.passes += u64::from(!plans.is_empty());
            c.dispatches += dispatches;
        });
        Ok(())
    }

    async fn fetch(&self, from: &Readback) -> Result<Vec<u8>> {
        let from: &Staging = from.inner();
        let slice = from.buffer.raw.slice(0..from.filled.get());
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
        from.buffer.raw.unmap();
        self.count(|c| c.readbacks += 1);
        Ok(bytes)
    }

    async fn idle(&self) -> Result<()> {
        let (tx, rx) = oneshot::channel();
        self.device.queue.on_submitted_work_done(move || {
            let _ = tx.send(()); // nobody waits any more: fine
        });
        self.device.wait();
        let _ = rx.await; // a lost device drops the sender; check() reports it
        self.device.check()
    }

    fn lost(&self) -> Pin<Box<dyn Future<Output = Error>>> {
        Box::pin(self.device.lost())
    }

    fn destroy(&self) {
        self.device.destroy();
    }
}
